"""Cold starts: every contender in a fresh process, in turn, round after round.

    python -m bench.cold_start [--rounds 30] [--emulator own|vendor] [--peer-python PYTHON]

A round starts each contender once, the order rotating, so that the machine's moods and caches fall on all
alike. One round before the first is thrown away. What is ours, and the empty handler, lies in a folder and runs on an
interpreter as an image has them. Stored in bench/results: cold_start.json with our own
emulator, cold_start_vendor.json with the vendor's.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

from bench import command_line, results
from bench.contenders import (
    MODEL,
    Contender,
    WrongAnswerError,
    available,
    check_answer,
    command_of,
    event_for,
    packaged,
    write_peer_models,
)
from bench.machine import stamp
from demo.digits import Digit, read_digits
from lambda_emulator.package import lay_out
from lambda_emulator.phases import EMULATORS, measure_phases
from lambda_emulator.records import EmulatorError

MEASURES = ("total_ms", "init_ms", "first_answer_ms", "warm_ms", "peak_mib")
PACKAGES = ("awslambdaric", "numpy", "onnxruntime", "torch")
_N_WARM = 20
_WITH_PHASES = ("empty", "realizar", "realizar_client", "generate")


def start_once(
    contender: Contender, digit: Digit, *, python: str, emulator: str, expected: list[float] | None
) -> tuple[dict[str, float], list[float]]:
    """One fresh process: (measures, probabilities). Raises WrongAnswerError."""
    event = event_for(contender, digit)
    command = command_of(contender, python)
    with EMULATORS[emulator](contender.handler, cwd=contender.cwd, env=contender.env, command=command) as function:
        first = function.invoke(event)
        found = check_answer(contender, first, expected, function.logs())
        warm = [function.invoke(event).duration_ms for _ in range(_N_WARM)]
        cold = function.cold_start
        if cold is None:
            raise EmulatorError(f"{contender.title} has no cold start")
        measures = {
            "total_ms": cold.total_ms,
            "init_ms": cold.init_ms,
            "first_answer_ms": cold.first_answer_ms,
            "warm_ms": median(warm),
            "peak_mib": function.peak_memory_bytes() / 2**20,
        }
        return measures, found


def measure(
    contenders: Sequence[Contender], *, rounds: int, python: str, peer_python: str, emulator: str
) -> dict[str, dict[str, list[float]]]:
    """{contender: {measure: [one per round]}}."""
    digits = read_digits()
    samples: dict[str, dict[str, list[float]]] = {
        contender.name: {name: [] for name in MEASURES} for contender in contenders
    }
    for number in range(rounds + 1):
        progress(f"round {number} of {rounds}" if number else "a first round, thrown away")
        digit = digits[number % len(digits)]
        turn = number % len(contenders)
        answers: dict[str, list[float]] = {}
        for contender in (*contenders[turn:], *contenders[:turn]):
            expected = next(iter(answers.values()), None)
            measures, found = start_once(
                contender,
                digit,
                python=peer_python if contender.is_peer else python,
                emulator=emulator,
                expected=expected,
            )
            if found:
                answers[contender.name] = found
            if number:
                for name, value in measures.items():
                    samples[contender.name][name].append(value)
    return samples


def measure_all_phases(
    contenders: Sequence[Contender], *, rounds: int, python: str, emulator: str
) -> dict[str, list[dict[str, float]]]:
    """The split of the cold start, from instrumented runs, for the handlers without foreign imports."""
    digit = read_digits()[0]
    chosen = [contender for contender in contenders if contender.name in _WITH_PHASES]
    found: dict[str, list[dict[str, float]]] = {contender.name: [] for contender in chosen}
    for number in range(rounds):
        progress(f"phases, round {number + 1} of {rounds}")
        for contender in chosen:
            phases = measure_phases(
                contender.handler, event_for(contender, digit), cwd=contender.cwd, env=contender.env,
                python=python, emulator=emulator, entry=contender.entry,
            )  # fmt: skip
            found[contender.name].append({name: round(value, 4) for name, value in asdict(phases).items()})
    return found


def run(*, rounds: int, emulator: str, peer_python: str, folder: Path, model: Path = MODEL) -> Path:
    """Measure everything that can run here and store it."""
    with tempfile.TemporaryDirectory() as scratch:
        peer_models = Path(scratch) / "peers"
        peer_models.mkdir()
        write_peer_models(model, peer_models, python=peer_python)
        progress("laying out the function as an image has it")
        package = lay_out(Path(scratch))
        env = {"PEER_MODEL": str(peer_models)}
        ours = {"REALIZAR_MODELS_DIR": str(model.parent)} if model != MODEL else {}
        contenders = [
            replace(contender, env=env if contender.is_peer else {**contender.env, **ours})
            for contender in packaged(available(peer_python), package)
            if not (contender.is_text and ours)
        ]
        progress("contenders: " + ", ".join(contender.title for contender in contenders))
        python = package.python
        samples = measure(contenders, rounds=rounds, python=python, peer_python=peer_python, emulator=emulator)
        phases = measure_all_phases(contenders, rounds=max(1, rounds // 3), python=python, emulator=emulator)
    stored = {contender: results.rounded_all(measures) for contender, measures in samples.items()}
    name = "cold_start" if emulator == "own" else f"cold_start_{emulator}"
    result = {
        "benchmark": name,
        **stamp(pythons=(peer_python, sys.executable), packages=PACKAGES),
        "settings": {"emulator": emulator, "rounds": rounds, "model": model.name, "n_warm": _N_WARM},
        "samples": stored,
        "summary": {contender: results.summaries(measures) for contender, measures in stored.items()},
        "phases": phases,
    }
    return results.write(name, result, folder=folder)


def progress(line: str) -> None:
    print(f"[cold start] {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("cold_start", "Time cold starts.", rounds=30, least_rounds=2)
    parser.add_argument("--emulator", choices=sorted(EMULATORS), default="own")
    command_line.add_peer_python(parser)
    parser.add_argument("--model", type=Path, default=MODEL, help="the .apr (default: the checked-in one)")
    options = parser.parse_args(arguments)
    try:
        path = run(
            rounds=options.rounds,
            emulator=options.emulator,
            peer_python=options.peer_python,
            folder=options.results,
            model=options.model,
        )
    except (EmulatorError, WrongAnswerError) as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    progress(f"stored {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
