"""Structured log lines: one JSON object per line on standard output. It never sees a body or an answer."""

from __future__ import annotations

import json
import sys

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def write_line(record: dict[str, object]) -> None:
    """Write `record` as one line. Standard output is looked up each time: a runtime may replace it."""
    sys.stdout.write(_encode(record) + "\n")
    sys.stdout.flush()
