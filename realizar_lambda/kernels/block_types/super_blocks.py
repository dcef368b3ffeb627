"""Kernels of types whose block is 256 columns in 8 chunks of 32, made from how a type reads its bits.

A type gives `chunk(block, c)`, the codes of columns 32 c to 32 c + 31, and `scales(block)`: for groups of 32 the
pair (8 scales, 8 mins), for groups of 16 the four vectors (scales 0 to 7, 8 to 15, mins 0 to 7, 8 to 15), such
that value = scale * (code - offset) - min.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types import BlockKernels
from realizar_lambda.kernels.block_types.codes import MOVED_BY, put_codes, put_values
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import F32x8, I8x32, dot32, dot32_signed
from realizar_lambda.kernels.lanes import high, low, spread_half, spread_one, spread_pair
from realizar_lambda.kernels.memory import at, f32p, i8p, u8p
from realizar_lambda.kernels.vectors import convert, fma, load, splat, store, total

I64, f32 = types.int64, types.float32
PAIR, QUADRUPLE = types.UniTuple(F32x8, 2), types.UniTuple(F32x8, 4)


def groups_of_32(n_bytes, bits, chunk, scales_of, *, has_min) -> BlockKernels:
    """Q4_K, Q5_K, IQ4_XS."""
    is_signed = bits == 8
    dot_codes = dot32_signed if is_signed else dot32

    @kernel(types.void, u8p, I64, u8p, f32p, f32p)
    def unpack(row, n_columns, codes, scales, mins):
        for b in range(n_columns // 256):
            block = at(row, b * n_bytes)
            s, m = scales_of(block)
            for c in range(8):
                put_codes(codes, b * 256 + c * 32, chunk(block, c), is_signed)
            store(scales, b * 8, s)
            store(mins, b * 8, m if has_min else s * splat(F32x8, MOVED_BY))

    @kernel(F32x8, u8p, i8p, I64, I64)
    def products(block, codes, i, c):
        return convert(F32x8, dot_codes(chunk(block, c), load(I8x32, codes, i + c * 32)))

    @kernel(f32, u8p, i8p, f32p, f32p, f32p, I64)
    def dot(row, codes, scales, sums16, sums32, n_columns):
        acc0, acc1, low_ = splat(F32x8, 0.0), splat(F32x8, 0.0), splat(F32x8, 0.0)
        for b in range(n_columns // 256):
            block, i = at(row, b * n_bytes), b * 256
            s, m = scales_of(block)
            if has_min:
                low_ = fma(m, load(F32x8, sums32, b * 8), low_)
            s = s * load(F32x8, scales, b * 8)
            acc0 = fma(products(block, codes, i, 0), spread_one(s, 0), acc0)
            acc1 = fma(products(block, codes, i, 1), spread_one(s, 1), acc1)
            acc0 = fma(products(block, codes, i, 2), spread_one(s, 2), acc0)
            acc1 = fma(products(block, codes, i, 3), spread_one(s, 3), acc1)
            acc0 = fma(products(block, codes, i, 4), spread_one(s, 4), acc0)
            acc1 = fma(products(block, codes, i, 5), spread_one(s, 5), acc1)
            acc0 = fma(products(block, codes, i, 6), spread_one(s, 6), acc0)
            acc1 = fma(products(block, codes, i, 7), spread_one(s, 7), acc1)
        return total(acc0 + acc1 - low_)

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

    return BlockKernels(32, bits, unpack, dot, decode)


def groups_of_16(n_bytes, bits, chunk, scales_of, *, offset) -> BlockKernels:
    """Q2_K, Q3_K, Q6_K. A type with an offset has no mins of its own: scale * offset takes their place."""
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

    @kernel(F32x8, u8p, i8p, I64, I64)
    def products(block, codes, i, c):
        return convert(F32x8, dot32(chunk(block, c), load(I8x32, codes, i + c * 32)))

    @kernel(f32, u8p, i8p, f32p, f32p, f32p, I64)
    def dot(row, codes, scales, sums16, sums32, n_columns):
        acc0, acc1, low0, low1 = splat(F32x8, 0.0), splat(F32x8, 0.0), splat(F32x8, 0.0), splat(F32x8, 0.0)
        for b in range(n_columns // 256):
            block, i = at(row, b * n_bytes), b * 256
            s0, s1, m0, m1 = scales_of(block)
            low0 = fma(least(s0, m0), load(F32x8, sums16, b * 16), low0)
            low1 = fma(least(s1, m1), load(F32x8, sums16, b * 16 + 8), low1)
            d = load(F32x8, scales, b * 8)
            s0, s1 = s0 * spread_half(d, 0), s1 * spread_half(d, 1)
            acc0 = fma(products(block, codes, i, 0), spread_pair(s0, 0), acc0)
            acc1 = fma(products(block, codes, i, 1), spread_pair(s0, 1), acc1)
            acc0 = fma(products(block, codes, i, 2), spread_pair(s0, 2), acc0)
            acc1 = fma(products(block, codes, i, 3), spread_pair(s0, 3), acc1)
            acc0 = fma(products(block, codes, i, 4), spread_pair(s1, 0), acc0)
            acc1 = fma(products(block, codes, i, 5), spread_pair(s1, 1), acc1)
            acc0 = fma(products(block, codes, i, 6), spread_pair(s1, 2), acc0)
            acc1 = fma(products(block, codes, i, 7), spread_pair(s1, 3), acc1)
        return total((acc0 + acc1) - (low0 + low1))

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

    return BlockKernels(16, bits, unpack, dot, decode)
