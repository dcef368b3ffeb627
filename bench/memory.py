"""The memory of the handler's process: at its peak after 1,000 predictions, and over 100,000.

    python -m bench.memory [--rounds 5] [--predictions 100000]

Peaks are the kernel's high-water mark of the resident set, an empty handler's and ours in turn. Growth is that
mark along one long run of each: the resident set itself is a saw-tooth, an empty handler's too, because the
runtime client leaves cycles to the garbage collector. Stored in bench/results/memory.json.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import command_line, results
from bench.contenders import (
    CONTENDERS,
    MODEL,
    Contender,
    WrongAnswerError,
    check_answer,
    command_of,
    packaged,
    predict_event,
)
from bench.machine import stamp
from demo.digits import read_digits
from lambda_emulator.function import Function
from lambda_emulator.package import Package, lay_out
from lambda_emulator.records import EmulatorError

N_PREDICTIONS = 1000
_N_MARKS = 10
_MIB = 2**20
_COMPARED = ("empty", "realizar", "realizar_client")


def peak_and_share(contender: Contender, n: int, *, python: str) -> tuple[float, float]:
    """(peak resident, proportional share), MiB, after `n` invocations of a fresh process."""
    events = [predict_event(digit) for digit in read_digits()]
    command = command_of(contender, python)
    with Function(contender.handler, cwd=contender.cwd, env=contender.env, command=command) as function:
        for number in range(n):
            result = function.invoke(events[number % len(events)])
        check_answer(contender, result, None, function.logs())
        memory = function.memory()
    return memory.peak / _MIB, memory.proportional / _MIB


def growth(contender: Contender, n: int, *, python: str) -> dict[str, list[float]]:
    """{"predictions": so far, "resident": MiB then, "peak": MiB until then} along `n` invocations of one process."""
    events = [predict_event(digit) for digit in read_digits()]
    marks: dict[str, list[float]] = {"predictions": [], "resident": [], "peak": []}
    step = n // _N_MARKS
    command = command_of(contender, python)
    with Function(contender.handler, cwd=contender.cwd, env=contender.env, command=command) as function:
        for number in range(1, n + 1):
            result = function.invoke(events[number % len(events)])
            if number % step == 0:
                check_answer(contender, result, None, function.logs())
                memory = function.memory()
                marks["predictions"].append(number)
                marks["resident"].append(round(memory.resident / _MIB, 4))
                marks["peak"].append(round(memory.peak / _MIB, 4))
                progress(f"{contender.title}, {number} invocations: peak {marks['peak'][-1]:.2f} MiB")
    return marks


def run(*, rounds: int, n_growth: int, folder: Path, env: Mapping[str, str]) -> Path:
    """Measure and store."""
    with tempfile.TemporaryDirectory() as scratch:
        return _run(lay_out(Path(scratch)), rounds=rounds, n_growth=n_growth, folder=folder, env=env)


def _run(package: Package, *, rounds: int, n_growth: int, folder: Path, env: Mapping[str, str]) -> Path:
    chosen = [contender for contender in CONTENDERS if contender.name in _COMPARED]
    contenders = [replace(contender, env=env) for contender in packaged(chosen, package)]
    peaks: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    shares: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}, {N_PREDICTIONS} predictions each")
        for contender in contenders:
            peak, share = peak_and_share(contender, N_PREDICTIONS, python=package.python)
            peaks[contender.name].append(peak)
            shares[contender.name].append(share)
    samples = {"peak": results.rounded_all(peaks), "proportional": results.rounded_all(shares)}
    grown = {contender.name: growth(contender, n_growth, python=package.python) for contender in contenders}
    result = {
        "benchmark": "memory",
        **stamp(packages=("awslambdaric",)),
        "settings": {"rounds": rounds, "predictions": N_PREDICTIONS, "unit": "MiB"},
        "samples": samples,
        "summary": {name: results.summaries(found) for name, found in samples.items()},
        "growth": grown,
    }
    return results.write("memory", result, folder=folder)


def progress(line: str) -> None:
    print(f"[memory] {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("memory", "Measure the handler's memory.", rounds=5)
    parser.add_argument(
        "--predictions",
        type=command_line.at_least(N_PREDICTIONS),
        default=100_000,
        help="of the long run (default %(default)s)",
    )
    parser.add_argument("--models", type=Path, default=MODEL.parent, help="where the .apr files lie")
    options = parser.parse_args(arguments)
    env = {} if options.models == MODEL.parent else {"REALIZAR_MODELS_DIR": str(options.models)}
    try:
        path = run(rounds=options.rounds, n_growth=options.predictions, folder=options.results, env=env)
    except (EmulatorError, WrongAnswerError) as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    progress(f"stored {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
