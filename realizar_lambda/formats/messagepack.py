"""MessagePack maps with string keys, the metadata of `.apr` v1, decoded and encoded; it knows no file format.

Specification: https://github.com/msgpack/msgpack/blob/master/spec.md. Extension types are refused, binary
data is kept as bytes, map keys must be strings. The encoder writes the shortest form of each value, floats as
f64.
"""

from __future__ import annotations

import struct

from realizar_lambda.errors import FormatError, RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH = 32

_NUMBERS = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_LENGTH_BYTES = {
    0xC4: ("binary", 1),
    0xC5: ("binary", 2),
    0xC6: ("binary", 4),
    0xD9: ("string", 1),
    0xDA: ("string", 2),
    0xDB: ("string", 4),
    0xDC: ("array", 2),
    0xDD: ("array", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}


def decode_map(path: str, offset: int, data: memoryview) -> dict[str, object]:
    """The one map that `data` holds, which lies at byte `offset` of the file `path`.

    Every length is checked against the bytes that are left before anything is made of it, so memory stays in
    proportion to `data`. Raises FormatError with the position in the file.
    """
    decoder = _Decoder(path, offset, data)
    value = decoder.value(0)
    if not isinstance(value, dict):
        raise FormatError(path, offset, "the MessagePack metadata is not a map")
    if decoder.position != len(data):
        raise decoder.fault(f"{len(data) - decoder.position} bytes follow the MessagePack metadata")
    return value


class _Decoder:
    __slots__ = ("data", "offset", "path", "position")

    def __init__(self, path: str, offset: int, data: memoryview) -> None:
        self.path = path
        self.offset = offset
        self.data = data
        self.position = 0

    def fault(self, message: str) -> FormatError:
        return FormatError(self.path, self.offset + self.position, message)

    def take(self, n_bytes: int) -> memoryview:
        if n_bytes > len(self.data) - self.position:
            left = len(self.data) - self.position
            raise self.fault(f"the MessagePack metadata ends early: {n_bytes} bytes wanted, {left} left")
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]

    def value(self, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise self.fault(f"the MessagePack metadata is nested more than {MAX_DEPTH} deep")
        tag = self.take(1)[0]
        if tag < 0x80:
            return tag
        if tag >= 0xE0:
            return tag - 0x100
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _NUMBERS:
            number = _NUMBERS[tag]
            return number.unpack(self.take(number.size))[0]
        if tag < 0xC0:
            kind, length = (
                ("map", tag & 15) if tag < 0x90 else ("array", tag & 15) if tag < 0xA0 else ("string", tag & 31)
            )
        elif tag in _LENGTH_BYTES:
            kind, width = _LENGTH_BYTES[tag]
            length = int.from_bytes(self.take(width), "big")
        else:
            self.position -= 1
            raise self.fault(f"the MessagePack tag {tag:#04x} is not one of nil, bool, number, text, bytes, array, map")
        if kind == "string":
            return self.text(length)
        if kind == "binary":
            return bytes(self.take(length))
        left = len(self.data) - self.position
        if length * (2 if kind == "map" else 1) > left:
            raise self.fault(f"the MessagePack metadata declares {length} items, {left} bytes are left")
        if kind == "array":
            return [self.value(depth + 1) for _ in range(length)]
        return self.pairs(length, depth)

    def text(self, length: int) -> str:
        try:
            return str(self.take(length), "utf-8")
        except UnicodeDecodeError:
            self.position -= length
            raise self.fault("a string in the MessagePack metadata is not UTF-8") from None

    def pairs(self, length: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(length):
            key = self.value(depth + 1)
            if not isinstance(key, str):
                raise self.fault(f"a key of the MessagePack metadata is {key!r:.80}, keys must be strings")
            if key in found:
                raise self.fault(f"the key {key!r:.80} occurs twice in the MessagePack metadata")
            found[key] = self.value(depth + 1)
        return found


def encode_map(value: Mapping[str, object]) -> bytes:
    """`value` as MessagePack, keys in their order. Raises RequestError for what MessagePack cannot hold."""
    out = bytearray()
    _encode(value, out, 0)
    return bytes(out)


def _encode(value: object, out: bytearray, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RequestError(400, f"the metadata is nested more than {MAX_DEPTH} deep", field="metadata")
    if value is None or isinstance(value, bool):
        out.append({None: 0xC0, False: 0xC2, True: 0xC3}[value])
    elif isinstance(value, int):
        _encode_int(value, out)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        text = value.encode()
        _encode_length(len(text), out, 0xA0, 32, (0xD9, 0xDA, 0xDB))
        out += text
    elif isinstance(value, list | tuple):
        _encode_length(len(value), out, 0x90, 16, (None, 0xDC, 0xDD))
        for item in value:
            _encode(item, out, depth + 1)
    elif isinstance(value, dict):
        _encode_length(len(value), out, 0x80, 16, (None, 0xDE, 0xDF))
        for key, item in value.items():
            if not isinstance(key, str):
                raise RequestError(400, f"metadata keys must be strings, got {key!r:.80}", field="metadata")
            _encode(key, out, depth + 1)
            _encode(item, out, depth + 1)
    else:
        raise RequestError(400, f"metadata cannot hold a {type(value).__name__}: {value!r:.80}", field="metadata")


def _encode_int(value: int, out: bytearray) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    tags = (0xCC, 0xCD, 0xCE, 0xCF) if value >= 0 else (0xD0, 0xD1, 0xD2, 0xD3)
    for tag in tags:
        try:
            out += bytes((tag,)) + _NUMBERS[tag].pack(value)
        except struct.error:
            continue
        return
    raise RequestError(400, f"metadata integers fit 64 bits, got {value}", field="metadata")


def _encode_length(
    length: int, out: bytearray, fix_tag: int, fix_limit: int, tags: tuple[int | None, int, int]
) -> None:
    if length < fix_limit:
        out.append(fix_tag | length)
    elif length < 1 << 8 and tags[0] is not None:
        out += struct.pack(">BB", tags[0], length)
    elif length < 1 << 16:
        out += struct.pack(">BH", tags[1], length)
    else:
        out += struct.pack(">BI", tags[2], length)
