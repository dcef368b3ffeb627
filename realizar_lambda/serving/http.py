"""A request and a response as values, whatever they came through. It knows no event source and no route."""

from __future__ import annotations

from realizar_lambda.json_codec import Encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Final

JSON: Final = "application/json"
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
EVENTS: Final = "text/event-stream; charset=utf-8"

PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

encode = Encoder(allow_nan=False).encode


class Request:
    """What a caller asks.

    `headers` has lower-case names, `query` decoded values. `body` is what the source delivered, undecoded:
    str, bytes, None, or (from a hand-made event) anything; `is_base64` says that it is base64 text. A direct
    invocation has its fields already parsed, in `value`, and then `has_value` is true. `deadline` is the
    moment, on `time.monotonic`'s clock in seconds, by which the answer must be under way; None is never.
    `can_stream` says that the source passes an answer on piece by piece; others get it whole. `caller` is
    who the gateway says is asking, None where it does not say; it is asked for in one setting only (events/caller.py).
    """

    __slots__ = (
        "body",
        "caller",
        "can_stream",
        "deadline",
        "has_value",
        "headers",
        "is_base64",
        "is_cold_start",
        "method",
        "path",
        "query",
        "request_id",
        "source",
        "value",
    )

    def __init__(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        is_base64: bool = False,
        source: str = "",
        request_id: str = "",
        deadline: float | None = None,
        can_stream: bool = False,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query or {}
        self.headers = headers or {}
        self.body = body
        self.is_base64 = is_base64
        self.source = source
        self.request_id = request_id
        self.deadline = deadline
        self.can_stream = can_stream
        self.caller: str | None = None
        self.value: object = None
        self.has_value = False
        self.is_cold_start = False

    @classmethod
    def from_value(
        cls,
        method: str,
        path: str,
        value: object,
        *,
        source: str,
        request_id: str,
        deadline: float | None = None,
    ) -> Request:
        """A request whose body arrived parsed: `value` is the decoded JSON."""
        request = cls(method, path, source=source, request_id=request_id, deadline=deadline)
        request.value = value
        request.has_value = True
        return request

    def content_type(self) -> tuple[str, dict[str, str]]:
        """The media type in lower case ("" where the header is absent) and its parameters."""
        media, *rest = self.headers.get("content-type", "").split(";")
        parameters = {}
        for part in rest:
            name, _, value = part.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"').lower()
        return media.strip().lower(), parameters


class Response:
    """What a caller gets: a status, headers with lower-case names and a body, str for text and bytes else.

    `chunks` is None, or a generator of the body that is still to come: server-sent events, one or more per chunk.
    `model` names the model that answered, `code` the error and `usage` the tokens, all three for logs and metrics only.
    """

    __slots__ = ("body", "chunks", "code", "headers", "model", "status", "usage")

    def __init__(
        self,
        status: int,
        body: str | bytes,
        content_type: str,
        *,
        headers: Mapping[str, str] | None = None,
        model: str = "",
        code: str = "",
        chunks: Generator[str, None, None] | None = None,
        usage: Mapping[str, object] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.chunks = chunks
        self.usage = {} if usage is None else usage  # a stream fills it in at its end
        self.headers = {"content-type": content_type, **(headers or {})}
        self.model = model
        self.code = code

    @classmethod
    def from_json(
        cls,
        status: int,
        value: object,
        *,
        headers: Mapping[str, str] | None = None,
        model: str = "",
        code: str = "",
        usage: Mapping[str, object] | None = None,
    ) -> Response:
        """An ASCII JSON body. Raises ValueError where `value` holds a NaN or an infinity."""
        return cls(status, encode(value), JSON, headers=headers, model=model, code=code, usage=usage)

    @property
    def status_line(self) -> str:
        """The status and its phrase: "200 OK"."""
        return f"{self.status} {PHRASES.get(self.status, 'Unknown')}"
