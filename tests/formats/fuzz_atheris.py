"""Coverage-guided fuzzing of all readers with atheris; not part of the test suite.

    pip install atheris
    python tests/formats/fuzz_atheris.py [libFuzzer options] [corpus folder]

Starts from `corpus/` and the seeds of `mutants.py`. A finding is a file `crash-*`: put it into `corpus/` under a name
that says what it is, and every run of the suite reads it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1])]

with atheris.instrument_imports(include=["realizar_lambda"]):
    from mutants import SEEDS, repaired
    from reading import go_over


def run_one(data: bytes) -> None:
    go_over(data)
    go_over(repaired(data))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS.values()):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        arguments = [*sys.argv, *([] if given else [folder]), str(FOLDER / "corpus")]
        atheris.Setup(arguments, run_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
