"""Kernels of types whose block is 256 columns in 8 chunks of 32, made from how a type reads its bits.

A type gives `chunk(block, c)`, the codes of columns 32 c to 32 c + 31, and `scales(block)`: for groups of 32 the
pair (8 scales, 8 mins), for groups of 16 the four vectors (scales 0 to 7, 8 to 15, mins 0 to 7, 8 to 15), such
that value = scale * (code - offset) - min.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types import BlockKernels
from realizar_lambda.kernels.block_types.codes import IS_MOVED, MOVED_BY, put_codes, put_values
from realizar_lambda.kernels.block_types.row_dots import add_by_16, add_by_32, add_by_fours, four_rows_of, row_of
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import F32x8
from realizar_lambda.kernels.lanes import high, low
from realizar_lambda.kernels.memory import at, f32p, u8p
from realizar_lambda.kernels.vectors import splat, store

I64, f32 = types.int64, types.float32
PAIR, QUADRUPLE = types.UniTuple(F32x8, 2), types.UniTuple(F32x8, 4)


def groups_of_32(n_bytes, bits, chunk, scales_of, *, has_min, nibbles=None) -> BlockKernels:
    """Q4_K, Q5_K, IQ4_XS. `nibbles`, where a type has it, reads its codes in fours: see `row_dots.add_by_fours`."""
    is_signed = bits == 8

    @kernel(types.void, u8p, I64, u8p, f32p, f32p)
    def unpack(row, n_columns, codes, scales, mins):
        for b in range(n_columns // 256):
            block = at(row, b * n_bytes)
            s, m = scales_of(block)
            for c in range(8):
                put_codes(codes, b * 256 + c * 32, chunk(block, c), is_signed)
            store(scales, b * 8, s)
            store(mins, b * 8, m if has_min else s * splat(F32x8, MOVED_BY))

    @kernel(PAIR, u8p)
    def shifted_scales(block):
        s, m = scales_of(block)
        return s, m if has_min else s * splat(F32x8, MOVED_BY)

    if nibbles is not None:
        add = add_by_fours(nibbles, shifted_scales)
    else:
        add = add_by_32(chunk, shifted_scales, is_signed=is_signed, has_min=has_min or (is_signed and IS_MOVED))

    def dot(n):
        return row_of(n_bytes, add, n)

    dot_four = four_rows_of(n_bytes, add)

    @kernel(types.void, f32p, u8p, I64)
    def decode(out, row, n_columns):
        for b in range(n_columns // 256):
            block = at(row, b * n_bytes)
            s, m = scales_of(block)
            parts = at(out, b * 1024)
            store(parts, 0, s)  # until the first chunk is written, last, its place holds the scales and mins
            store(parts, 8, m)
            for c in range(7, -1, -1):
                scale, least, values = parts[c], parts[8 + c], chunk(block, c)
                put_values(parts, c * 32, low(values), scale, f32(0.0), least, is_signed)
                put_values(parts, c * 32 + 16, high(values), scale, f32(0.0), least, is_signed)

    return BlockKernels(32, bits, unpack, dot, dot_four, decode)


def groups_of_16(n_bytes, bits, chunk, scales_of, *, offset, two_chunks=None) -> BlockKernels:
    """Q2_K, Q3_K, Q6_K. A type with an offset has no mins of its own: scale * offset takes their place.

    `two_chunks`, where a step is as wide and a type has it, reads two chunks that follow one another.
    """
    has_min = offset == 0.0

    @kernel(F32x8, F32x8, F32x8)
    def least(s, m):
        return m if has_min else s * splat(F32x8, offset)

    @kernel(types.void, u8p, I64, u8p, f32p, f32p)
    def unpack(row, n_columns, codes, scales, mins):
        for b in range(n_columns // 256):
            block = at(row, b * n_bytes)
            s0, s1, m0, m1 = scales_of(block)
            for c in range(8):
                put_codes(codes, b * 256 + c * 32, chunk(block, c), False)
            store(scales, b * 16, s0)
            store(scales, b * 16 + 8, s1)
            store(mins, b * 16, least(s0, m0))
            store(mins, b * 16 + 8, least(s1, m1))

    @kernel(QUADRUPLE, u8p)
    def shifted_scales(block):
        s0, s1, m0, m1 = scales_of(block)
        return s0, s1, least(s0, m0), least(s1, m1)

    add = add_by_16(chunk, shifted_scales, two_chunks)

    def dot(n):
        return row_of(n_bytes, add, n)

    dot_four = four_rows_of(n_bytes, add)

    @kernel(types.void, f32p, u8p, I64)
    def decode(out, row, n_columns):
        for b in range(n_columns // 256):
            block = at(row, b * n_bytes)
            s0, s1, m0, m1 = scales_of(block)
            parts = at(out, b * 1024)
            store(parts, 0, s0)  # until the first chunk is written, last, its place holds the scales and mins
            store(parts, 8, s1)
            store(parts, 16, m0)
            store(parts, 24, m1)
            for c in range(7, -1, -1):
                scale0, scale1, values = parts[2 * c], parts[2 * c + 1], chunk(block, c)
                least0, least1 = parts[16 + 2 * c], parts[17 + 2 * c]
                put_values(parts, c * 32, low(values), scale0, f32(offset), least0, False)
                put_values(parts, c * 32 + 16, high(values), scale1, f32(offset), least1, False)

    return BlockKernels(16, bits, unpack, dot, dot_four, decode)
