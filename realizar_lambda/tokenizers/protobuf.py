"""Fields of protocol-buffer messages, read within bounds; it does not know what messages mean.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct

from realizar_lambda.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}


def fields(path: str, data: memoryview, offset: int = 0) -> Iterator[tuple[int, int, int, memoryview | int]]:
    """`(number, wire type, position in the file, value)` of each field of the message `data`, at byte `offset`.

    A varint's value is an int, any other's its bytes. Raises FormatError for a message that runs past its end.
    """
    position, n = 0, len(data)
    while position < n:
        start = position
        key, position = _varint(path, data, position, offset)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(path, data, position, offset)
            yield number, kind, offset + start, value
            continue
        if kind == BYTES:
            size, position = _varint(path, data, position, offset)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise FormatError(path, offset + start, f"a field of wire type {kind}; they are 0, 1, 2 and 5")
        if number == 0 or size > n - position:
            raise FormatError(path, offset + start, f"field {number} has {size} bytes, {n - position} are left")
        yield number, kind, offset + position, data[position : position + size]
        position += size


def _varint(path: str, data: memoryview, position: int, offset: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if position + i >= len(data):
            raise FormatError(path, offset + position, "the file ends inside a number")
        byte = data[position + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position + i + 1
    raise FormatError(path, offset + position, "a number is longer than 10 bytes")


def float_of(value: memoryview | int) -> float:
    """The f32 in a field of type FIXED32."""
    number: float = struct.unpack("<f", value)[0] if isinstance(value, memoryview) and len(value) == 4 else 0.0
    return number


def signed(value: int) -> int:
    """An int32 field's value: negative numbers are stored as 64 bits."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value
