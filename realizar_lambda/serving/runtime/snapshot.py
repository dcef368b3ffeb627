"""The turn of a snapshot: what handlers registered runs before it is taken and after it is restored.

    GET  /2018-06-01/runtime/restore/next      answers when the process runs again
    POST /2018-06-01/runtime/init/error, .../restore/error

Hooks are those of the package `snapshot_restore_py`; without it there are none.
"""

from __future__ import annotations

import os
import sys

from realizar_lambda.json_codec import Encoder
from realizar_lambda.serving.runtime.faults import describe, log_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.serving.runtime.connection import Connection

BEFORE_FAILED, AFTER_FAILED = 64, 65  # exit codes


def pass_through(connection: Connection, prefix: str) -> None:
    """Run the hooks on both sides of the snapshot; exits where one fails."""
    try:
        from snapshot_restore_py import get_after_restore, get_before_snapshot
    except ImportError:
        before, after = [], []
    else:
        before, after = get_before_snapshot(), get_after_restore()
    try:
        while before:  # in the reverse of the order in which they were registered
            function, arguments, named = before.pop()
            function(*arguments, **named)
        answer = connection.exchange("GET", f"{prefix}/restore/next")
        if answer.status != 200:
            raise RuntimeError(f"restore/next answered with the status {answer.status}")
    except Exception as error:
        _tell(connection, f"{prefix}/init/error", "Runtime.BeforeSnapshotError", error)
        sys.exit(BEFORE_FAILED)
    try:
        for function, arguments, named in after:
            function(*arguments, **named)
    except Exception as error:
        _tell(connection, f"{prefix}/restore/error", "Runtime.AfterRestoreError", error)
        sys.exit(AFTER_FAILED)


def _tell(connection: Connection, path: str, kind: str, error: Exception) -> None:
    described = describe(error, "")
    log_fault(described, os.environ)
    body = Encoder(allow_nan=True, default=str).encode(described).encode()
    headers = (("Content-Type", "application/json"), ("Lambda-Runtime-Function-Error-Type", kind))
    connection.exchange("POST", path, headers, body)
