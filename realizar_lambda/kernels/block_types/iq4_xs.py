"""IQ4_XS: 256 columns of nibbles into a table of 16 values, a six-bit scale for every 32.

byte  0..1     d, f16
byte  2..3     the upper two bits of the 8 scales, scale c at bit 2c
byte  4..7     their lower nibbles: scale c is nibble c % 2 of byte c // 2
byte  8..135   nibbles: of chunk c's 16 bytes the lower are columns 0..15, the upper 16..31

(scale - 32) * d * table[nibble]
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types.codes import nibbles_32
from realizar_lambda.kernels.block_types.k_types import bytes_to_f32
from realizar_lambda.kernels.block_types.small_blocks import iq4_value
from realizar_lambda.kernels.block_types.super_blocks import PAIR, groups_of_32
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import F32x8, I8x32
from realizar_lambda.kernels.memory import read_f16, read_u16, read_u32, u8p
from realizar_lambda.kernels.vectors import splat

I64 = types.int64


@kernel(I8x32, u8p, I64)
def _chunk(block, c):
    return iq4_value(nibbles_32(block, 8 + c * 16))


@kernel(PAIR, u8p)
def _scales(block):
    upper, lower = types.uint64(read_u16(block, 2)), types.uint64(read_u32(block, 4))
    scales = types.uint64(0)
    for c in range(8):
        nibble = (lower >> types.uint64(4 * c)) & types.uint64(15)
        pair = (upper >> types.uint64(2 * c)) & types.uint64(3)
        scales |= (nibble | pair << types.uint64(4)) << types.uint64(8 * c)
    d = splat(F32x8, read_f16(block, 0))
    return (bytes_to_f32(scales) - splat(F32x8, 32.0)) * d, splat(F32x8, 0.0)


IQ4_XS = groups_of_32(136, 8, _chunk, _scales, has_min=False)
