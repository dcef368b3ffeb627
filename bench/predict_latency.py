"""The time of one prediction, and of a batch of 32, beside the peers', one thread each.

    python -m bench.predict_latency [--rounds 30] [--peer-python PYTHON] [--isa x86_64_v3]

Every contender is a process of its own that waits while the others are timed; a round times each in turn.
Ours is timed from features in Python's memory to the answer as Python values; so is every peer, and once more
without either end: the model alone. Stored in bench/results/predict_latency.json, with --isa in
predict_latency_<ISA>.json.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from bench import command_line, results
from bench.contenders import WrongAnswerError, can_import, write_peer_models
from bench.latency_worker import BATCHES, INPUTS
from bench.machine import ROOT, stamp
from demo.digits import read_digits

MODELS = {
    "784-2": ("mnist_784x2.apr", 0),
    "784-128-10": ("mnist_mlp.apr", 0),
    "784-128-10, no zeros": ("mnist_mlp.apr", 1),
}
"""Title: a model file and the least value of a pixel. Ours leaves out pixels that are 0: the last row has none."""
TITLES = {
    "realizar": "realizar-lambda",
    "torch_eager": "PyTorch eager",
    "torchscript": "TorchScript",
    "onnxruntime": "ONNX Runtime, bound",
    "torch_eager_forward": "PyTorch eager, model alone",
    "torchscript_forward": "TorchScript, model alone",
    "onnxruntime_forward": "ONNX Runtime, model alone",
}
_PACKAGES = {
    name: "onnxruntime" if name.startswith("onnxruntime") else "torch" for name in TITLES if name != "realizar"
}
_N_CALLS = {1: 2000, 32: 300}
_TOLERANCE = 1e-4


class Worker:
    """A contender's process. `probabilities` is its answer to the first input row."""

    def __init__(self, name: str, *, python: str, model: Path, folder: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, "-m", "bench.latency_worker", name, str(model), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            self.probabilities: list[float] = json.loads(self._answer())
        except WrongAnswerError:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, which leaves when its input does."""
        self._pipe(self._process.stdin).close()
        self._process.wait()
        self._pipe(self._process.stdout).close()

    def time(self, n_calls: int, batch: int) -> float:
        """Median of `n_calls`, in microseconds."""
        pipe = self._pipe(self._process.stdin)
        pipe.write(f"{n_calls} {batch}\n")
        pipe.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise WrongAnswerError(f"{self.name} ended with exit code {self._process.wait()}")
        return line

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise ValueError("the worker has no pipe")
        return pipe


def write_inputs(folder: Path, n_rows: int = max(BATCHES), *, least: int = 0) -> None:
    """Real digits, over and over, as f32 rows on the raw scale of 0 to 255; no pixel is below `least`."""
    digits = read_digits()
    values = array("f")
    for row in range(n_rows):
        values.extend(max(pixel, least) for pixel in digits[row % len(digits)].pixels)
    (folder / INPUTS).write_bytes(values.tobytes())


def contenders(peer_python: str) -> dict[str, str]:
    """{name: interpreter} of those that can run here."""
    found = {"realizar": sys.executable}
    for name, package in _PACKAGES.items():
        if can_import(peer_python, (package, "numpy")):
            found[name] = peer_python
    return found


def measure(
    model: Path, pythons: Mapping[str, str], *, rounds: int, least: int = 0
) -> dict[str, dict[str, list[float]]]:
    """{batch: {contender: [median us of each round]}} for one model. Raises WrongAnswerError."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_inputs(folder, least=least)
        if len(pythons) > 1:
            peer_python = next(python for name, python in pythons.items() if name in _PACKAGES)
            write_peer_models(model, folder, python=peer_python)
        workers = [
            stack.enter_context(Worker(contender, python=python, model=model, folder=folder))
            for contender, python in pythons.items()
        ]
        check_answers(workers)
        samples: dict[str, dict[str, list[float]]] = {
            str(batch): {worker.name: [] for worker in workers} for batch in BATCHES
        }
        for number in range(rounds + 1):
            turn = number % len(workers)
            for batch in BATCHES:
                for worker in (*workers[turn:], *workers[:turn]):
                    time_us = worker.time(_N_CALLS[batch], batch)
                    if number:
                        samples[str(batch)][worker.name].append(time_us)
        return samples


def check_answers(workers: Sequence[Worker]) -> None:
    """All workers answer the same, or WrongAnswerError."""
    first = workers[0]
    for worker in workers[1:]:
        pairs = zip(worker.probabilities, first.probabilities, strict=True)
        if not all(math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for a, b in pairs):
            raise WrongAnswerError(f"{worker.name} answers {worker.probabilities}, {first.name} {first.probabilities}")


def run(*, rounds: int, peer_python: str, folder: Path, models: Path, name: str = "predict_latency") -> Path:
    """Measure every model and store the result."""
    pythons = contenders(peer_python)
    progress("contenders: " + ", ".join(TITLES[name] for name in pythons))
    samples = {}
    for title, (file, least) in MODELS.items():
        progress(f"{title}: {rounds} rounds")
        found = measure(models / file, pythons, rounds=rounds, least=least)
        samples[title] = {batch: results.rounded_all(values) for batch, values in found.items()}
    result = {
        "benchmark": name,
        **stamp(pythons=(peer_python, sys.executable), packages=("numpy", "onnxruntime", "torch")),
        "settings": {
            "rounds": rounds,
            "calls_per_round": _N_CALLS,
            "threads": 1,
            "unit": "us, median of a round's calls",
        },
        "samples": samples,
        "summary": {
            title: {batch: results.summaries(found) for batch, found in batches.items()}
            for title, batches in samples.items()
        },
    }
    return results.write(name, result, folder=folder)


def progress(line: str) -> None:
    print(f"[latency] {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("predict_latency", "Time predictions.", rounds=30, least_rounds=2)
    command_line.add_peer_python(parser)
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="where the .apr files lie")
    command_line.add_isa(parser)
    options = parser.parse_args(arguments)
    name = command_line.stored_name("predict_latency", options)
    try:
        path = run(
            rounds=options.rounds,
            peer_python=options.peer_python,
            folder=options.results,
            models=options.models,
            name=name,
        )
    except WrongAnswerError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    progress(f"stored {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
