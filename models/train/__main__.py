"""Train the checked-in models again: `python -m models.train --data FOLDER [--out FOLDER] [NAME ...]`.

Writes the model files and their manifest entries. The same versions give the same bytes: one thread, fixed
seeds, deterministic algorithms, and arithmetic that is the same on every x86-64 processor with AVX2.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

PINNED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


def main(arguments: list[str] | None = None) -> int:
    """Train the named models, or all, in the table's order."""
    os.environ.update(PINNED)
    from .build import build
    from .recipes import MODELS

    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(MODELS)}; all when none")
    parser.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - MODELS.keys())
    if unknown:
        parser.error(f"no recipe for {', '.join(unknown)}; there are {', '.join(MODELS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        if name in options.names or not options.names:
            build(name, data=options.data, folder=options.out, environment=PINNED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
