"""The environment variables Lambda gives a function. It does not know what the function does with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_INHERITED = ("HOME", "LD_LIBRARY_PATH", "PATH")
"""What the interpreter itself may need on this machine; the caller's other variables stay outside."""


def program(name: str) -> str:
    """A program's path made absolute, since a function may run in another folder; a bare name stays one.

    Links are kept: a virtual environment's interpreter is one, and knows its packages by it.
    """
    return os.path.abspath(name) if os.sep in name else name


def function_environment(
    *, handler: str, task_root: Path, memory_mb: int, timeout_seconds: float, extra: Mapping[str, str]
) -> dict[str, str]:
    """A Lambda-like environment for `handler` in `task_root`; `extra` is added last and wins.

    AWS_EXECUTION_ENV is left out: with some of its values the runtime client polls from a second thread.
    """
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": f"{max(1, round(timeout_seconds))}",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/function",
        "AWS_LAMBDA_LOG_STREAM_NAME": "$LATEST",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(task_root),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_HANDLER": handler,
    }
    return environment | dict(extra)
