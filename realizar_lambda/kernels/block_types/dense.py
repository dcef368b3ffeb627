"""F32, F16 and BF16: plain numbers, multiplied with f32 activations.

BF16 is the upper half of an f32.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types import DenseKernels
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.memory import at, bits_to_f32, cast, f32p, i32p, prefetch, read_f16, u8p, u16p, write_f16
from realizar_lambda.kernels.vectors import (
    LANES,
    bitcast,
    convert,
    fma,
    load,
    shift_left,
    splat,
    store,
    total,
    vector,
    zero_extend,
)

I64 = types.int64
PAGE = 4096
AHEAD = 10240
"""Bytes ahead of a row's reading where one line is asked for, once a page: that page's address is then at hand when
reading comes to it. Asking for every line is slower than asking for none, since the CPU's own prefetching sees to it
within a page."""
F32V, F16V, I16V, I32V = (
    vector("f32", LANES),
    vector("f16", LANES),
    vector("i16", LANES),
    vector("i32", LANES),
)


@kernel(F32V, u8p, I64)
def _f32_lanes(row, i):
    return load(F32V, cast(f32p, row), i)


@kernel(types.float32, u8p, I64)
def _f32_one(row, i):
    return cast(f32p, row)[i]


@kernel(F32V, u8p, I64)
def _f16_lanes(row, i):
    return convert(F32V, load(F16V, cast(u16p, row), i))


@kernel(types.float32, u8p, I64)
def _f16_one(row, i):
    return read_f16(row, i * 2)


@kernel(F32V, u8p, I64)
def _bf16_lanes(row, i):
    return bitcast(F32V, shift_left(zero_extend(I32V, load(I16V, cast(u16p, row), i)), 16))


@kernel(types.float32, u8p, I64)
def _bf16_one(row, i):
    return bits_to_f32(types.uint32(cast(u16p, row)[i]) << types.uint32(16))


def _kernels(lanes, one, n_bytes) -> DenseKernels:
    @kernel(types.void, f32p, u8p, I64)
    def decode(out, row, n_columns):
        i = 0
        while i + LANES <= n_columns:
            store(out, i, lanes(row, i))
            i += LANES
        while i < n_columns:
            out[i] = one(row, i)
            i += 1

    @kernel(types.float32, u8p, f32p, I64)
    def dot(row, x, n_columns):
        acc0, acc1, acc2, acc3 = splat(F32V, 0.0), splat(F32V, 0.0), splat(F32V, 0.0), splat(F32V, 0.0)
        i = 0
        while i + 4 * LANES <= n_columns:
            prefetch(row, i * n_bytes + AHEAD)
            stop = min(n_columns, i + PAGE // n_bytes)
            while i + 4 * LANES <= stop:
                acc0 = fma(lanes(row, i), load(F32V, x, i), acc0)
                acc1 = fma(lanes(row, i + LANES), load(F32V, x, i + LANES), acc1)
                acc2 = fma(lanes(row, i + 2 * LANES), load(F32V, x, i + 2 * LANES), acc2)
                acc3 = fma(lanes(row, i + 3 * LANES), load(F32V, x, i + 3 * LANES), acc3)
                i += 4 * LANES
        while i + LANES <= n_columns:
            acc0 = fma(lanes(row, i), load(F32V, x, i), acc0)
            i += LANES
        result = total((acc0 + acc1) + (acc2 + acc3))
        while i < n_columns:
            result += one(row, i) * x[i]
            i += 1
        return result

    @kernel(types.void, f32p, u8p, f32p, i32p, I64, I64)
    def sparse_dot4(out, row0, x, places, n_places, n_columns):
        row1, row2 = at(row0, n_columns * n_bytes), at(row0, 2 * n_columns * n_bytes)
        row3 = at(row0, 3 * n_columns * n_bytes)
        a0, a1, a2, a3 = splat(F32V, 0.0), splat(F32V, 0.0), splat(F32V, 0.0), splat(F32V, 0.0)
        for place in range(n_places):
            i = I64(places[place])
            values = load(F32V, x, i)
            a0, a1 = fma(lanes(row0, i), values, a0), fma(lanes(row1, i), values, a1)
            a2, a3 = fma(lanes(row2, i), values, a2), fma(lanes(row3, i), values, a3)
        s0, s1, s2, s3 = total(a0), total(a1), total(a2), total(a3)
        for i in range(n_columns // LANES * LANES, n_columns):
            s0, s1 = s0 + one(row0, i) * x[i], s1 + one(row1, i) * x[i]
            s2, s3 = s2 + one(row2, i) * x[i], s3 + one(row3, i) * x[i]
        out[0], out[1], out[2], out[3] = s0, s1, s2, s3

    return DenseKernels(decode, dot, sparse_dot4, decode)


F32 = _kernels(_f32_lanes, _f32_one, 4)
F16 = _kernels(_f16_lanes, _f16_one, 2)
BF16 = _kernels(_bf16_lanes, _bf16_one, 2)


@kernel(types.void, u8p, f32p, I64)
def _encode_f32(out, x, n):
    target = cast(f32p, out)
    for i in range(n):
        target[i] = x[i]


@kernel(types.void, u8p, f32p, I64)
def _encode_f16(out, x, n):
    i = 0
    while i + LANES <= n:
        store(cast(u16p, out), i, convert(F16V, load(F32V, x, i)))
        i += LANES
    while i < n:
        write_f16(out, i * 2, x[i])
        i += 1


ENCODE = {"f32": _encode_f32, "f16": _encode_f16}
"""Write n f32 values as the cache's element, f16 rounded to nearest even."""
