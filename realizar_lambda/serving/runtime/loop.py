"""The loop itself: ask for an event, call the handler, post its answer. It knows no event source and no model.

    GET  /2018-06-01/runtime/invocation/next
    POST /2018-06-01/runtime/invocation/{id}/response, .../error
    POST /2018-06-01/runtime/init/error

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` is made of, without `enum`
import os
import sys

from realizar_lambda.json_codec import Decoder, Encoder
from realizar_lambda.serving.runtime.connection import Connection
from realizar_lambda.serving.runtime.context import Context
from realizar_lambda.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from realizar_lambda.serving.runtime.connection import Answer

    Handler = Callable[[object, object], object]

PREFIX = "/2018-06-01/runtime"
JSON_TYPE = "application/json"
TRACE_VARIABLE = "_X_AMZN_TRACE_ID"
TOO_LARGE = 413
_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


class Fault(Exception):
    """What is wrong where the handler cannot be found, or its event or answer is no JSON: Lambda's word for it, and a
    sentence. `trace` are lines of a place in the source."""

    def __init__(self, kind: str, message: str, trace: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace


class Loop:
    """A function's process: `initialise` finds its handler, `serve` calls it, event after event."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Raises ProtocolError where AWS_LAMBDA_RUNTIME_API names no address."""
        python = ".".join(map(str, sys.version_info[:3]))
        agent = f"realizar-lambda/{__version__} python/{python}"
        self._connection = Connection(environ.get("AWS_LAMBDA_RUNTIME_API", ""), user_agent=agent)
        self._is_snapshot = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
        self._has_logging = False
        self._request_id = ""
        self._decode = Decoder().decode
        self._encode = Encoder(allow_nan=True, default=_plain).encode

    def initialise(self, name: str) -> Handler:
        """The handler called `name`. Where it cannot be had Lambda is told why and the process ends."""
        _signal.signal(_signal.SIGTERM, _leave)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)
        try:
            handler = find_handler(name)
        except Exception as error:
            from realizar_lambda.serving.runtime.faults import describe, log_fault

            described = describe(error, "")
            log_fault(described, os.environ)
            self._post(f"{PREFIX}/init/error", self._encode(described).encode(), kind=described["errorType"])
            sys.exit(1)
        if self._is_snapshot:
            from realizar_lambda.serving.runtime.snapshot import pass_through

            pass_through(self._connection, PREFIX)
        return handler

    def serve(self, handler: Handler) -> None:
        """Answer events until the process ends."""
        while True:
            self.serve_one(handler)

    def serve_one(self, handler: Handler) -> None:
        """Answer one event. Exits where the Runtime API is not what it should be, or is gone, as emulators go first."""
        try:
            asked = self._connection.exchange("GET", f"{PREFIX}/invocation/next")
        except ConnectionError as error:
            sys.exit(f"the Runtime API is gone: {error}")
        headers = asked.headers
        request_id = headers.get("lambda-runtime-aws-request-id", "")
        if asked.status != 200 or not request_id or not _ID_CHARACTERS.issuperset(request_id):
            sys.exit(f"the Runtime API gave no event: status {asked.status}, request id {request_id[:80]!r}")
        self._request_id = request_id
        trace_id = headers.get("lambda-runtime-trace-id")
        if trace_id is not None:
            os.environ[TRACE_VARIABLE] = trace_id
        else:
            os.environ.pop(TRACE_VARIABLE, None)
        if not self._has_logging and "logging" in sys.modules:
            from realizar_lambda.serving.runtime.log_records import set_up

            set_up(os.environ, lambda: self._request_id)
            self._has_logging = True
        path = f"{PREFIX}/invocation/{request_id}"
        try:
            answer: Any = handler(self._event(asked), Context(headers))
            is_streamed = hasattr(answer, "chunks")
            body, content_type = (b"", "") if is_streamed else self._marshalled(answer)
        except Exception as error:
            self._report(error, path)
            return
        _flush()
        if is_streamed:
            from realizar_lambda.serving.runtime.streaming import post_stream

            post_stream(self._connection, f"{path}/response", answer)
            return
        self._post(f"{path}/response", body, content_type=content_type)

    def _event(self, asked: Answer) -> object:
        """The event: JSON decoded, or bytes of any other type as they came."""
        if asked.headers.get("content-type", JSON_TYPE).partition(";")[0].strip() != JSON_TYPE:
            return asked.body
        try:
            return self._decode(str(asked.body, "utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None

    def _marshalled(self, answer: object) -> tuple[bytes, str]:
        if isinstance(answer, bytes):
            return answer, "application/unknown"
        try:
            return self._encode(answer).encode("ascii"), JSON_TYPE
        except Exception as error:
            raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None

    def _report(self, error: Exception, path: str) -> None:
        from realizar_lambda.serving.runtime.faults import describe, log_fault, x_ray_cause

        described = describe(error, self._request_id)
        log_fault(described, os.environ)
        _flush()
        cause = x_ray_cause(error, described)
        self._post(f"{path}/error", self._encode(described).encode(), kind=described["errorType"], cause=cause)

    def _post(self, path: str, body: bytes, *, content_type: str = JSON_TYPE, kind: str = "", cause: str = "") -> None:
        """Post a body; exits where the Runtime API says that it cannot go on."""
        headers = [("Content-Type", content_type)]
        if kind.isascii() and kind.isprintable() and kind:
            headers.append(("Lambda-Runtime-Function-Error-Type", kind))
        if cause:
            headers.append(("Lambda-Runtime-Function-XRay-Error-Cause", cause))
        answer = self._connection.exchange("POST", path, headers, body)
        if answer.status >= 500:
            sys.exit(f"the Runtime API cannot go on: status {answer.status}, {answer.body[:200]!r}")
        if answer.status >= 300:  # such as 413: the invocation has failed, the next may not
            print(f"the Runtime API refused {path}: status {answer.status}, {answer.body[:200]!r}", flush=True)


def find_handler(name: str) -> Handler:
    """The function that `module.function` names. Raises Fault, and what the module raises."""
    module_name, dot, function = name.rpartition(".")
    if not dot:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': it must be module.function")
    module_name = module_name.replace("/", ".")
    if module_name.partition(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
    try:
        __import__(module_name)
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        message = f"Syntax error in module '{module_name}': {error}"
        raise Fault("Runtime.UserCodeSyntaxError", message, (place,)) from None
    found: Any = getattr(sys.modules[module_name], function, None)
    if found is None:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module_name}'")
    handler: Handler = found
    return handler


def _plain(value: object) -> object:
    """What stands for a value that JSON has no type for: a number for a Decimal."""
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _flush() -> None:
    """Log lines of an invocation come before its answer: the process may be frozen after that."""
    sys.stdout.flush()
    sys.stderr.flush()


def _leave(signal: int, frame: object) -> None:
    sys.exit(0)
