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
from realizar_lambda.kernels.block_types.codes import MOVED_BY, nibbles_32, put_codes, put_values
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import F32x8, I8x32, dot32, dot32_signed
from realizar_lambda.kernels.lanes import bits_to_bytes, high, lookup, low
from realizar_lambda.kernels.memory import at, f32p, i8p, read_f16, read_i32, u8p
from realizar_lambda.kernels.vectors import convert, fma, load, splat, total

I64, f32 = types.int64, types.float32

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


def _kernels(n_bytes, bits, chunk, *, offset=0.0, has_min=False) -> BlockKernels:
    is_signed = bits == 8
    subtracted = f32(MOVED_BY if is_signed else offset)
    dot_codes = dot32_signed if is_signed else dot32
    is_shifted = not is_signed and (has_min or offset != 0.0)

    @kernel(f32, u8p, f32)
    def least(block, d):
        """What scale * code is too large by."""
        if has_min:
            return -read_f16(block, 2)
        return d * f32(offset)

    @kernel(types.void, u8p, I64, u8p, f32p, f32p)
    def unpack(row, n_columns, codes, scales, mins):
        for b in range(n_columns // 32):
            block = at(row, b * n_bytes)
            d = read_f16(block, 0)
            put_codes(codes, b * 32, chunk(block), is_signed)
            scales[b] = d
            mins[b] = -read_f16(block, 2) if has_min else d * subtracted

    @kernel(F32x8, u8p, i8p, f32p, I64, F32x8)
    def step(block, codes, scales, b, acc):
        products = convert(F32x8, dot_codes(chunk(block), load(I8x32, codes, b * 32)))
        return fma(products, splat(F32x8, read_f16(block, 0) * scales[b]), acc)

    @kernel(f32, u8p, i8p, f32p, f32p, f32p, I64)
    def dot(row, codes, scales, sums16, sums32, n_columns):
        acc0, acc1, acc2, acc3 = splat(F32x8, 0.0), splat(F32x8, 0.0), splat(F32x8, 0.0), splat(F32x8, 0.0)
        low0, low1 = f32(0.0), f32(0.0)
        n_blocks, b = n_columns // 32, 0
        while b + 4 <= n_blocks:
            block0 = at(row, b * n_bytes)
            block1, block2, block3 = at(block0, n_bytes), at(block0, 2 * n_bytes), at(block0, 3 * n_bytes)
            acc0 = step(block0, codes, scales, b, acc0)
            acc1 = step(block1, codes, scales, b + 1, acc1)
            acc2 = step(block2, codes, scales, b + 2, acc2)
            acc3 = step(block3, codes, scales, b + 3, acc3)
            if is_shifted:
                low0 += least(block0, read_f16(block0, 0)) * sums32[b]
                low1 += least(block1, read_f16(block1, 0)) * sums32[b + 1]
                low0 += least(block2, read_f16(block2, 0)) * sums32[b + 2]
                low1 += least(block3, read_f16(block3, 0)) * sums32[b + 3]
            b += 4
        while b < n_blocks:
            block0 = at(row, b * n_bytes)
            acc0 = step(block0, codes, scales, b, acc0)
            if is_shifted:
                low0 += least(block0, read_f16(block0, 0)) * sums32[b]
            b += 1
        return total((acc0 + acc1) + (acc2 + acc3)) - (low0 + low1)

    @kernel(types.void, f32p, u8p, I64)
    def decode(out, row, n_columns):
        for b in range(n_columns // 32):
            block = at(row, b * n_bytes)
            values, d = chunk(block), read_f16(block, 0)
            least_ = -read_f16(block, 2) if has_min else f32(0.0)
            put_values(out, b * 32, low(values), d, f32(offset), least_, is_signed)
            put_values(out, b * 32 + 16, high(values), d, f32(offset), least_, is_signed)

    return BlockKernels(32, bits, unpack, dot, decode)


Q4_0 = _kernels(18, 4, _q4_0, offset=8.0)
Q4_1 = _kernels(20, 4, _q4_1, has_min=True)
Q5_0 = _kernels(22, 5, _q5_0, offset=16.0)
Q5_1 = _kernels(24, 5, _q5_1, has_min=True)
Q8_0 = _kernels(34, 8, _q8_0)
IQ4_NL = _kernels(18, 8, _iq4_nl)
