"""One file per family of block types: the bit layout, and how a row of blocks is unpacked, dotted and decoded.

Every quantised type is, within a group of 16 or 32 columns, value = scale * code - min. A type gives

    unpack(row, n_columns, codes, scales, mins)   the row as that: u8 codes, one scale and min per group, which is
                                                  what the tile multiplies; done once for all tokens
    dot(row, codes, scales, sums16, sums32, n_columns)
                                                  the row times one token quantised to int8: the one-token path,
                                                  which must keep up with memory
    decode(out, row, n_columns)                   the row's values in f32, bit for bit as ggml's reference has them

A type of 8-bit codes unpacks them signed with no min; where the instruction set wants them unsigned,
`signed_codes.py` moves them.
"""

from __future__ import annotations

from collections import namedtuple


class BlockKernels(namedtuple("BlockKernels", "group bits unpack dot decode")):
    """The kernels of a quantised type; `group` columns share a scale, codes have `bits` bits (8: signed)."""

    __slots__ = ()


class DenseKernels(namedtuple("DenseKernels", "unpack dot decode")):
    """The kernels of a plain type: `unpack` and `decode` are the same, `dot` multiplies with f32."""

    __slots__ = ()
