"""Lists of strings laid out as GGUF files have them, for the native tables to read; it does not know tokens.

Each string is its length, u64 little-endian, and its bytes.
"""

from __future__ import annotations

import struct

from realizar_lambda.errors import FormatError
from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from realizar_lambda.formats.gguf_strings import StringArray


_LENGTHS = [struct.pack("<Q", length) for length in range(256)]


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
        parts: list[bytes] = []
        for text in strings:
            parts += (_LENGTHS[len(text)] if len(text) < 256 else struct.pack("<Q", len(text)), text)
        return cls(memoryview(b"".join(parts)), len(parts) // 2)

    def at(self, index: int) -> bytes:
        """String `index`, found by walking to it: for error messages."""
        position = 0
        for _ in range(index):
            position += 8 + struct.unpack_from("<Q", self.data, position)[0]
        (length,) = struct.unpack_from("<Q", self.data, position)
        return bytes(self.data[position + 8 : position + 8 + length])


MAX_GAPS = 1 << 16


def strings_by_id(path: str, ids: Mapping[str, object]) -> PackedStrings:
    """The tokens of a mapping from token to id, by id; ids that no token has are empty strings.

    Raises FormatError for an id that is no integer, negative, used twice, or far beyond the number of tokens.
    """
    limit = len(ids) + MAX_GAPS
    texts: dict[int, bytes] = {}
    for text, token in ids.items():
        if type(token) is not int or not 0 <= token < limit:
            raise FormatError(path, None, f"token {text!r:.60} has id {token!r:.60}, ids are 0 to {limit - 1}")
        if token in texts:
            raise FormatError(path, None, f"tokens {texts[token].decode()!r:.60} and {text!r:.60} both have id {token}")
        texts[token] = text.encode()
    return PackedStrings.from_bytes(texts.get(token, b"") for token in range(max(texts, default=-1) + 1))
