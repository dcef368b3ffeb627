"""Writing GGUF v3 files, deterministic and one tensor at a time; it does not know what keys and tensors mean."""

from __future__ import annotations

import os
import struct
from math import prod

from realizar_lambda.blocks import BLOCKS, BLOCKS_BY_ID
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.formats.atomic_file import flat_bytes, replacing
from realizar_lambda.formats.gguf import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMENSIONS,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    VALUE_TYPES,
    Metadata,
)
from realizar_lambda.formats.gguf_strings import MAX_STRING_BYTES, StringArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Buffer

    Content = Buffer | Callable[[], Buffer]

_CODES = {name: (id, code) for id, (name, code) in VALUE_TYPES.items()}
_ARRAY_ID = _CODES["array"][0]
_TYPE_OF_FORMAT = {code: name for name, (_, code) in _CODES.items() if code}


def write(
    path: str | os.PathLike[str],
    metadata: Mapping[str, object],
    tensors: Mapping[str, tuple[Sequence[int], str, Content]],
    *,
    types: Mapping[str, str] | None = None,
) -> None:
    """Write `metadata` and `tensors`, both in their order, in place of `path`.

    A tensor is name -> (shape, block name, bytes), the shape row-major, slowest dimension first. Instead of the
    bytes there may be a function that gives them: it is called when they are due and they are let go afterwards,
    so a file may be larger than memory. Tensors are aligned to `general.alignment`, else to 32.

    A value's type is the one that `types` gives for its key ("u32", "[string]"), else the one it had in the file
    that `metadata` was read from, else by the value: str string, bool bool, float f32, int the first of u32, i32,
    u64, i64 that holds it, lists likewise with i32 before u32 (as token types are stored). Raises RequestError
    where the format cannot hold a value, UnsupportedError for such a block type, OSError.
    """
    known = {**(metadata.types if isinstance(metadata, Metadata) else {}), **(types or {})}
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise RequestError(400, f"general.alignment must be a power of two, got {alignment!r}", field="metadata")
    head = bytearray(struct.pack("<4sIQQ", MAGIC, 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        head += _string(key, key.encode(), max_bytes=MAX_KEY_BYTES)
        head += _value(key, known.get(key) or _type_of(key, value), value)
    offset = 0
    sizes = {}
    for name, (shape, block_name, _) in tensors.items():
        head += _info(name, shape, block_name, offset)
        sizes[name] = BLOCKS[block_name].row_bytes(prod(shape))
        offset += -(-sizes[name] // alignment) * alignment
    with replacing(path) as file:
        file.write(head)
        file.write(bytes(-len(head) % alignment))
        for name, (_, _, content) in tensors.items():
            view = flat_bytes(content() if callable(content) else content)
            if len(view) != sizes[name]:
                raise RequestError(400, f"tensor {name!r} has {len(view)} bytes, its shape takes {sizes[name]}")
            file.write(view)
            file.write(bytes(-len(view) % alignment))


def _info(name: str, shape: Sequence[int], block_name: str, offset: int) -> bytes:
    block = BLOCKS.get(block_name)
    if block is None or block.id < 0:
        raise UnsupportedError(f"tensor {name!r} of type {block_name} in GGUF", (b.name for b in BLOCKS_BY_ID.values()))
    if len(shape) > MAX_DIMENSIONS or not all(1 <= size < 1 << 48 for size in shape):
        raise RequestError(400, f"tensor {name!r} has shape {list(shape)}, GGUF takes up to 4 sizes from 1")
    if block.n_elements > 1 and (not shape or shape[-1] % block.n_elements):
        raise RequestError(400, f"tensor {name!r} has shape {list(shape)}, {block_name} rows are whole blocks")
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    encoded = _string(f"tensor name {name!r:.80}", name.encode(), max_bytes=MAX_NAME_BYTES)
    return encoded + dims + struct.pack("<IQ", block.id, offset)


def _string(what: str, text: bytes, *, max_bytes: int = MAX_STRING_BYTES, min_bytes: int = 1) -> bytes:
    if not min_bytes <= len(text) <= max_bytes:
        raise RequestError(400, f"{what:.120} is {len(text)} bytes long, it must be {min_bytes} to {max_bytes}")
    return struct.pack("<Q", len(text)) + text


def can_hold(key: str, value: object) -> bool:
    """Whether GGUF has a type for `value`: text, a number, a bool, or a list of one of these."""
    try:
        _value(key, _type_of(key, value), value)
    except RequestError:
        return False
    return True


def _type_of(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return _integer_type(key, value, value, ("u32", "i32", "u64", "i64"))
    if isinstance(value, float):
        return "f32"
    if isinstance(value, str):
        return "string"
    if isinstance(value, StringArray):
        return "[string]"
    if isinstance(value, memoryview) and value.format in _TYPE_OF_FORMAT:
        return f"[{_TYPE_OF_FORMAT[value.format]}]"
    if isinstance(value, list | tuple) and value:
        if all(isinstance(item, str | bytes) for item in value):
            return "[string]"
        if all(isinstance(item, bool) for item in value):
            return "[bool]"
        if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
            return f"[{_integer_type(key, min(value), max(value), ('i32', 'u32', 'i64', 'u64'))}]"
        if all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
            return "[f32]"
    raise RequestError(400, f"GGUF cannot hold {key!r}: {value!r:.60}; give its type", field=key)


def _integer_type(key: str, least: int, most: int, names: tuple[str, ...]) -> str:
    for name in names:
        bits = int(name[1:])
        low, high = (0, 1 << bits) if name[0] == "u" else (-1 << bits - 1, 1 << bits - 1)
        if low <= least and most < high:
            return name
    raise RequestError(400, f"{key!r} does not fit 64 bits: {least} to {most}", field=key)


def _value(key: str, type_name: str, value: object) -> bytes:
    """The type and the value of `key` as bytes."""
    item_type = type_name[1:-1] if type_name.startswith("[") else type_name
    if item_type not in _CODES or item_type == "array":
        raise RequestError(400, f"the type of {key!r} is {type_name!r}, it must be one of {', '.join(_CODES)}", key)
    type_id, code = _CODES[item_type]
    if item_type == type_name:
        return struct.pack("<I", type_id) + _items(key, item_type, code, (value,))
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__getitem__"):
        raise RequestError(400, f"{key!r} must be a list of {item_type}, got {value!r:.60}", field=key)
    items: Sequence[object] = value  # type: ignore[assignment]
    head = struct.pack("<IIQ", _ARRAY_ID, type_id, len(items))
    if isinstance(items, StringArray) and item_type == "string":
        return head + bytes(items.data[items.start : items.end])
    if isinstance(items, memoryview) and items.format == code:
        return head + items.tobytes()
    return head + _items(key, item_type, code, items)


def _items(key: str, item_type: str, code: str, items: Sequence[object]) -> bytes:
    if item_type == "string":
        if not all(isinstance(item, str | bytes) for item in items):
            raise RequestError(400, f"{key!r} must be text, got {items[0]!r:.60}", field=key)
        encoded = (item.encode() if isinstance(item, str) else bytes(item) for item in items)  # type: ignore[call-overload]
        return b"".join(_string(key, text, min_bytes=0) for text in encoded)
    if item_type == "bool" and not all(isinstance(item, bool) for item in items):
        raise RequestError(400, f"{key!r} must be true or false, got {items[0]!r:.60}", field=key)
    try:
        return struct.pack(f"<{len(items)}{code}", *items)
    except (struct.error, OverflowError) as fault:
        raise RequestError(400, f"{key!r} must be {item_type}: {fault}", field=key) from None
