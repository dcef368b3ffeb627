"""Bodies as the tests send them."""

from __future__ import annotations

import base64
import json

from events.make_events import api_gateway_v2


def post(path, value):
    """An HTTP API event that posts `value` as JSON."""
    return api_gateway_v2("POST", path, json.dumps(value))


def base64_text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
