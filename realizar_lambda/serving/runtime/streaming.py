"""A streamed answer on its way: chunks of the prelude and the payload, and trailers where it fails half way.

    POST .../response              Transfer-Encoding: chunked
      {"statusCode": ..., "headers": ...} 8 NUL bytes      the prelude, JSON
      payload ...                                          a chunk per piece
      trailers                                             the error's type and its description, only where it failed

Gateways end a stream that is silent for too long (30 s at the edge), and a prefill can be: so that a stream of server-
sent events is not, a thread sends a comment, which every reader of events skips.
"""

from __future__ import annotations

import time
from _thread import allocate_lock, start_new_thread
from binascii import b2a_base64

from realizar_lambda.json_codec import Encoder
from realizar_lambda.serving.runtime.connection import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from realizar_lambda.serving.runtime.connection import Connection
    from realizar_lambda.serving.streamed_answer import StreamedAnswer

STREAM_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = b"\0" * 8
COMMENT = b": still at work\n\n"
COMMENT_SECONDS = 10.0
HEADERS = (
    ("Content-Type", STREAM_TYPE),
    ("Lambda-Runtime-Function-Response-Mode", "streaming"),
    ("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"),
)
_encode = Encoder(allow_nan=False).encode


def post_stream(
    connection: Connection, path: str, answer: StreamedAnswer, *, comment_seconds: float = COMMENT_SECONDS
) -> None:
    """Send the whole answer. What the generator raises becomes the trailers; a lost connection ends it."""
    is_events = str(answer.prelude["headers"].get("content-type", "")).startswith("text/event-stream")
    sender = _Sender(connection, comment_seconds if is_events else None)
    trailers: Iterable[tuple[str, str]] = ()
    try:
        connection.begin(path, HEADERS)
        sender.start(_encode(answer.prelude).encode() + PRELUDE_END)
        for piece in answer.chunks:
            sender.write(piece if isinstance(piece, bytes) else piece.encode())
        if answer.code:
            trailers = error_trailers(answer.code, "the stream ended with an error, which its last event describes")
    except ConnectionError as error:
        print(f"a stream was cut off: {error}", flush=True)
        connection.close()
        return
    except ProtocolError:
        raise
    except Exception as error:
        trailers = error_trailers(type(error).__name__, str(error))
    finally:
        sender.stop()
        if hasattr(answer.chunks, "close"):
            answer.chunks.close()
    try:
        connection.end(trailers)
    except ConnectionError as error:
        print(f"a stream was cut off: {error}", flush=True)
        connection.close()
    if trailers:
        connection.close()


def error_trailers(kind: str, message: str) -> tuple[tuple[str, str], ...]:
    """The trailers of a failed stream."""
    described = _encode({"errorType": kind, "errorMessage": message}).encode()
    body = b2a_base64(described, newline=False).decode("ascii")
    name = kind if kind.isascii() and kind.isprintable() else "Runtime.Unknown"
    return ("Lambda-Runtime-Function-Error-Type", name), ("Lambda-Runtime-Function-Error-Body", body)


class _Sender:
    """Writes pieces, and comments while there are none; the two never at once."""

    def __init__(self, connection: Connection, comment_seconds: float | None) -> None:
        self._connection = connection
        self._seconds = comment_seconds
        self._lock = allocate_lock()
        self._ending: Any = allocate_lock()
        self._last = 0.0

    def start(self, prelude: bytes) -> None:
        self.write(prelude)
        if self._seconds is not None:
            self._ending.acquire()
            start_new_thread(self._comment, (self._seconds,))

    def write(self, data: bytes) -> None:
        with self._lock:
            self._connection.write(data)
            self._last = time.monotonic()

    def stop(self) -> None:
        """No comment comes after this."""
        with self._lock:
            self._last = float("inf")
        if self._ending.locked():
            self._ending.release()

    def _comment(self, seconds: float) -> None:
        wait = seconds
        while not self._ending.acquire(timeout=wait):
            with self._lock:
                silent = time.monotonic() - self._last
                if silent >= seconds:
                    try:
                        self._connection.write(COMMENT)
                    except OSError:
                        return  # the next piece meets the same
                    self._last = time.monotonic()
                    silent = 0.0
            wait = max(0.0, seconds - silent) if silent >= 0 else seconds
