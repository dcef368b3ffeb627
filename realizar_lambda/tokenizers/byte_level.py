"""GPT-2's way of writing bytes as printable characters; it does not know tokens.

The bytes of `!` to `~`, `¡` to `¬` and `®` to `ÿ` are those characters, the other 68 are U+0100 and up in order.
"""

from __future__ import annotations

from array import array

N_CHARACTERS = 324
PRINTABLE = frozenset((*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)))


def _bytes_of_characters() -> array[int]:
    table = array("h", [byte if byte in PRINTABLE else -1 for byte in range(N_CHARACTERS)])
    others = [byte for byte in range(256) if byte not in PRINTABLE]
    table[256:] = array("h", others)
    return table


BYTE_OF_CHARACTER = _bytes_of_characters()
"""(324,) i16: the byte that a code point stands for, -1 where it stands for none."""


_WRITTEN = {byte: point for point, byte in enumerate(BYTE_OF_CHARACTER) if byte >= 0}


def raw_bytes(text: str) -> bytes:
    """The bytes that `text` writes. Raises ValueError where a character stands for none."""
    return bytes(BYTE_OF_CHARACTER[ord(character)] if ord(character) < N_CHARACTERS else -1 for character in text)


def written_bytes(data: bytes) -> str:
    """How `data` is written."""
    return data.decode("latin-1").translate(_WRITTEN)
