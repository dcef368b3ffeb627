"""An exception as Lambda reports it: name, message, stack, for the Runtime API, the log and X-Ray."""

from __future__ import annotations

import os
import sys
import time
import traceback

from realizar_lambda.json_codec import Encoder
from realizar_lambda.serving.runtime.context import ContextError
from realizar_lambda.serving.runtime.loop import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX_CAUSE_BYTES = 64 << 10
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_encode = Encoder(allow_nan=True, default=str).encode


def describe(error: BaseException, request_id: str) -> dict[str, Any]:
    """What is posted: errorMessage, errorType, requestId, stackTrace. The stack begins in the handler."""
    if isinstance(error, Fault):
        kind, trace = error.kind, list(error.trace)
    elif isinstance(error, ContextError):
        kind, trace = "Runtime.LambdaContextUnmarshalError", []
    else:
        kind, trace = type(error).__name__, traceback.format_list(_frames(error))
    return {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}


def log_fault(described: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Write it to the log: JSON where AWS_LAMBDA_LOG_FORMAT says so, else lines joined so that they stay one record."""
    if environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON":
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = _encode({"timestamp": moment, "level": "ERROR", **described})
    else:
        lines = [f"[ERROR] {described['errorType']}: {described['errorMessage']}", "Traceback (most recent call last):"]
        lines += [line for entry in described["stackTrace"] for line in entry.splitlines()]
        text = "\r".join(lines)
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def x_ray_cause(error: BaseException, described: Mapping[str, Any]) -> str:
    """The cause as X-Ray draws it, ASCII on one line; "" where it is too long for a header."""
    frames = [] if isinstance(error, (Fault, ContextError)) else _frames(error)
    stack = [{"label": frame.name, "path": frame.filename, "line": frame.lineno} for frame in frames]
    kind = "LambdaValidationError" if isinstance(error, (Fault, ContextError)) else described["errorType"]
    cause = {
        "working_directory": os.getcwd(),
        "exceptions": [{"message": described["errorMessage"], "type": kind, "stack": stack}],
        "paths": sorted({frame.filename for frame in frames}),
    }
    text = _encode(cause)
    return text if len(text) <= MAX_CAUSE_BYTES else ""


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of the traceback without the first ones, which are this loop's own."""
    frames = list(traceback.extract_tb(error.__traceback__))
    while frames and os.path.abspath(frames[0].filename).startswith(_OURS):
        del frames[0]
    return frames
