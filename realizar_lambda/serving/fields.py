"""The fields of a JSON body, typed by tables: one class per kind of field. It knows no route and no HTTP.

A table maps field names to fields. `null` means the default; a name that is not in the table is refused.
A wrong type is a 422 that names the field, a value out of range a 400.
"""

from __future__ import annotations

from realizar_lambda.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

F32_MAX = 3.4028234663852886e38


class Field:
    """One field: `read(value, name)` gives the checked value or raises RequestError. `default` None with
    `is_required` false means that the field may be absent."""

    __slots__ = ("default", "is_required")

    def __init__(self, *, default: object = None, is_required: bool = False) -> None:
        self.default = default
        self.is_required = is_required

    def read(self, value: object, name: str) -> object:
        raise NotImplementedError


class Text(Field):
    """A string."""

    __slots__ = ()

    def read(self, value: object, name: str) -> str:
        if not isinstance(value, str):
            raise wrong_type(name, "a string", value)
        return value


class Flag(Field):
    """true or false."""

    __slots__ = ()

    def read(self, value: object, name: str) -> bool:
        if not isinstance(value, bool):
            raise wrong_type(name, "true or false", value)
        return value


class Integer(Field):
    """A whole number of at least `low`; booleans are not numbers."""

    __slots__ = ("low",)

    def __init__(self, *, low: int, default: int | None = None, is_required: bool = False) -> None:
        super().__init__(default=default, is_required=is_required)
        self.low = low

    def read(self, value: object, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(name, "an integer", value)
        if value < self.low:
            raise RequestError(400, f"{name} must be at least {self.low}, got {shown(value)}", name)
        return value


class Features(Field):
    """A flat list of numbers that are finite as f32."""

    __slots__ = ()

    def read(self, value: object, name: str) -> list[float]:
        if not isinstance(value, list):
            raise wrong_type(name, "an array of numbers", value)
        if not _NUMBERS.issuperset(map(type, value)):
            for position, number in enumerate(value):
                if type(number) not in _NUMBERS:
                    raise wrong_type(f"{name}[{position}]", "a number", number)
        if value and not is_finite_f32(value):
            for position, number in enumerate(value):
                if not -F32_MAX <= number <= F32_MAX:
                    found = number if isinstance(number, float) else "an integer past that"
                    message = f"{name}[{position}] must be finite and within ±{F32_MAX:.8g}, got {found}"
                    raise RequestError(400, message, name)
        return value


class Items(Field):
    """An array; its items are for the route to read one by one."""

    __slots__ = ()

    def read(self, value: object, name: str) -> list[object]:
        if not isinstance(value, list):
            raise wrong_type(name, "an array", value)
        return value


class Group(Field):
    """An object with fields of its own."""

    __slots__ = ("fields",)

    def __init__(self, fields: Mapping[str, Field]) -> None:
        super().__init__()
        self.fields = fields

    def read(self, value: object, name: str) -> dict[str, Any]:
        return read_fields(value, self.fields, name)


def read_fields(value: object, fields: Mapping[str, Field], where: str = "") -> dict[str, Any]:
    """Every field of the table, checked, defaults filled in. `where` names the object in messages."""
    if not isinstance(value, dict):
        raise wrong_type(where or "the body", "an object", value)
    prefix = f"{where}." if where else ""
    for name in value:
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise RequestError(422, f"unknown field {prefix}{quoted(name)}; known fields: {known}", prefix + name)
    read = {}
    for name, field in fields.items():
        found = value.get(name)
        if found is not None:
            read[name] = field.read(found, prefix + name)
        elif isinstance(field, Group):
            read[name] = field.read({}, prefix + name)
        elif field.is_required:
            raise RequestError(422, f"the field {prefix}{name} is missing", prefix + name)
        else:
            read[name] = field.default
    return read


def check_batch(items: list[Any], name: str, most: int) -> list[Any]:
    """`items`, where there are 1 to `most`. Raises RequestError."""
    if not 1 <= len(items) <= most:
        raise RequestError(400, f"{name} must hold 1 to {most} items, got {len(items)}", name)
    return items


def is_finite_f32(numbers: Any) -> bool:
    """Whether all of a non-empty sequence of int and float is finite as f32, at C speed."""
    if not (max(numbers) <= F32_MAX and min(numbers) >= -F32_MAX):
        return False
    total = sum(numbers)  # what remains is NaN, and no integer that a float cannot hold
    return bool(total == total)


def quoted(text: str) -> str:
    """`text` from a caller as it may stand in a message: ASCII, quoted, not long."""
    return ascii(text if len(text) <= 100 else text[:97] + "...")


def shown(number: float) -> str:
    """A number from a caller as it may stand in a message; Python writes no integer of thousands of digits."""
    return f"{number}" if -1e300 < number < 1e300 else "a number past 1e300"


def wrong_type(name: str, expected: str, found: object) -> RequestError:
    return RequestError(422, f"{name} must be {expected}, got {type_name(found)}", name)


def type_name(value: object) -> str:
    """What JSON calls the type of `value`."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


_NUMBERS = frozenset((int, float))

_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
