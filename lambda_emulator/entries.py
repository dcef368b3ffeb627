"""How a function's process is started: by the vendor's runtime client, or by the loop that the image uses."""

from __future__ import annotations

from collections.abc import Mapping

RUN_LOOP = "from realizar_lambda.serving.runtime import run; run()"

ENTRIES: Mapping[str, tuple[str, ...]] = {
    "awslambdaric": ("-m", "awslambdaric"),
    "loop": ("-S", "-c", RUN_LOOP),
}
"""By name: an interpreter's arguments, before the handler's name. "loop" is what Dockerfile.lambda says."""


def entry_command(entry: str, python: str, handler: str) -> list[str]:
    """The command line that starts `handler`."""
    return [python, *ENTRIES[entry], handler]
