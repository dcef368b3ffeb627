"""Runs in the runtime process in place of a function's entry, and notes when each phase of a cold start ends.

    python -m lambda_emulator.probe NOTES_FILE HANDLER           in place of `python -m awslambdaric HANDLER`
    python -S lambda_emulator/probe.py NOTES_FILE HANDLER        in place of our own loop, which alone runs without site
    python -S -c "from lambda_emulator.probe import run_loop; run_loop()" NOTES_FILE HANDLER             the same

It imports nothing of its package, so that a container can have this file alone. Notes are `time.monotonic_ns`, a
clock that all processes of a machine share. A model load is seen from outside, by the first file with a model's
suffix that the process opens. Runs with the probe are for the split into phases only; totals come from runs
without it.
"""

from __future__ import annotations

import time

STARTED_NS = time.monotonic_ns()

import os  # noqa: E402  (the first note comes before anything is imported)
import sys  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

MODEL_SUFFIXES = (".apr", ".gguf", ".safetensors", ".npz", ".onnx", ".pt")


def entry(replaced: Sequence[str], script: str, notes_path: str) -> list[str]:
    """The entry that runs this file, at `script`, in place of one that is `replaced`."""
    return [replaced[0], *(word for word in replaced[1:] if word == "-S"), script, notes_path]


def run(notes_path: str, handler: str) -> None:
    """Start the runtime on `handler`; never returns while events come."""
    notes: dict[str, int | None] = {"started_ns": STARTED_NS, "model_opened_ns": None, "called_ns": None}

    def note(name: str) -> None:
        notes[name] = time.monotonic_ns()

    def note_model(name: str, arguments: tuple[object, ...]) -> None:
        is_first = name == "open" and notes["model_opened_ns"] is None
        if is_first and isinstance(arguments[0], str) and arguments[0].endswith(MODEL_SUFFIXES):
            note("model_opened_ns")

    def store() -> None:
        text = ", ".join(f'"{name}": {"null" if value is None else value}' for name, value in notes.items())
        descriptor = os.open(notes_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, b"{%b}" % text.encode())
        os.close(descriptor)

    def timed(find_handler: Callable[[str], Any]) -> Callable[[str], Any]:
        def find(name: str) -> Any:
            note("runtime_ready_ns")
            found = find_handler(name)
            note("handler_ready_ns")
            store()

            def handle(event: object, context: object) -> object:
                is_first = notes["called_ns"] is None
                if is_first:
                    note("called_ns")
                answer = found(event, context)
                if is_first:
                    note("answered_ns")
                    store()
                return answer

            return handle

        return find

    sys.addaudithook(note_model)
    if sys.flags.no_site:
        from realizar_lambda.serving import runtime
        from realizar_lambda.serving.runtime import loop

        vars(loop)["find_handler"] = timed(loop.find_handler)
        sys.argv[1:] = [handler]
        runtime.run()
    else:
        from awslambdaric import bootstrap
        from awslambdaric.lambda_config import LambdaConfigProvider
        from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

        bootstrap._get_handler = timed(bootstrap._get_handler)
        config = LambdaConfigProvider([sys.argv[0], handler])
        bootstrap.run(config.handler, LambdaRuntimeClient(config.api_address, config.use_thread_polling))


def run_loop() -> None:
    """Start the runtime on the second argument, the notes' file being the first; never returns."""
    run(sys.argv[1], sys.argv[2])


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    run(sys.argv[1], sys.argv[2])
