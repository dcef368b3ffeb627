"""What an emulator reports: invocations, cold starts, memory. It does not know how they were obtained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024 + 100
"""Lambda's limit on a buffered event or answer: 6 MB and 100 bytes, as the vendor's emulator enforces it."""

MAX_STREAMED_BYTES = 200 * 1024 * 1024
"""Lambda's limit on a streamed answer."""

HTTP_INTEGRATION_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = b"\0" * 8
"""Ends the JSON prelude of a streamed HTTP answer; the payload follows."""


class EventTooLargeError(ValueError):
    """An event is over Lambda's limit: it is refused before the function sees it."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__(f"the event has {n_bytes} bytes; Lambda takes at most {MAX_PAYLOAD_BYTES}")
        self.n_bytes = n_bytes


class EmulatorError(RuntimeError):
    """The emulator itself could not do its work (not the function under test)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer and when it arrived, in ms after the invocation was handed over."""

    ms: float
    data: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP answer as a function's URL would give it."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Invocation:
    """One invocation and its outcome.

    `raw` are the answer's bytes. `is_error` is what Lambda calls a function error (an exception, a timeout, a
    dead process); `error_type` is then its name, such as "ValueError", "Sandbox.Timedout" or
    "Runtime.ExitError". `duration_ms` runs from the moment the runtime got the event to the moment its whole
    answer was read. `chunks` is empty unless the answer was streamed; `error_detail` is what a stream that
    failed half way said of its failure.
    """

    request_id: str
    raw: bytes
    is_error: bool
    error_type: str | None
    duration_ms: float
    content_type: str = "application/json"
    chunks: tuple[Chunk, ...] = ()
    error_detail: bytes = b""

    @property
    def payload(self) -> object:
        """The answer as JSON. Raises ValueError where it is not."""
        return json.loads(self.raw)

    @property
    def is_streamed(self) -> bool:
        """Whether the answer came in chunks."""
        return bool(self.chunks)

    def http_response(self) -> HttpResponse:
        """A streamed HTTP answer, its prelude taken off. Raises ValueError where there is no prelude."""
        prelude, end, body = self.raw.partition(PRELUDE_END)
        if not end:
            raise ValueError(f"no prelude in a {self.content_type} answer of {len(self.raw)} bytes")
        head = json.loads(prelude)
        return HttpResponse(
            status=int(head.get("statusCode", 200)),
            headers={str(name): str(value) for name, value in head.get("headers", {}).items()},
            cookies=tuple(head.get("cookies", ())),
            body=body,
        )


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The first invocation of a fresh runtime process, in ms on the monotonic clock.

    `start_ns` is the spawn as `time.monotonic_ns`, for comparison with notes taken elsewhere on this machine.
    `init_ms`: process spawn to the runtime's first request for an event, so runtime and handler are ready.
    `first_answer_ms`: that request to the whole first answer. `total_ms`: spawn to the whole first answer.
    """

    start_ns: int
    init_ms: float
    first_answer_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the live runtime process, in bytes, as the kernel counts it.

    `peak` is the high-water mark of the resident set, `resident` the resident set now, `proportional` the
    same with pages that several processes share divided among them.
    """

    peak: int
    resident: int
    proportional: int
