"""JSON to values and back by CPython's own C code, without the package `json`. It knows no file and no request.

`json` is a thin layer over `_json`, but it imports `re`: 6 ms, a quarter of a cold start that needs no regular
expression. Values and errors are `json`'s; the tests compare the two.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WHITE_SPACE = " \t\n\r"
CONSTANTS = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}


class Decoder:
    """Text to a value, as `json.JSONDecoder` with the same arguments has it."""

    # what the scanner reads besides the two arguments
    strict = True
    object_hook = None
    parse_float = float
    parse_int = int

    def __init__(
        self,
        *,
        object_pairs_hook: Callable[[list[tuple[str, object]]], object] | None = None,
        parse_constant: Callable[[str], object] = CONSTANTS.__getitem__,
    ) -> None:
        self.object_pairs_hook = object_pairs_hook
        self.parse_constant = parse_constant
        self._scan = make_scanner(self)  # type: ignore[arg-type]

    def decode(self, text: str) -> Any:
        """The value. Raises `json.JSONDecodeError`, and RecursionError where it is nested too deeply."""
        start = len(text) - len(text.lstrip(WHITE_SPACE))
        try:
            try:
                value, end = self._scan(text, start)
            except SystemError:  # the scanner of 3.11 has no error to raise while `json.decoder` is not there
                import json.decoder  # noqa: F401

                value, end = self._scan(text, start)
        except StopIteration as stop:
            raise decode_error("Expecting value", text, stop.value) from None
        if end != len(text):
            rest = text[end:].lstrip(WHITE_SPACE)
            if rest:
                raise decode_error("Extra data", text, len(text) - len(rest))
        return value


class Encoder:
    """A value to ASCII text without spaces. What JSON has no type for is `default`'s to replace."""

    def __init__(self, *, allow_nan: bool, default: Callable[[object], object] | None = None) -> None:
        self._allow_nan = allow_nan
        self._default = default or _refuse

    def encode(self, value: object) -> str:
        """The text. Raises TypeError for what cannot be written, ValueError for a cycle, or a NaN where none may be."""
        if isinstance(value, str):
            return encode_basestring_ascii(value)
        encoder = make_encoder(
            {}, self._default, encode_basestring_ascii, None, ":", ",", False, False, self._allow_nan
        )
        return "".join(encoder(value, 0))


def decode_error(message: str, text: str, position: int) -> ValueError:
    """A `json.JSONDecodeError`."""
    from json import JSONDecodeError

    return JSONDecodeError(message, text, position)


def _refuse(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
