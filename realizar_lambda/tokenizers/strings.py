"""Lists of strings laid out as GGUF files have them, for the native tables to read; it does not know tokens.

Each string is its length, u64 little-endian, and its bytes.
"""

from __future__ import annotations

import struct
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from realizar_lambda.formats.gguf_strings import StringArray


class PackedStrings(namedtuple("PackedStrings", "data n_strings")):
    """`data` is a memoryview (u8) of exactly `n_strings` strings, whose lengths have been checked."""

    __slots__ = ()

    @classmethod
    def from_array(cls, strings: StringArray) -> PackedStrings:
        """The strings of a GGUF file, where they lie."""
        return cls(strings.data[strings.start : strings.end], len(strings))

    @classmethod
    def from_bytes(cls, strings: Iterable[bytes]) -> PackedStrings:
        """A copy of `strings`."""
        pack = struct.Struct("<Q").pack
        parts: list[bytes] = []
        for text in strings:
            parts += (pack(len(text)), text)
        return cls(memoryview(b"".join(parts)), len(parts) // 2)

    def at(self, index: int) -> bytes:
        """String `index`, found by walking to it: for error messages."""
        position = 0
        for _ in range(index):
            position += 8 + struct.unpack_from("<Q", self.data, position)[0]
        (length,) = struct.unpack_from("<Q", self.data, position)
        return bytes(self.data[position + 8 : position + 8 + length])
