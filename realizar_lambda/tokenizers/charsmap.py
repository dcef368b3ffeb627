"""SentencePiece's compiled normalisation: a map of byte sequences to text, in a double array. It knows no tokens.

    u32 size, then `size` bytes of u32 nodes, then the replacements, each ended by a zero byte

A node's bits: 0-7 the byte that leads to it (bit 31 is clear), 8 whether a replacement ends here, 9 whether the
offset is stretched by 256, 10-30 the offset. The child for byte b of the node at i lies at i ^ offset(i) ^ b; the
replacement's place is the value of the node at i ^ offset(i).
See Kanda, "Space- and time-efficient string dictionaries" (2018), and darts-clone.
"""

from __future__ import annotations

import re
import struct

from realizar_lambda.errors import FormatError

MAX_KEY_BYTES = 256
"""Longest key that is looked for: the map of a hostile file may be a circle."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Charsmap:
    """`replace(data, i)` finds the longest key that begins at data[i]."""

    __slots__ = ("_nodes", "_texts", "path")

    def __init__(self, path: str, blob: bytes) -> None:
        """Raises FormatError for sizes that do not fit."""
        self.path = path
        size = struct.unpack_from("<I", blob)[0] if len(blob) >= 4 else 0
        if size % 4 or not 4 <= size <= len(blob) - 5:
            raise FormatError(path, None, f"a charsmap of {len(blob)} bytes declares {size} bytes of nodes")
        self._nodes = struct.unpack_from(f"<{size // 4}I", blob, 4)
        self._texts = blob[4 + size :]
        if self._texts[-1] != 0:
            raise FormatError(path, None, "the last replacement of the charsmap has no end")

    def find(self, data: bytes, start: int) -> tuple[int, bytes]:
        """Length of the longest key at data[start:] and its replacement; length 0 where there is none.

        Raises FormatError where the map leads out of itself.
        """
        nodes = self._nodes
        n_nodes = len(nodes)
        length, value = 0, 0
        try:
            place = _offset(nodes[0])
            for i in range(start, min(len(data), start + MAX_KEY_BYTES)):
                byte = data[i]
                place ^= byte
                node = nodes[place]
                if byte == 0 or node & 0x800000FF != byte:
                    break
                place ^= _offset(node)
                if node >> 8 & 1:
                    length, value = i - start + 1, nodes[place] & 0x7FFFFFFF
        except IndexError:
            raise FormatError(self.path, None, f"the charsmap leads beyond its {n_nodes} nodes") from None
        if length == 0:
            return 0, b""
        if value >= len(self._texts):
            raise FormatError(self.path, None, f"a replacement lies at {value} of {len(self._texts)} bytes")
        return length, self._texts[value : self._texts.index(0, value)]

    def is_plain(self, byte: int) -> bool:
        """Whether no key is this ASCII byte, or begins with it and another of ASCII."""
        nodes = self._nodes
        place = _offset(nodes[0]) ^ byte
        if place >= len(nodes) or nodes[place] & 0x800000FF != byte:
            return True
        if nodes[place] >> 8 & 1:
            return False
        place ^= _offset(nodes[place])
        return not any(
            (place ^ after) < len(nodes) and nodes[place ^ after] & 0x800000FF == after for after in range(1, 0x80)
        )


class Normalizer:
    """SentencePiece's normalisation of a text: `normalizer(text)`.

    Replacements out of `charsmap` (or None), and as the model wants it: no spaces at the ends and none doubled,
    spaces as U+2581. `kept` are strings that pass as they are, the longest first.
    """

    __slots__ = ("_kept", "_plain_run", "charsmap", "marks_spaces", "removes_extra_spaces")

    def __init__(
        self,
        charsmap: Charsmap | None,
        *,
        removes_extra_spaces: bool,
        marks_spaces: bool = True,
        kept: Iterable[str] = (),
    ) -> None:
        self.charsmap = charsmap
        self.marks_spaces = marks_spaces
        self.removes_extra_spaces = removes_extra_spaces
        self._kept: dict[int, list[bytes]] = {}
        for text in sorted((text.encode() for text in kept if text), key=len, reverse=True):
            self._kept.setdefault(text[0], []).append(text)
        self._plain_run: re.Pattern[bytes] | None = None

    def __call__(self, text: str) -> str:
        if self.charsmap is not None:
            text = self._mapped(text, self.charsmap)
        if self.removes_extra_spaces:
            text = " ".join(filter(None, text.split(" ")))
        return text.replace(" ", "▁") if self.marks_spaces else text

    def _mapped(self, text: str, charsmap: Charsmap) -> str:
        data = text.encode()
        skip = self._plain_run = self._plain_run or self._find_plain_run(charsmap)
        parts: list[bytes] = []
        i, n = 0, len(data)
        while i < n:
            run = skip.match(data, i)
            if run:
                parts.append(run[0])
                i = run.end()
                continue
            kept = next((kept for kept in self._kept.get(data[i], ()) if data.startswith(kept, i)), b"")
            length, found = (len(kept), kept) if kept else charsmap.find(data, i)
            if length == 0:
                byte = data[i]
                length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                found = data[i : i + length]
            parts.append(found)
            i += length
        return b"".join(parts).decode("utf-8", "replace")

    def _find_plain_run(self, charsmap: Charsmap) -> re.Pattern[bytes]:
        """Matches characters that nothing replaces: those of ASCII that no key begins with, or only one in which
        something beyond ASCII comes next."""
        plain = b"".join(
            b"\\x%02x" % byte for byte in range(0x20, 0x7F) if byte not in self._kept and charsmap.is_plain(byte)
        )
        return re.compile(b"[%b]+(?![\x80-\xff])" % plain if plain else b"(?!)")


def _offset(node: int) -> int:
    return node >> 10 << ((node & 0x200) >> 6)
