"""The phases of a cold start, from a run with the probe. It knows no handler and no table."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lambda_emulator.function import Function
from lambda_emulator.interface_emulator import InterfaceEmulatorFunction
from lambda_emulator.records import EmulatorError

ROOT = Path(__file__).resolve().parent.parent

EMULATORS: dict[str, type[Function] | type[InterfaceEmulatorFunction]] = {
    "own": Function,
    "vendor": InterfaceEmulatorFunction,
}
"""The emulators by name."""

_PROBES = {
    "awslambdaric": ("-m", "lambda_emulator.probe"),
    "loop": ("-S", "-c", "from lambda_emulator.probe import run_loop; run_loop()"),
}


@dataclass(frozen=True, slots=True)
class Phases:
    """Where the time of one instrumented cold start went, in ms; the five parts add up to all of it.

    `spawn`: process start to the first line of Python. `runtime`: importing and starting the runtime client.
    `handler`: importing the handler. `model`: from opening the model's file to the handler being ready (0
    where none was opened). `answer`: the first event to the whole answer.
    """

    spawn: float
    runtime: float
    handler: float
    model: float
    answer: float


def measure_phases(
    handler: str,
    event: object,
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
    emulator: str = "own",
    entry: str = "awslambdaric",
) -> Phases:
    """One fresh process of `handler` with the probe. Raises EmulatorError where it does not answer."""
    with tempfile.TemporaryDirectory() as folder:
        notes_path = Path(folder) / "notes.json"
        command = [python, *_PROBES[entry], str(notes_path), handler]
        environment = {**(env or {}), "PYTHONPATH": str(ROOT)}
        with EMULATORS[emulator](handler, cwd=cwd, env=environment, command=command) as function:
            result = function.invoke(event)
            cold = function.cold_start
            if result.is_error or cold is None:
                said = function.logs()[-2000:]
                raise EmulatorError(f"{handler} did not answer under the probe: {result.raw[:500]!r}\n{said}")
        notes = json.loads(notes_path.read_text())
    handler_end_ns = notes["handler_ready_ns"]
    model_start_ns = notes["model_opened_ns"] or handler_end_ns
    after_handler_ms = cold.init_ms - (handler_end_ns - cold.start_ns) / 1e6
    return Phases(
        spawn=(notes["started_ns"] - cold.start_ns) / 1e6,
        runtime=(notes["runtime_ready_ns"] - notes["started_ns"]) / 1e6 + after_handler_ms,
        handler=(model_start_ns - notes["runtime_ready_ns"]) / 1e6,
        model=(handler_end_ns - model_start_ns) / 1e6,
        answer=cold.first_answer_ms,
    )
