"""Fields of the text routes: Unicode text, token ids, stop strings, and what the sampler checks itself. They know no
route and no model."""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.fields import Field, Text, wrong_type

MAX_STOPS = 16


class Unicode(Text):
    """A string that UTF-8 can write: JSON's escapes can name half a surrogate pair, and no text has one."""

    __slots__ = ()

    def read(self, value: object, name: str) -> str:
        text = super().read(value, name)
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as fault:
                found = f"the lone surrogate U+{ord(text[fault.start]):04X}"
                message = f"{name} must be Unicode text, character {fault.start} is {found}"
                raise RequestError(400, message, name) from None
        return text


class TokenIds(Field):
    """An array of integers; which of them are token ids is for a model to say."""

    __slots__ = ()

    def read(self, value: object, name: str) -> list[int]:
        if not isinstance(value, list):
            raise wrong_type(name, "an array of token ids", value)
        for position, token in enumerate(value):
            if type(token) is not int:
                raise wrong_type(f"{name}[{position}]", "an integer", token)
        return value


class Stops(Unicode):
    """One stop string or an array of up to MAX_STOPS, none of them empty; reads as a tuple."""

    __slots__ = ()

    def read(self, value: object, name: str) -> tuple[str, ...]:  # type: ignore[override]
        stops = value if isinstance(value, list) else [value]
        if len(stops) > MAX_STOPS:
            raise RequestError(400, f"{name} must hold at most {MAX_STOPS} strings, got {len(stops)}", name)
        read = []
        for position, stop in enumerate(stops):
            where = f"{name}[{position}]" if isinstance(value, list) else name
            text = super().read(stop, where)
            if not text:
                raise RequestError(400, f"{where} must not be empty", name)
            read.append(text)
        return tuple(read)


class Checked(Field):
    """A value that the one who uses it checks and names in its error."""

    __slots__ = ()

    def read(self, value: object, name: str) -> object:
        return value
