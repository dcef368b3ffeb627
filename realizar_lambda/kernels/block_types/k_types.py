"""The K-types: 256 columns, scales of their own for every 16 or 32, over one or two f16 for the whole block.

    Q2_K   scales u8[16] | 64 bytes of 2-bit codes | d f16 | dmin f16                           84 bytes
           group g: (scales[g] & 15) * d * code - (scales[g] >> 4) * dmin
    Q3_K   third bits [32] | 64 bytes of 2-bit codes | 16 six-bit scales in 12 bytes | d f16    110 bytes
           (scale - 32) * d * (code - 4)
    Q4_K   d f16 | dmin f16 | 8 six-bit scales and mins in 12 bytes | 128 bytes of nibbles      144 bytes
           scale * d * code - min * dmin
    Q5_K   d f16 | dmin f16 | as Q4_K, 12 bytes | fifth bits [32] | 128 bytes of nibbles        176 bytes
    Q6_K   128 bytes of nibbles | 64 bytes of upper 2 bits | scales i8[16] | d f16              210 bytes
           scale * d * (code - 32)

Two-bit codes: columns 128 h + 32 j + l (h 0..1, j 0..3, l 0..31) are bits 2j of byte 32 h + l; the third bit is
bit 4 h + j of byte l. Q4_K, Q5_K: columns 64 k + l are the lower and 64 k + 32 + l the upper nibble of byte
32 k + l; the fifth bit of chunk c is bit c of byte l. Q6_K: in half h, columns l and 64 + l are the nibbles of
byte 64 h + l, columns 32 + l and 96 + l those of byte 64 h + 32 + l; the upper two bits of columns 32 j + l are
bits 2j of byte 32 h + l.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types.codes import high_nibbles, low_nibbles, nibbles, pieces
from realizar_lambda.kernels.block_types.super_blocks import PAIR, QUADRUPLE, groups_of_16, groups_of_32
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import CHUNKS, I8S, F32x8, I8x32, I32x8
from realizar_lambda.kernels.lanes import even_quarters, high, join, low, odd_quarters, spread
from realizar_lambda.kernels.memory import at, read_f16, read_i32, read_u32, u8p
from realizar_lambda.kernels.vectors import (
    bitcast,
    convert,
    load,
    shift_halves_left,
    shift_halves_right,
    shift_left,
    shift_right,
    splat,
    vector,
    zero_extend,
)

I64 = types.int64
I8x8, I8x16, I16x16 = vector("i8", 8), vector("i8", 16), vector("i16", 16)
I16S = vector("i16", 16 * CHUNKS)
I32x4, F16x8 = vector("i32", 4), vector("f16", 8)


@kernel(I8x32, I8x32, I64)
def two_bits(v, j):
    """Bits 2j and 2j + 1 of each byte."""
    words = bitcast(I16x16, v)
    if j == 1:
        words = shift_right(words, 2)
    elif j == 2:
        words = shift_right(words, 4)
    elif j == 3:
        words = shift_right(words, 6)
    return bitcast(I8x32, words) & splat(I8x32, 3)


@kernel(I8x32, I8x32, I64)
def one_bit(v, n):
    """Bit n of each byte."""
    words = bitcast(I16x16, v)
    if n == 1:
        words = shift_right(words, 1)
    elif n == 2:
        words = shift_right(words, 2)
    elif n == 3:
        words = shift_right(words, 3)
    elif n == 4:
        words = shift_right(words, 4)
    elif n == 5:
        words = shift_right(words, 5)
    elif n == 6:
        words = shift_right(words, 6)
    elif n == 7:
        words = shift_right(words, 7)
    return bitcast(I8x32, words) & splat(I8x32, 1)


@kernel(I8x32, I8x32)
def times_4(v):
    """Each byte, 0 to 63, times four."""
    return bitcast(I8x32, shift_left(bitcast(I16x16, v), 2))


@kernel(I8x32, I8x32)
def times_16(v):
    """Each byte, 0 to 15, times sixteen."""
    return bitcast(I8x32, shift_left(bitcast(I16x16, v), 4))


@kernel(F32x8, types.uint64)
def bytes_to_f32(word):
    """Eight bytes, unsigned, as f32."""
    return convert(F32x8, zero_extend(I32x8, bitcast(I8x8, word)))


# Q2_K


@kernel(I8x32, u8p, I64)
def _q2_chunk(block, c):
    return two_bits(load(I8x32, block, 16 + c // 4 * 32), c % 4)


@kernel(QUADRUPLE, u8p)
def _q2_scales(block):
    packed = load(I8x16, block, 0)
    d, dmin = splat(F32x8, read_f16(block, 80)), splat(F32x8, read_f16(block, 82))
    first, second = zero_extend(I32x8, low(packed)), zero_extend(I32x8, high(packed))
    nibble = splat(I32x8, 15)
    return (
        convert(F32x8, first & nibble) * d,
        convert(F32x8, second & nibble) * d,
        convert(F32x8, shift_right(first, 4)) * dmin,
        convert(F32x8, shift_right(second, 4)) * dmin,
    )


# Q3_K


@kernel(I8x32, u8p, I64)
def _q3_chunk(block, c):
    return two_bits(load(I8x32, block, 32 + c // 4 * 32), c % 4) | times_4(one_bit(load(I8x32, block, 0), c))


@kernel(QUADRUPLE, u8p)
def _q3_scales(block):
    # scale i: nibble i of the first 8 bytes (lower nibbles are 0 to 7), two upper bits in byte 8 + i % 4
    nibbles = types.uint64(read_u32(block, 96)) | types.uint64(read_u32(block, 100)) << types.uint64(32)
    upper = types.uint64(read_u32(block, 104))
    mask4, mask2 = types.uint64(0x0F0F0F0F0F0F0F0F), types.uint64(0x03030303)
    four, two, thirty_two = types.uint64(4), types.uint64(2), types.uint64(32)
    pairs0 = (upper & mask2) | ((upper >> two) & mask2) << thirty_two
    pairs1 = ((upper >> four) & mask2) | ((upper >> types.uint64(6)) & mask2) << thirty_two
    d, middle = splat(F32x8, read_f16(block, 108)), splat(F32x8, 32.0)
    first = (bytes_to_f32((nibbles & mask4) | pairs0 << four) - middle) * d
    second = (bytes_to_f32(((nibbles >> four) & mask4) | pairs1 << four) - middle) * d
    return first, second, splat(F32x8, 0.0), splat(F32x8, 0.0)


# Q4_K and Q5_K


@kernel(PAIR, u8p)
def _six_bit_scales(block):
    """Eight scales and eight mins out of bytes 4 to 15, times d and dmin.

    Bytes 0..3: scales 0..3 (6 bits); 4..7: mins 0..3; 8..11: the lower nibbles of scales 4..7 and, as upper
    nibbles, of mins 4..7, whose two upper bits are the upper bits of bytes 0..3 and 4..7.
    """
    s, m, rest = (
        types.uint64(read_u32(block, 4)),
        types.uint64(read_u32(block, 8)),
        types.uint64(read_u32(block, 12)),
    )
    mask6, mask4, mask2 = types.uint64(0x3F3F3F3F), types.uint64(0x0F0F0F0F), types.uint64(0x03030303)
    four, six, thirty_two = types.uint64(4), types.uint64(6), types.uint64(32)
    scales = (s & mask6) | ((rest & mask4) | ((s >> six) & mask2) << four) << thirty_two
    mins = (m & mask6) | (((rest >> four) & mask4) | ((m >> six) & mask2) << four) << thirty_two
    both = convert(F32x8, bitcast(F16x8, splat(I32x4, read_i32(block, 0))))  # d and dmin in turn
    return bytes_to_f32(scales) * spread(F32x8, both, 0, 2, 2), bytes_to_f32(mins) * spread(F32x8, both, 1, 2, 2)


@kernel(I8x32, u8p, I64)
def _q4_chunk(block, c):
    v = load(I8x32, block, 16 + c // 2 * 32)
    return low_nibbles(v) if c % 2 == 0 else high_nibbles(v)


@kernel(I8S, u8p, I64, I64, I64)
def _q4_nibbles(block, odd, upper, part):
    if CHUNKS == 2:
        first, second = load(I8S, block, 16), load(I8S, block, 80)
        return nibbles(odd_quarters(first, second) if upper == 1 else even_quarters(first, second), odd)
    return nibbles(pieces(at(block, 16 + part * 64 + upper * 16), 32), odd)


@kernel(I8x32, u8p, I64)
def _q5_chunk(block, c):
    v = load(I8x32, block, 48 + c // 2 * 32)
    nibbles = low_nibbles(v) if c % 2 == 0 else high_nibbles(v)
    return nibbles | times_16(one_bit(load(I8x32, block, 16), c))


# Q6_K


@kernel(I8x32, u8p, I64)
def _q6_chunk(block, c):
    h, j = c // 4, c % 4
    v = load(I8x32, block, h * 64 + j % 2 * 32)
    nibbles = low_nibbles(v) if j < 2 else high_nibbles(v)
    return nibbles | times_16(two_bits(load(I8x32, block, 128 + h * 32), j))


if CHUNKS == 2:

    @kernel(I8S, u8p, I64)
    def _q6_two_chunks(block, k):
        pairs = load(I8x32, block, 128 + k // 2 * 32)
        pairs = bitcast(I16S, join(pairs, pairs))
        pairs = shift_halves_left(pairs, 4, 2) if k % 2 == 0 else shift_halves_right(pairs, 0, 2)
        return nibbles(load(I8S, block, k // 2 * 64), k % 2) | bitcast(I8S, pairs) & splat(I8S, 48)


@kernel(QUADRUPLE, u8p)
def _q6_scales(block):
    packed, d = load(I8x16, block, 192), splat(F32x8, read_f16(block, 208))
    zero = splat(F32x8, 0.0)
    first, second = convert(I32x8, low(packed)), convert(I32x8, high(packed))
    return convert(F32x8, first) * d, convert(F32x8, second) * d, zero, zero


Q2_K = groups_of_16(84, 4, _q2_chunk, _q2_scales, offset=0.0)
Q3_K = groups_of_16(110, 4, _q3_chunk, _q3_scales, offset=4.0)
Q4_K = groups_of_32(144, 4, _q4_chunk, _six_bit_scales, has_min=True, nibbles=_q4_nibbles)
Q5_K = groups_of_32(176, 5, _q5_chunk, _six_bit_scales, has_min=True)
Q6_K = groups_of_16(210, 6, _q6_chunk, _q6_scales, offset=32.0, two_chunks=_q6_two_chunks if CHUNKS == 2 else None)
