"""Blocks of 32 columns with one scale, and for some one min: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL.

    Q4_0     d f16 | 16 bytes of nibbles                     (code - 8) * d
    Q4_1     d f16 | m f16 | 16 bytes of nibbles             code * d + m
    Q5_0     d f16 | 32 fifth bits | 16 bytes of nibbles     (code - 16) * d
    Q5_1     d f16 | m f16 | 32 fifth bits | 16 bytes        code * d + m
    Q8_0     d f16 | 32 x i8                                 code * d
    IQ4_NL   d f16 | 16 bytes of nibbles                     table[nibble] * d

A byte's lower nibble is column i (0 to 15), its upper one column i + 16; fifth bit i belongs to column i.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types import BlockKernels
from realizar_lambda.kernels.block_types.codes import MOVED_BY, nibbles, nibbles_32, pieces, put_codes, put_values
from realizar_lambda.kernels.block_types.row_dots import (
    add_by_32,
    add_by_fours,
    four_rows_of,
    moved,
    product_of,
    row_of,
)
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import I8S, F32x8, I8x32
from realizar_lambda.kernels.lanes import bits_to_bytes, high, lookup, low
from realizar_lambda.kernels.memory import at, cast, f32p, read_f16, read_halves, read_i32, u8p
from realizar_lambda.kernels.slices import SCALES, SLICE_BYTES, SUMS32
from realizar_lambda.kernels.vectors import first_lane, load, splat, total

I64, f32 = types.int64, types.float32
PAIR = types.UniTuple(F32x8, 2)

IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
iq4_value = lookup(IQ4_VALUES)


@kernel(I8x32, u8p)
def _q4_0(block):
    return nibbles_32(block, 2)


@kernel(I8x32, u8p)
def _q4_1(block):
    return nibbles_32(block, 4)


@kernel(I8x32, u8p)
def _q5_0(block):
    return nibbles_32(block, 6) | (bits_to_bytes(read_i32(block, 2)) & splat(I8x32, 16))


@kernel(I8x32, u8p)
def _q5_1(block):
    return nibbles_32(block, 8) | (bits_to_bytes(read_i32(block, 4)) & splat(I8x32, 16))


@kernel(I8x32, u8p)
def _q8_0(block):
    return load(I8x32, block, 2)


@kernel(I8x32, u8p)
def _iq4_nl(block):
    return iq4_value(nibbles_32(block, 2))


def rests_of(dot_rest, n):
    """A kernel that adds to n tokens' sums the products of the columns after the last eight blocks."""
    others = rests_of(dot_rest, n - 1) if n > 1 else None

    @kernel(types.UniTuple(F32x8, n), u8p, u8p, I64, types.UniTuple(F32x8, n))
    def rests(blocks, x, n_blocks, sums):
        first = (sums[0] + first_lane(F32x8, dot_rest(blocks, x, n_blocks)),)
        if n > 1:
            return first + others(blocks, at(x, SLICE_BYTES), n_blocks, sums[1:])
        return first

    return rests


def _kernels(n_bytes, bits, chunk, *, offset=0.0, has_min=False, nibbles_at=None) -> BlockKernels:
    is_signed = bits == 8
    subtracted = f32(MOVED_BY if is_signed else offset)

    @kernel(types.void, u8p, I64, u8p, f32p, f32p)
    def unpack(row, n_columns, codes, scales, mins):
        for b in range(n_columns // 32):
            block = at(row, b * n_bytes)
            d = read_f16(block, 0)
            put_codes(codes, b * 32, chunk(block), is_signed)
            scales[b] = d
            mins[b] = -read_f16(block, 2) if has_min else d * subtracted

    @kernel(I8x32, u8p, I64)
    def chunk_of_eight(blocks, c):
        return chunk(at(blocks, c * n_bytes))

    @kernel(PAIR, u8p)
    def scales_of_eight(blocks):
        d = read_halves(blocks, 0, n_bytes)
        return d, splat(F32x8, 0.0) - read_halves(blocks, 2, n_bytes) if has_min else d * splat(F32x8, subtracted)

    @kernel(I8S, u8p, I64, I64, I64)
    def nibbles_of_eight(blocks, odd, upper, part):
        return nibbles(pieces(at(blocks, (odd + 4 * part) * n_bytes + nibbles_at), 2 * n_bytes), upper)

    if nibbles_at is not None:
        add = add_by_fours(nibbles_of_eight, scales_of_eight)
    else:
        any_min = has_min or subtracted != 0.0
        add = add_by_32(chunk_of_eight, scales_of_eight, is_signed=is_signed, has_min=any_min)
    product, dot_chunk = product_of(is_signed), moved(chunk_of_eight, is_signed)

    @kernel(f32, u8p, u8p, I64)
    def dot_rest(blocks, x, n_blocks):
        scales, sums32, result = cast(f32p, at(x, SCALES)), cast(f32p, at(x, SUMS32)), f32(0.0)
        for b in range(n_blocks):
            block = at(blocks, b * n_bytes)
            d = read_f16(block, 0)
            least = -read_f16(block, 2) if has_min else d * subtracted
            sum_ = total(product(dot_chunk(block, 0), load(I8x32, x, b * 32)))
            result += d * scales[b] * f32(sum_) - least * sums32[b]
        return result

    def dot(n):
        dot_eights, rests = row_of(8 * n_bytes, add, n), rests_of(dot_rest, n)

        @kernel(types.UniTuple(F32x8, n), u8p, u8p, I64, I64)
        def dot_n(row, x, next_slice, n_columns):
            n_eights, n_rest = n_columns // 256, n_columns % 256 // 32
            sums = dot_eights(row, x, next_slice, n_columns)
            return rests(at(row, n_eights * 8 * n_bytes), at(x, n_eights * next_slice), n_rest, sums)

        return dot_n

    dot_eights_of_four = four_rows_of(8 * n_bytes, add)

    @kernel(types.UniTuple(F32x8, 4), u8p, I64, u8p, I64)
    def dot_four(row, next_row, x, n_columns):
        n_eights, n_rest = n_columns // 256, n_columns % 256 // 32
        a, b, c, d = dot_eights_of_four(row, next_row, x, n_columns)
        if n_rest == 0:
            return a, b, c, d
        blocks, x = at(row, n_eights * 8 * n_bytes), at(x, n_eights * SLICE_BYTES)
        a = a + first_lane(F32x8, dot_rest(blocks, x, n_rest))
        b = b + first_lane(F32x8, dot_rest(at(blocks, next_row), x, n_rest))
        c = c + first_lane(F32x8, dot_rest(at(blocks, 2 * next_row), x, n_rest))
        return a, b, c, d + first_lane(F32x8, dot_rest(at(blocks, 3 * next_row), x, n_rest))

    @kernel(types.void, f32p, u8p, I64)
    def decode(out, row, n_columns):
        for b in range(n_columns // 32):
            block = at(row, b * n_bytes)
            values, d = chunk(block), read_f16(block, 0)
            least_ = -read_f16(block, 2) if has_min else f32(0.0)
            put_values(out, b * 32, low(values), d, f32(offset), least_, is_signed)
            put_values(out, b * 32 + 16, high(values), d, f32(offset), least_, is_signed)

    return BlockKernels(32, bits, unpack, dot, dot_four, decode)


Q4_0 = _kernels(18, 4, _q4_0, offset=8.0, nibbles_at=2)
Q4_1 = _kernels(20, 4, _q4_1, has_min=True, nibbles_at=4)
Q5_0 = _kernels(22, 5, _q5_0, offset=16.0)
Q5_1 = _kernels(24, 5, _q5_1, has_min=True)
Q8_0 = _kernels(34, 8, _q8_0)
IQ4_NL = _kernels(18, 8, _iq4_nl)
