"""Strict JSON out of untrusted bytes, with bounded memory; it does not know what the values mean.

`json.loads` alone is too trusting for a file header: it accepts NaN, keeps the last of two equal keys, lets
lone surrogates through that no UTF-8 encoder takes later, and turns 10 MB of `[[],[],...` into lists of
several hundred.
"""

from __future__ import annotations

from realizar_lambda.errors import FormatError
from realizar_lambda.json_codec import Decoder

MAX_VALUES = 1 << 21
"""Most values in one document. A 256k-token vocabulary with its merges has under 900,000."""


def parse_object(path: str, offset: int, raw: bytes) -> dict[str, object]:
    """Parse `raw`, which lies at byte `offset` of the file `path`, as one JSON object.

    Raises FormatError for text that is not UTF-8 or not JSON, for duplicate keys, NaN and Infinity, unpaired
    surrogates, nesting too deep, more than `MAX_VALUES` values, and for any document that is not an object.
    """
    value = parse(path, offset, raw)
    if not isinstance(value, dict):
        raise FormatError(path, offset, f"the JSON is {_NAMES.get(type(value), 'a value')}, it must be an object")
    return value


def parse(path: str, offset: int, raw: bytes) -> object:
    """As `parse_object`, for any JSON value."""
    n_values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if n_values > MAX_VALUES:
        raise FormatError(path, offset, f"the JSON has about {n_values} values, at most {MAX_VALUES} are read")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise FormatError(path, offset + fault.start, f"the JSON is not UTF-8: {fault.reason}") from None
    try:
        value = _decode(text)
        if "\\ud" in text or "\\uD" in text:
            _check_surrogates(value)
    except UnicodeEncodeError:
        raise FormatError(path, offset, "the JSON has an unpaired surrogate in a string") from None
    except RecursionError:
        raise FormatError(path, offset, "the JSON is nested too deeply") from None
    except ValueError as fault:
        position = getattr(fault, "pos", 0)  # a JSONDecodeError knows where, the refusals below do not
        at = offset + len(text[:position].encode("utf-8"))
        raise FormatError(path, at, f"not JSON: {getattr(fault, 'msg', fault)}") from None
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:64]!r} occurs twice")
            seen.add(key)
    return document


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")


def _check_surrogates(value: object) -> None:
    """Raises UnicodeEncodeError for an unpaired surrogate in a string."""
    import json

    json.dumps(value, ensure_ascii=False).encode("utf-8")


_decode = Decoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode

_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
