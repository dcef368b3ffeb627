"""One file per family of block types: the bit layout, and how its codes and scales are read.

Every quantised type is, within a group of 16 or 32 columns, value = scale * (code - offset) - min. A type says how
32 codes at a time (a chunk) and the scales and mins of a block come out of its bits; from that `small_blocks.py`
(blocks of 32 columns) and `super_blocks.py` (256) make the three kernels that the rest uses:

    unpack(row, n_columns, codes, scales, mins)   codes, one scale and one min per group for the tile, which
                                                  computes scale * code - min; done once for all tokens
    dot(n)(row, x, next_slice, n_columns)         the row times n tokens quantised to int8, in slices, as eight sums
                                                  for each: the path of few tokens, which must keep up with memory
    dot_four(row, next_row, x, n_columns)         four rows, `next_row` bytes apart, times one token: eight sums each
    decode(out, row, n_columns)                   the values in f32, bit for bit as ggml's reference has them

Codes of 8 bits are signed; where the instruction set wants them unsigned they are unpacked 128 larger.
"""

from __future__ import annotations

from collections import namedtuple


class BlockKernels(namedtuple("BlockKernels", "group bits unpack dot dot_four decode")):
    """The kernels of a quantised type; `group` columns share a scale, codes have `bits` bits (8: signed)."""

    __slots__ = ()


class DenseKernels(namedtuple("DenseKernels", "unpack dot dot_four sparse_dot4 decode")):
    """The kernels of a plain type: `unpack` and `decode` are the same, `dot` multiplies a row with f32, `dot_four` four
    rows some bytes apart, each to the bits that `dot` gives,
    `sparse_dot4` four rows that follow one another, only the vectors of columns that a list names."""

    __slots__ = ()
