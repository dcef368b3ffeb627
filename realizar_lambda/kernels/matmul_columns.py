"""out (n_tokens, n_rows) = x (n_tokens, n_columns) . weight (n_rows, n_columns) + bias, from the weight's columns.

A token's product is the sum of the columns where it is not 0, each times its value: zeros cost nothing, for up to four
tokens at a time and not, as in a sparse matmul by rows, where they are zeros of all tokens. Ink on paper leaves four
features of five at 0, and others in each picture. A lane holds a row of the weight, and a tile's rows are tokens, so
that it is the tile of `matmul_dense.py` with both sides changed over.

A product's sum has the order of the columns, and zeros add nothing to it: the tokens beside it change no bit.

A thread's scratch (`scratch_bytes`) holds the list of columns and the spilled tile.
"""

from __future__ import annotations

import math

from numba import types

from realizar_lambda.kernels.activations import interleave_rows
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.matmul_dense import F32V, I32V, bits_but_sign, product
from realizar_lambda.kernels.matmul_rows import I64
from realizar_lambda.kernels.memory import at, cast, f32p, i32p, larger, u8p
from realizar_lambda.kernels.places import store_places
from realizar_lambda.kernels.shares import part
from realizar_lambda.kernels.tile import Tile
from realizar_lambda.kernels.vectors import LANES, any_set, load, maximum, splat, store

T, V = 4, 2 if LANES == 8 else 4
"""4 x 2 sums, two vectors of columns and a feature are 11 of x86_64_v3's 16 registers."""
WIDE, NARROW = product(Tile(T, V), True), product(Tile(T, 1), True)
ALONE, LEAST = product(Tile(1, 2 * V), True), product(Tile(1, 1), True)


@op(f32p, u8p, f32p)
def columns(out, weight, multiplier, n_rows, n_columns, channel_size, n_tokens, position, thread, n_threads):
    """The rows of an F32 weight, LANES at a time: (n_columns, LANES), a column times multiplier[its channel]; zeros
    after the last row."""
    interleave_rows(out, cast(f32p, weight), n_columns, n_rows, thread, n_threads)
    for group in range(thread, (n_rows + LANES - 1) // LANES, n_threads):
        target = at(out, group * n_columns * LANES * 4)
        for i in range(n_columns):
            store(target, i * LANES, load(F32V, target, i * LANES) * splat(F32V, multiplier[i // channel_size]))


@kernel(types.float32, f32p, I64)
def not_finite(x, n):
    """0, or NaN where one of n values is NaN or infinite."""
    seen, i, last = splat(I32V, 0), 0, types.float32(0.0)
    while i + LANES <= n:
        seen = seen | (bits_but_sign(x, i) + splat(I32V, 1 << 23))  # which carries from an exponent of ones alone
        i += LANES
    while i < n:
        last += x[i] * types.float32(0.0)
        i += 1
    return types.float32(math.nan) if any_set(seen & splat(I32V, -(1 << 31))) else last


@kernel(I64, i32p, f32p, I64, I64)
def list_features(places, x, n_columns, n_tokens):
    """List the columns in which one of n_tokens rows of x has anything but zero; how many there are."""
    n, i = 0, 0
    while i + LANES <= n_columns:
        any_ = bits_but_sign(x, i)
        for token in range(1, n_tokens):
            any_ = any_ | bits_but_sign(x, token * n_columns + i)
        n += store_places(places, n, i, any_)
        i += LANES
    while i < n_columns:
        is_set = False
        for token in range(n_tokens):
            value = x[token * n_columns + i]
            is_set = is_set or value != types.float32(0.0)
        places[n] = types.int32(i)
        n += 1 if is_set else 0
        i += 1
    return n


@kernel(types.void, f32p, f32p, f32p, f32p, I64, I64, I64, I64, I64)
def put(out, sums, bias, faults, n_tokens, n_vectors, row, n_rows, relu):
    """Write sums (n_tokens, n_vectors, LANES) + bias from `row` on + faults[token] to out (n_tokens, n_rows)."""
    zero, least = splat(F32V, 0.0), types.float32(0.0)
    for token in range(n_tokens):
        for v in range(n_vectors):
            source, first = (token * n_vectors + v) * LANES, row + v * LANES
            place = token * n_rows + first
            if first + LANES <= n_rows:
                value = load(F32V, sums, source) + load(F32V, bias, first) + splat(F32V, faults[token])
                store(out, place, maximum(zero, value) if relu != 0 else value)
            else:
                for lane in range(larger(0, n_rows - first)):
                    one = sums[source + lane] + bias[first + lane] + faults[token]
                    out[place + lane] = least if relu != 0 and one < least else one


@op(f32p, f32p, f32p, f32p, u8p)
def add_columns(
    out, x, columns, bias, n_rows, n_columns, relu, scratch, scratch_bytes, n_tokens, position, thread, n_threads
):
    """x . weight + bias; negative answers become 0 where `relu` is not 0. NaN where a token's values are not finite."""
    sums = cast(f32p, at(scratch, thread * scratch_bytes))
    faults = at(sums, T * V * LANES * 4)
    places = cast(i32p, at(faults, T * 4))
    n_vectors = (n_rows + LANES - 1) // LANES
    begin, end = part(n_vectors, thread, n_threads), part(n_vectors, thread + 1, n_threads)
    token = 0
    while token < n_tokens:
        n = T if token + T <= n_tokens else 1
        tokens, target = at(x, token * n_columns * 4), at(out, token * n_rows * 4)
        n_places = list_features(places, tokens, n_columns, n)
        for t in range(n):
            faults[t] = not_finite(at(tokens, t * n_columns * 4), n_columns)
        v = begin
        while v < end:
            source, step = at(columns, v * n_columns * LANES * 4), 1
            if n == T and v + V <= end:
                step = V
                WIDE(sums, tokens, source, places, n_places, n_columns)
            elif n == T:
                NARROW(sums, tokens, source, places, n_places, n_columns)
            elif v + 2 * V <= end:
                step = 2 * V
                ALONE(sums, tokens, source, places, n_places, n_columns)
            else:
                LEAST(sums, tokens, source, places, n_places, n_columns)
            put(target, sums, bias, faults, n, step, v * LANES, n_rows, relu)
            v += step
        token += n
