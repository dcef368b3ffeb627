"""What the runtime says of one invocation: its id and how long it may take. It knows no event."""

from __future__ import annotations

import time


class Invocation:
    """`request_id` is Lambda's own, "" where there is none; `deadline` is on `time.monotonic`, in seconds; `can_stream`
    says that the runtime sends a `StreamedAnswer` piece by piece."""

    __slots__ = ("can_stream", "deadline", "request_id")

    def __init__(self, request_id: str = "", deadline: float | None = None, *, can_stream: bool = False) -> None:
        self.request_id = request_id
        self.deadline = deadline
        self.can_stream = can_stream

    @classmethod
    def from_context(cls, context: object, *, reserve_seconds: float = 0.0) -> Invocation:
        """Read a Lambda context; anything else, None included, gives an invocation without id or deadline.

        The deadline lies `reserve_seconds` before the moment at which Lambda ends the function.
        """
        request_id = getattr(context, "aws_request_id", None)
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        deadline = None
        if callable(remaining):
            deadline = time.monotonic() + max(0, remaining()) / 1000 - reserve_seconds
        can_stream = getattr(context, "can_stream", False) is True
        return cls(request_id if isinstance(request_id, str) else "", deadline, can_stream=can_stream)

    def deadline_within(self, seconds: float | None) -> float | None:
        """The deadline, or `seconds` from now where that is sooner."""
        if seconds is None:
            return self.deadline
        limit = time.monotonic() + seconds
        return limit if self.deadline is None else min(limit, self.deadline)
