"""One invocation on its way through the Runtime API. It does not know sockets or processes."""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from lambda_emulator.records import Chunk, Invocation
from lambda_emulator.wire import Head

ERROR_TYPE = "lambda-runtime-function-error-type"
ERROR_BODY = "lambda-runtime-function-error-body"
JSON_TYPE = "application/json"


@dataclass(slots=True)
class Task:
    """The event, then when the runtime took it, then its outcome.

    Times are `time.monotonic_ns`. `pieces` are the answer's (time, bytes) as they arrived. Whoever changes a
    task that the server knows holds the server's condition.
    """

    event: bytes
    timeout_seconds: float
    trace_id: str
    client_context: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deadline_ns: int | None = None
    taken_ns: int | None = None
    finished_ns: int | None = None
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    is_streamed: bool = False
    content_type: str = JSON_TYPE
    error_type: str | None = None
    error_detail: bytes = b""

    def fail(self, error_type: str, message: str) -> None:
        """End the task with an error of the environment's own making, in Lambda's shape."""
        self.end_with(error_type, json.dumps({"errorType": error_type, "errorMessage": message}).encode())

    def end_with(self, error_type: str, body: bytes) -> None:
        """End the task with an error that somebody described; what was streamed before is dropped."""
        self.finished_ns = time.monotonic_ns()
        self.pieces = [(self.finished_ns, body)]
        self.is_streamed = False
        self.content_type = JSON_TYPE
        self.error_type = error_type

    def invocation(self, submitted_ns: int) -> Invocation:
        """The finished task as its caller sees it; one never taken counts from `submitted_ns`."""
        finished_ns = self.finished_ns
        if finished_ns is None:
            raise ValueError(f"invocation {self.request_id} has not finished")
        start_ns = submitted_ns if self.taken_ns is None else self.taken_ns
        chunks = tuple(Chunk((at - start_ns) / 1e6, data) for at, data in self.pieces)
        return Invocation(
            request_id=self.request_id,
            raw=b"".join(data for _, data in self.pieces),
            is_error=self.error_type is not None,
            error_type=self.error_type,
            duration_ms=(finished_ns - start_ns) / 1e6,
            content_type=self.content_type,
            chunks=chunks if self.is_streamed else (),
            error_detail=self.error_detail,
        )


def error_name(head: Head, body: bytes) -> str:
    """The error's name: the header's, else the body's, else Lambda's word for neither."""
    named = head.headers.get(ERROR_TYPE)
    if named:
        return named
    try:
        described = json.loads(body)
    except ValueError:
        return "Runtime.Unknown"
    found = described.get("errorType") if isinstance(described, dict) else None
    return str(found) if found else "Runtime.Unknown"


def decoded_detail(text: str) -> bytes:
    """The trailer that describes a failed stream: base64 as the contract has it, else as it came."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text.encode()
