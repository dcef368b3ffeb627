"""The table of block types: how many elements a stored block holds and in how many bytes. No codecs here.

A block type is how a tensor's elements are stored. Plain types (F32, I8, ...) are blocks of one element.
Ids are GGML's (https://github.com/ggml-org/ggml, `ggml.h`); types that GGML does not have carry id -1.
"""

from __future__ import annotations

from collections import namedtuple


class BlockType(namedtuple("BlockType", "name id n_elements n_bytes is_quantized")):
    """One way of storing elements: `n_elements` elements in `n_bytes` bytes; `id` is GGML's number or -1."""

    __slots__ = ()

    def row_bytes(self, n_columns: int) -> int:
        """Bytes of a row of `n_columns` elements; `n_columns` must be a multiple of `n_elements`."""
        return int(n_columns // self.n_elements * self.n_bytes)


_ROWS = (
    #          name      id  elements bytes quantized
    BlockType("F32", 0, 1, 4, False),
    BlockType("F16", 1, 1, 2, False),
    BlockType("Q4_0", 2, 32, 18, True),
    BlockType("Q4_1", 3, 32, 20, True),
    BlockType("Q5_0", 6, 32, 22, True),
    BlockType("Q5_1", 7, 32, 24, True),
    BlockType("Q8_0", 8, 32, 34, True),
    BlockType("Q8_1", 9, 32, 36, True),
    BlockType("Q2_K", 10, 256, 84, True),
    BlockType("Q3_K", 11, 256, 110, True),
    BlockType("Q4_K", 12, 256, 144, True),
    BlockType("Q5_K", 13, 256, 176, True),
    BlockType("Q6_K", 14, 256, 210, True),
    BlockType("Q8_K", 15, 256, 292, True),
    BlockType("IQ4_NL", 20, 32, 18, True),
    BlockType("IQ4_XS", 23, 256, 136, True),
    BlockType("I8", 24, 1, 1, False),
    BlockType("I16", 25, 1, 2, False),
    BlockType("I32", 26, 1, 4, False),
    BlockType("I64", 27, 1, 8, False),
    BlockType("F64", 28, 1, 8, False),
    BlockType("BF16", 30, 1, 2, False),
    BlockType("U8", -1, 1, 1, False),
    BlockType("U16", -1, 1, 2, False),
    BlockType("U32", -1, 1, 4, False),
    BlockType("U64", -1, 1, 8, False),
    BlockType("BOOL", -1, 1, 1, False),
    BlockType("F8_E4M3", -1, 1, 1, False),
    BlockType("F8_E5M2", -1, 1, 1, False),
    BlockType("AprQ4", -1, 32, 18, True),  # .apr v2 only: f16 scale, 32 nibbles, even element low
)

BLOCKS = {row.name: row for row in _ROWS}
BLOCKS_BY_ID = {row.id: row for row in _ROWS if row.id >= 0}
