"""String arrays of GGUF metadata, left where they lie in the file; it does not know which key they belong to.

A GGUF string is a u64 length and that many bytes, so the end of an array is found only by walking over every
string. A 128k-token vocabulary with its merges has 408,000 of them: 50 ms in Python, 2 ms in native code. The walk
over a long array is therefore native; the one in Python is its definition, and finds what exactly is wrong.
"""

from __future__ import annotations

import struct
from array import array
from itertools import repeat

from realizar_lambda import native
from realizar_lambda.errors import FormatError, RealizarError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_STRING_BYTES = 16 << 20
NATIVE_FROM = 2_000
"""Strings from which on loading a native library pays: these take 0.25 ms in Python."""

_U64 = struct.Struct("<Q")


def native_walk(data: memoryview, start: int, n_strings: int, offsets: array[int] | None = None) -> int:
    """Where the strings end, or -1 where one is too long or runs past the end, or no kernel library can be had.

    `offsets`, of at least `n_strings` u64, gets the position of each string's length.
    """
    try:
        library = native.library()
    except RealizarError:
        return -1
    target = 0 if offsets is None else native.address(offsets)
    end: int = library.skip_strings(native.address(data), len(data), start, n_strings, MAX_STRING_BYTES, target)
    return end


def skip_strings(path: str, data: memoryview, start: int, n_strings: int) -> int:
    """Where the `n_strings` strings that begin at byte `start` of the file end.

    Raises FormatError where a string is longer than `MAX_STRING_BYTES` or than what is left of the file.
    """
    if n_strings >= NATIVE_FROM and (end := native_walk(data, start, n_strings)) >= 0:
        return end
    position, unpack = start, _U64.unpack_from
    try:
        for _ in repeat(None, n_strings):
            (length,) = unpack(data, position)
            if length > MAX_STRING_BYTES:
                raise _too_long(path, data, position)
            position += 8 + length
    except struct.error:
        raise FormatError(path, min(position, len(data)), "the file ends inside an array of strings") from None
    if position > len(data):
        raise FormatError(path, len(data), "the file ends inside an array of strings")
    return position


def read_string(path: str, data: memoryview, position: int) -> tuple[str, int]:
    """The string at `position` and where it ends. Raises FormatError, also for text that is not UTF-8."""
    if position + 8 > len(data):
        raise FormatError(path, position, f"a string's length needs 8 bytes, {len(data) - position} are left")
    (length,) = _U64.unpack_from(data, position)
    if length > MAX_STRING_BYTES or position + 8 + length > len(data):
        raise _too_long(path, data, position)
    end = position + 8 + length
    try:
        return str(data[position + 8 : end], "utf-8"), end
    except UnicodeDecodeError as fault:
        raise FormatError(path, position + 8 + fault.start, "a string is not UTF-8") from None


def _too_long(path: str, data: memoryview, position: int) -> FormatError:
    (length,) = _U64.unpack_from(data, position)
    limit = min(MAX_STRING_BYTES, len(data) - position - 8)
    return FormatError(path, position, f"a string is {length} bytes long, at most {limit} are possible here")


class StringArray:
    """`n_strings` strings of `data`, a lazy sequence of `str`; the first one's length lies at `start`.

    Made only over an array that `skip_strings` has walked. Bytes that are not UTF-8 show as U+FFFD in `[i]` and
    iteration; `bytes_at(i)` has them as they are. The first access by index walks the array once to build
    `offsets`, where each string's length lies.
    """

    __slots__ = ("_offsets", "data", "end", "n_strings", "start")

    def __init__(self, data: memoryview, start: int, n_strings: int, end: int) -> None:
        self.data = data
        self.start = start
        self.n_strings = n_strings
        self.end = end
        self._offsets: array[int] | None = None

    @property
    def offsets(self) -> array[int]:
        """Position of each string's length in `data`, u64."""
        if self._offsets is None:
            offsets = array("Q", bytes(8 * self.n_strings))
            if self.n_strings < NATIVE_FROM or native_walk(self.data, self.start, self.n_strings, offsets) < 0:
                offsets = array("Q", self._walk())
            self._offsets = offsets
        return self._offsets

    def _walk(self) -> Iterator[int]:
        data, position, unpack = self.data, self.start, _U64.unpack_from
        for _ in repeat(None, self.n_strings):
            yield position
            position += 8 + unpack(data, position)[0]

    def bytes_at(self, index: int) -> bytes:
        """The bytes of string `index`, which may be negative. Raises IndexError."""
        position = self.offsets[index]
        return bytes(self.data[position + 8 : position + 8 + _U64.unpack_from(self.data, position)[0]])

    def __len__(self) -> int:
        return self.n_strings

    def __getitem__(self, index: int) -> str:
        return self.bytes_at(index).decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        data, unpack = self.data, _U64.unpack_from
        for position in self._walk():
            yield str(data[position + 8 : position + 8 + unpack(data, position)[0]], "utf-8", "replace")

    def __repr__(self) -> str:
        return f"StringArray({self.n_strings} strings at byte {self.start})"
