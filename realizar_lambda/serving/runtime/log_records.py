"""The root logger as Lambda's Python runtimes set it up, for handlers that log. Ours do not: they write JSON lines."""

from __future__ import annotations

import logging
import sys
import time
import traceback

from realizar_lambda.json_codec import Encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TEXT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_encode = Encoder(allow_nan=True, default=str).encode


class JsonFormatter(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        is_plain = isinstance(record.msg, dict) and not record.args
        line: dict[str, object] = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "message": record.msg if is_plain else record.getMessage(),
            "logger": record.name,
            "requestId": getattr(record, "aws_request_id", ""),
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, value, trace = record.exc_info
            line |= {"errorType": kind.__name__, "errorMessage": str(value), "stackTrace": traceback.format_tb(trace)}
            line["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        return _encode(line)


class _Output(logging.Handler):
    """Standard output as it is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(self.format(record) + "\n")


def set_up(environ: Mapping[str, str], request_id: Callable[[], str]) -> None:
    """Give the root logger a handler, unless the function gave it one; AWS_LAMBDA_LOG_FORMAT and _LEVEL are obeyed."""
    root = logging.getLogger()
    if root.handlers:
        return

    def add_request_id(record: logging.LogRecord) -> bool:
        record.aws_request_id = request_id()
        return True

    handler = _Output()
    handler.addFilter(add_request_id)
    if environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON":
        handler.setFormatter(JsonFormatter())
    else:
        formatter = logging.Formatter(_TEXT, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    root.addHandler(handler)
    level = environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = "DEBUG" if level == "TRACE" else level
    if level in logging.getLevelNamesMapping():
        root.setLevel(level)
