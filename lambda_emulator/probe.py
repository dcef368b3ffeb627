"""Runs in the runtime process in place of its entry, and notes when each phase of init ends.

    python -m lambda_emulator.probe NOTES_FILE HANDLER                               as `python -m awslambdaric`
    python -S -c "from lambda_emulator.probe import run_loop; run_loop()" NOTES_FILE HANDLER     as the loop

Notes are `time.monotonic_ns`, a clock that all processes of a machine share. A model load is seen from
outside, by the first file with a model's suffix that the process opens. Runs with the probe are for the
split into phases only; totals come from runs without it.
"""

from __future__ import annotations

import time

STARTED_NS = time.monotonic_ns()

import os  # noqa: E402  (the first note comes before anything is imported)
import sys  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MODEL_SUFFIXES = (".apr", ".gguf", ".safetensors", ".npz", ".onnx", ".pt")


def run(notes_path: str, handler: str) -> None:
    """Start the runtime client on `handler`; never returns while events come."""
    from awslambdaric import bootstrap
    from awslambdaric.lambda_config import LambdaConfigProvider
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    bootstrap._get_handler = _timed(bootstrap._get_handler, notes_path)
    config = LambdaConfigProvider([sys.argv[0], handler])
    bootstrap.run(config.handler, LambdaRuntimeClient(config.api_address, config.use_thread_polling))


def run_loop() -> None:
    """Start our own loop on the second argument; never returns."""
    from realizar_lambda.serving import runtime
    from realizar_lambda.serving.runtime import loop

    setattr(loop, "find_handler", _timed(loop.find_handler, sys.argv.pop(1)))  # noqa: B010  (mypy knows its type)
    runtime.run()


def _timed(find_handler: Callable[[str], Any], notes_path: str) -> Callable[[str], Any]:
    """`find_handler`, which writes the notes when it is done. The runtime is ready now."""
    notes: dict[str, int] = {"started_ns": STARTED_NS, "runtime_ready_ns": time.monotonic_ns(), "model_opened_ns": 0}

    def note_model(name: str, arguments: tuple[object, ...]) -> None:
        is_first = name == "open" and not notes["model_opened_ns"]
        if is_first and isinstance(arguments[0], str) and arguments[0].endswith(MODEL_SUFFIXES):
            notes["model_opened_ns"] = time.monotonic_ns()

    def timed_find_handler(name: str) -> Any:
        found = find_handler(name)
        notes["handler_ready_ns"] = time.monotonic_ns()
        members = ", ".join(f'"{note}": {at}' for note, at in notes.items())  # `json` would be part of what is timed
        descriptor = os.open(notes_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, f"{{{members}}}".encode())
        os.close(descriptor)
        return found

    sys.addaudithook(note_model)
    return timed_find_handler


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2])
