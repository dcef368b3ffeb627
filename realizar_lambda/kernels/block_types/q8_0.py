"""Q8_0: 32 signed bytes and a scale.

byte  0..1    d, f16
byte  2..33   q, 32 x i8        value = q * d
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types import BlockKernels
from realizar_lambda.kernels.block_types.signed_codes import put_signed
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import F32x8, I8x32, dot32_signed
from realizar_lambda.kernels.memory import at, cast, f32p, i8p, read_f16, u8p
from realizar_lambda.kernels.vectors import convert, fma, load, splat, total

BYTES = 34
I64 = types.int64


@kernel(types.void, u8p, I64, u8p, f32p, f32p)
def unpack(row, n_columns, codes, scales, mins):
    for b in range(n_columns // 32):
        block = at(row, b * BYTES)
        put_signed(codes, scales, mins, b * 32, b, load(I8x32, block, 2), read_f16(block, 0))


@kernel(F32x8, u8p, i8p, f32p, I64, F32x8)
def _step(block, codes, scales, b, acc):
    dot = dot32_signed(load(I8x32, block, 2), load(I8x32, codes, b * 32))
    return fma(convert(F32x8, dot), splat(F32x8, read_f16(block, 0) * scales[b]), acc)


@kernel(types.float32, u8p, i8p, f32p, f32p, f32p, I64)
def dot(row, codes, scales, sums16, sums32, n_columns):
    acc0, acc1, acc2, acc3 = splat(F32x8, 0.0), splat(F32x8, 0.0), splat(F32x8, 0.0), splat(F32x8, 0.0)
    n_blocks, b = n_columns // 32, 0
    while b + 4 <= n_blocks:
        block = at(row, b * BYTES)
        acc0 = _step(block, codes, scales, b, acc0)
        acc1 = _step(at(block, BYTES), codes, scales, b + 1, acc1)
        acc2 = _step(at(block, 2 * BYTES), codes, scales, b + 2, acc2)
        acc3 = _step(at(block, 3 * BYTES), codes, scales, b + 3, acc3)
        b += 4
    while b < n_blocks:
        acc0 = _step(at(row, b * BYTES), codes, scales, b, acc0)
        b += 1
    return total((acc0 + acc1) + (acc2 + acc3))


@kernel(types.void, f32p, u8p, I64)
def decode(out, row, n_columns):
    for b in range(n_columns // 32):
        block = at(row, b * BYTES)
        d, q = read_f16(block, 0), cast(i8p, at(block, 2))
        for i in range(32):
            out[b * 32 + i] = types.float32(q[i]) * d


Q8_0 = BlockKernels(32, 8, unpack, dot, decode)
