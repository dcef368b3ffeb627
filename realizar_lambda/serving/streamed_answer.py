"""An answer that goes out piece by piece, as a handler gives it to a runtime that streams. It knows no socket."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from realizar_lambda.serving.http import Response


class StreamedAnswer:
    """`prelude` is the head as JSON has it, `chunks` the body's pieces. `code` is "" unless the stream failed on its
    way, and known when it has ended."""

    __slots__ = ("_response", "chunks", "prelude")

    def __init__(self, response: Response) -> None:
        self._response = response
        self.prelude: dict[str, Any] = {"statusCode": response.status, "headers": response.headers}
        whole = iter((response.body,) if response.body else ())
        self.chunks: Iterator[str | bytes] = whole if response.chunks is None else response.chunks

    @property
    def code(self) -> str:
        """The error's code; an answer that is an error from the start has not failed on its way."""
        return self._response.code if self._response.status < 400 else ""
