"""Structured log lines: one JSON object per line on standard output. It never sees a body or an answer."""

from __future__ import annotations

import sys

from realizar_lambda.json_codec import Encoder

_encode = Encoder(allow_nan=True, default=str).encode


def write_line(record: dict[str, object]) -> None:
    """Write `record` as one line. Standard output is looked up each time: a runtime may replace it."""
    sys.stdout.write(_encode(record) + "\n")
    sys.stdout.flush()
