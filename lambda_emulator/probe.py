"""Runs in the runtime process in place of `python -m awslambdaric`, and notes when each phase of init ends.

    python -m lambda_emulator.probe NOTES_FILE HANDLER

Notes are `time.monotonic_ns`, a clock that all processes of a machine share. A model load is seen from
outside, by the first file with a model's suffix that the process opens. Runs with the probe are for the
split into phases only; totals come from runs without it.
"""

from __future__ import annotations

import time

STARTED_NS = time.monotonic_ns()

import json  # noqa: E402  (the first note comes before anything is imported)
import os  # noqa: E402
import sys  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODEL_SUFFIXES = (".apr", ".gguf", ".safetensors", ".npz", ".onnx", ".pt")


def run(notes_path: str, handler: str) -> None:
    """Start the runtime client on `handler`; never returns while events come."""
    from awslambdaric import bootstrap
    from awslambdaric.lambda_config import LambdaConfigProvider
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    notes: dict[str, int | None] = {
        "started_ns": STARTED_NS,
        "runtime_ready_ns": time.monotonic_ns(),
        "model_opened_ns": None,
        "handler_ready_ns": None,
    }

    def note_model(name: str, arguments: tuple[object, ...]) -> None:
        is_first = name == "open" and notes["model_opened_ns"] is None
        if is_first and isinstance(arguments[0], str) and arguments[0].endswith(MODEL_SUFFIXES):
            notes["model_opened_ns"] = time.monotonic_ns()

    find_handler = bootstrap._get_handler

    def timed_find_handler(name: str) -> Any:
        found = find_handler(name)
        notes["handler_ready_ns"] = time.monotonic_ns()
        descriptor = os.open(notes_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, json.dumps(notes).encode())
        os.close(descriptor)
        return found

    sys.addaudithook(note_model)
    bootstrap._get_handler = timed_find_handler
    config = LambdaConfigProvider([sys.argv[0], handler])
    bootstrap.run(config.handler, LambdaRuntimeClient(config.api_address, config.use_thread_polling))


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2])
