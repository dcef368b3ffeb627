"""Server-sent events as text. It knows no route and no model.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from realizar_lambda.serving.http import encode


def event(name: str, value: object) -> str:
    """One event with JSON data, which is ASCII on one line. Raises ValueError for a NaN or an infinity."""
    return f"event: {name}\ndata: {encode(value)}\n\n"


def error_event(body: str) -> str:
    """The event that ends a failed stream; `body` is the JSON of the error's response."""
    return f"event: error\ndata: {body}\n\n"
