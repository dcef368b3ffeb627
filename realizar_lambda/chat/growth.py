"""How much an operation of a template would make, found before it is made. It knows no rendering.

Each check raises UnsupportedError where the result would be heavier than a value may be.
"""

from __future__ import annotations

from realizar_lambda.chat.metering import ITEM_WEIGHT, MAX_INTEGER_BITS, MAX_WEIGHT, check_weight
from realizar_lambda.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MAX_INDENT = 64
MAX_DIGITS = 16
SPACES = " \t\n\r\v\f"


def check_text_method(text: str, name: str, args: tuple[Any, ...]) -> None:
    """A method of a text."""
    if name == "replace" and len(args) >= 2:
        check_weight(len(text) + text.count(str(args[0])) * len(str(args[1])))
    elif name == "join" and args and isinstance(args[0], (list, tuple)):
        check_weight(sum(len(text) + len(item) for item in args[0] if isinstance(item, str)))
    elif name in ("split", "rsplit", "splitlines"):
        separators = args[0] if name != "splitlines" and args and isinstance(args[0], str) else None
        n_pieces = text.count(separators) if separators else sum(map(text.count, SPACES))
        check_weight(len(text) + n_pieces * ITEM_WEIGHT)


def check_filter(name: str, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """A filter of a value that is no iterator."""
    check = _FILTERS.get(name)
    if check is not None:
        check(value, args, kwargs)
    elif isinstance(value, str) and name not in _OF_WHOLE_TEXTS:
        check_weight(len(value) * ITEM_WEIGHT)


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _replace(value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    old, new = (str(_argument(args, kwargs, place, name, "")) for place, name in ((0, "old"), (1, "new")))
    check_text_method(str(value), "replace", (old, new))


def _join(value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    between = len(str(_argument(args, kwargs, 0, "d", "")))
    check_weight(sum(len(str(item)) + between for item in value))


def _sum(value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    check_weight(ITEM_WEIGHT * sum(len(item) for item in value if hasattr(item, "__len__")))


def _round(value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    _limited("round", _argument(args, kwargs, 0, "precision", 0), MAX_DIGITS)


def _indent(value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    width = _argument(args, kwargs, 0, "width", 4)
    if not isinstance(width, str) or len(width) > MAX_INDENT:
        _limited("indent", width, MAX_INDENT)
    text = str(value)
    check_weight(len(text) + (text.count("\n") + 1) * MAX_INDENT)


def _limited(name: str, value: Any, most: int) -> None:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise UnsupportedError(f"{name}({value!r:.20}) in a chat template", f"0 to {most}")


_FILTERS: dict[str, Callable[[Any, tuple[Any, ...], Mapping[str, Any]], None]] = {
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "sum": _sum,
}
_OF_WHOLE_TEXTS = frozenset((
    "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int", "last", "length", "lower",
    "reverse", "safe", "string", "title", "trim", "upper",
))  # fmt: skip
"""Filters that make no list of a text's characters."""


def _check_sum(left: Any, right: Any) -> None:
    if hasattr(left, "__len__") and hasattr(right, "__len__"):
        check_weight((len(left) + len(right)) * (1 if isinstance(left, str) else ITEM_WEIGHT))


def _check_product(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(other, int) and hasattr(one, "__len__"):
            check_weight(len(one) * max(other, 0) * (1 if isinstance(one, str) else ITEM_WEIGHT))
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_INTEGER_BITS:
        check_weight(MAX_WEIGHT + 1)


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_INTEGER_BITS:
        check_weight(MAX_WEIGHT + 1)


def _check_remainder(left: Any, right: Any) -> None:
    if isinstance(left, (str, bytes)):
        raise UnsupportedError("% with a text in a chat template", "% with numbers")


OPERATORS: dict[str, Callable[[Any, Any], None]] = {
    "+": _check_sum,
    "*": _check_product,
    "**": _check_power,
    "%": _check_remainder,
}
"""Operator -> its check, with the operands."""
