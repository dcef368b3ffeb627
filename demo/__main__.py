"""`python -m demo`: ten handwritten digits and a story through the Lambda handlers. Exit code 0 only if all is right.

It starts `handlers.predict.handler` under an emulator of Lambda, sends an API Gateway event per digit, draws
each with the answer, has `handlers.generate.handler` tell a story, and ends with the cold starts of both beside an
empty handler's, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from demo import story
from demo.digits import Digit, read_digits
from demo.drawing import choose_style, draw
from demo.timing import Subject, empty_handler, measure, table
from lambda_emulator.entries import entry_command
from lambda_emulator.environment import program
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.interface_emulator import find_interface_emulator
from lambda_emulator.package import Package, lay_out
from lambda_emulator.phases import EMULATORS
from lambda_emulator.records import EmulatorError, Invocation

HANDLER = "handlers.predict.handler"
MODEL = "mnist_mlp"
_TITLES = {
    "vendor": "AWS Lambda Runtime Interface Emulator (from aws-sam-cli)",
    "own": "the project's own Runtime API emulator",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the handler said of a digit, or why it said nothing."""

    label: str
    probability: float
    fault: str | None = None


def predict_event(digit: Digit) -> dict[str, object]:
    """The /predict event of one digit, as an HTTP API sends it."""
    body = {"features": list(digit.pixels), "model_id": MODEL, "options": {"return_probabilities": True}}
    return api_gateway_v2("POST", "/predict", body)


def reading_of(result: Invocation) -> Reading:
    """The answer in an invocation's result."""
    try:
        payload = result.payload
        if result.is_error or not isinstance(payload, dict) or payload.get("statusCode") != 200:
            return Reading("", 0.0, result.raw[:300].decode("utf-8", "replace"))
        answer = json.loads(payload["body"])
        return Reading(answer["label"], max(answer["probabilities"]))
    except (ValueError, KeyError, TypeError):
        return Reading("", 0.0, f"not an answer of /predict: {result.raw[:300]!r}")


def caption(digit: Digit, reading: Reading, arrow: str) -> str:
    if reading.fault is not None:
        return f"{digit.label}: no answer"
    verdict = "" if reading.label == str(digit.label) else " WRONG"
    return f"{digit.label} {arrow} {reading.label}  {reading.probability:.2%}{verdict}"


def read_all(digits: list[Digit], *, emulator: str, package: Package) -> list[Reading]:
    """Every digit through one process of the handler; prints what it said where something failed."""
    command = entry_command("loop", package.python, HANDLER)
    with EMULATORS[emulator](HANDLER, cwd=package.folder, command=command) as function:
        readings = [reading_of(function.invoke(predict_event(digit))) for digit in digits]
        if any(reading.fault for reading in readings):
            print(function.logs()[-3000:], file=sys.stderr)
        return readings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="Ten digits and a story through the Lambda handlers."
    )
    parser.add_argument("--emulator", choices=sorted(EMULATORS), help="default: vendor where it is installed, else own")
    parser.add_argument("--starts", type=int, default=9, metavar="N", help="cold starts to time (default %(default)s)")
    parser.add_argument("--python", type=program, default=sys.executable, help="the handler's (default: this one)")
    options = parser.parse_args(arguments)
    if options.starts < 1:
        parser.error(f"--starts must be at least 1, got {options.starts}")
    if find_spec("awslambdaric") is None and options.python == sys.executable:
        print("awslambdaric is not installed: pip install -e '.[lambda]'", file=sys.stderr)
        return 1
    emulator = options.emulator or ("vendor" if find_interface_emulator() else "own")
    try:
        return run(emulator, n_starts=options.starts, python=options.python)
    except EmulatorError as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1


def run(emulator: str, *, n_starts: int, python: str) -> int:
    """The whole demo; its exit code."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        progress("native kernels: " + kernels_isa())
        progress("laying out the function as an image has it")
        return show(lay_out(Path(folder), python=python), emulator, n_starts=n_starts, started=started)


def show(package: Package, emulator: str, *, n_starts: int, started: float) -> int:
    """All that is shown; the exit code."""
    progress(f"emulator: {_TITLES[emulator]}")
    digits = read_digits()
    progress(f"sending {len(digits)} API Gateway events to {HANDLER}")
    readings = read_all(digits, emulator=emulator, package=package)
    encoding = sys.stdout.encoding or "ascii"
    style = choose_style(os.environ, encoding=encoding, is_terminal=sys.stdout.isatty())
    arrow = "->" if style == "ascii" else "→"
    print("\nTen images of the MNIST test set, and what the handler reads in each:\n")
    captions = [caption(digit, reading, arrow) for digit, reading in zip(digits, readings, strict=True)]
    print(draw(digits, captions, style=style))
    for reading in readings:
        if reading.fault is not None:
            print(f"fault: {reading.fault}", file=sys.stderr)
    event = predict_event(digits[0])
    subjects = [empty_handler(event, package.folder), Subject("predict", HANDLER, package.folder, event)]
    has_story = story.FILE.exists()
    is_told = not has_story or tell_story(emulator, package=package, encoding=encoding)
    if has_story:
        subjects.append(Subject("generate", story.HANDLER, package.folder, story.generate_event(1), story.ENVIRONMENT))
    times = measure(
        subjects, emulator=emulator, n_starts=n_starts, n_phases=max(1, n_starts // 3), n_warm=50,
        progress=progress, python=package.python,
    )  # fmt: skip
    print(f"Cold starts, {n_starts} fresh processes of each in turn:\n")
    print(table(times))
    if has_story:
        print("\ngenerate is asked for one token: its answer is the first.")
    print("\nOur loop is what starts the image; awslambdaric is the vendor's runtime client.")
    print("Phases come from extra runs with a probe inside, totals from runs without it.")
    n_right = sum(reading.label == str(digit.label) for digit, reading in zip(digits, readings, strict=True))
    print(f"{n_right} of {len(digits)} digits are right; {time.monotonic() - started:.1f} s in all.")
    return 0 if n_right == len(digits) and is_told else 1


def tell_story(emulator: str, *, package: Package, encoding: str) -> bool:
    """Print a story, or why there is none; whether there is one."""
    progress(f"sending a /generate event to {story.HANDLER}")
    told = story.tell(emulator=emulator, python=package.python, folder=package.folder)
    if told.fault is not None:
        print(f"fault: {told.fault}", file=sys.stderr)
        return False
    print(f"How {story.MODEL} goes on from {story.PROMPT!r}:\n")
    print(story.page(told).encode(encoding, "replace").decode(encoding) + "\n")
    return told.n_generated > 0


def kernels_isa() -> str:
    """The instruction set of the kernels; building them here, where nobody times it, if they are missing."""
    from realizar_lambda.native import library

    return library().isa


def progress(line: str) -> None:
    print(f"[demo] {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
