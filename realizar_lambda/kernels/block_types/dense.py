"""F32, F16 and BF16: plain numbers, multiplied with f32 activations.

BF16 is the upper half of an f32. Where a token is multiplied, rows that do not fit a turn are read `TURN_BYTES` in
turn at four places, and bytes are asked for `AHEAD` of their use, as those of quantised rows are (`row_dots.py`).
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.block_types import DenseKernels
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.memory import (
    at,
    bits_to_f32,
    cast,
    f32p,
    i32p,
    on_stack,
    prefetch_lines,
    read_f16,
    smaller,
    u8p,
    u16p,
    write_f16,
)
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
AHEAD, SHORT_BYTES, TURN_BYTES = 1024, 1152, 512
FOUR_SUMS = 16 * LANES
"""The f32 in which `dot_four` keeps four vectors of sums for each of its rows."""
F32V, F16V, I16V, I32V = (
    vector("f32", LANES),
    vector("f16", LANES),
    vector("i16", LANES),
    vector("i32", LANES),
)


FOUR = types.UniTuple(F32V, 4)


@kernel(FOUR, f32p)
def read_four(place):
    """Four vectors that `write_four` wrote."""
    a, b = load(F32V, place, 0), load(F32V, place, LANES)
    return a, b, load(F32V, place, 2 * LANES), load(F32V, place, 3 * LANES)


@kernel(types.void, f32p, FOUR)
def write_four(place, sums):
    """Keep four vectors in memory."""
    store(place, 0, sums[0])
    store(place, LANES, sums[1])
    store(place, 2 * LANES, sums[2])
    store(place, 3 * LANES, sums[3])


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

    step, turn = 4 * LANES, TURN_BYTES // n_bytes
    step_bytes = step * n_bytes

    @kernel(FOUR, FOUR, u8p, f32p, I64, I64)
    def add_columns(sums, row, x, begin, end):
        """Four vectors of sums, with the products of columns `begin` to `end`, a multiple of `step`, added."""
        a, b, c, d = sums
        for i in range(begin, end, step):
            prefetch_lines(at(row, i * n_bytes), AHEAD, step_bytes)
            a = fma(lanes(row, i), load(F32V, x, i), a)
            b = fma(lanes(row, i + LANES), load(F32V, x, i + LANES), b)
            c = fma(lanes(row, i + 2 * LANES), load(F32V, x, i + 2 * LANES), c)
            d = fma(lanes(row, i + 3 * LANES), load(F32V, x, i + 3 * LANES), d)
        return a, b, c, d

    @kernel(F32V, FOUR, u8p, f32p, I64)
    def sum_of(sums, row, x, n_columns):
        """One vector of sums, with the products of the whole vectors after the last `step` added."""
        a, b, c, d = sums
        for i in range(n_columns // step * step, n_columns // LANES * LANES, LANES):
            a = fma(lanes(row, i), load(F32V, x, i), a)
        return (a + b) + (c + d)

    @kernel(types.float32, types.float32, u8p, f32p, I64)
    def add_last(product, row, x, n_columns):
        """The product, with those of the columns after the last whole vector added."""
        for i in range(n_columns // LANES * LANES, n_columns):
            product += one(row, i) * x[i]
        return product

    @kernel(types.float32, u8p, f32p, I64)
    def dot(row, x, n_columns):
        nothing = splat(F32V, 0.0), splat(F32V, 0.0), splat(F32V, 0.0), splat(F32V, 0.0)
        sums = add_columns(nothing, row, x, 0, n_columns // step * step)
        return add_last(total(sum_of(sums, row, x, n_columns)), row, x, n_columns)

    @kernel(types.void, f32p, f32p, u8p, I64, f32p, I64)
    def dot_in_turns(out, states, row, next_row, x, n_columns):
        for i in range(0, FOUR_SUMS, LANES):
            store(states, i, splat(F32V, 0.0))
        whole = n_columns // step * step
        for begin in range(0, whole, turn):
            for r in range(4):
                place = at(states, r * step * 4)
                sums = add_columns(read_four(place), at(row, r * next_row), x, begin, smaller(whole, begin + turn))
                write_four(place, sums)
        for r in range(4):
            source, sums = at(row, r * next_row), read_four(at(states, r * step * 4))
            out[r] = add_last(total(sum_of(sums, source, x, n_columns)), source, x, n_columns)

    @kernel(types.void, f32p, u8p, I64, f32p, I64)
    def dot_four(out, row, next_row, x, n_columns):
        if n_columns * n_bytes > SHORT_BYTES:
            dot_in_turns(out, on_stack(FOUR_SUMS), row, next_row, x, n_columns)
        else:
            for r in range(4):
                out[r] = dot(at(row, r * next_row), x, n_columns)

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

    return DenseKernels(decode, dot, dot_four, sparse_dot4, decode)


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
