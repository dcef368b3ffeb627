"""Strict JSON out of untrusted bytes, with bounded memory; it does not know what the values mean.

`json.loads` alone is too trusting for a file header: it accepts NaN, keeps the last of two equal keys, lets
lone surrogates through that no UTF-8 encoder takes later, and turns 10 MB of `[[],[],...` into lists of
several hundred.
"""

from __future__ import annotations

import json

from realizar_lambda.errors import FormatError

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
        value: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as fault:
        at = offset + len(text[: fault.pos].encode("utf-8"))
        raise FormatError(path, at, f"not JSON: {fault.msg}") from None
    except UnicodeEncodeError:
        raise FormatError(path, offset, "the JSON has an unpaired surrogate in a string") from None
    except RecursionError:
        raise FormatError(path, offset, "the JSON is nested too deeply") from None
    except ValueError as fault:
        raise FormatError(path, offset, f"not JSON: {fault}") from None
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


_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
