"""A matmul's rows: which of them a thread has, what is added to a product, how a tile's sums leave for memory.

It knows no block type.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.lanes import transposed
from realizar_lambda.kernels.memory import address_of, at, f32p, smaller
from realizar_lambda.kernels.vectors import load, splat, store, vector

I64, QUAD = types.int64, vector("f32", 4)
SPLIT = ops.TILE_ROWS
"""Threads split rows in multiples of so many."""


@kernel(I64, I64, I64, I64)
def first_row(n_rows, thread, n_threads):
    """Where a thread's rows begin: in whole fours, evenly."""
    n_fours = (n_rows + SPLIT - 1) // SPLIT
    return smaller(n_rows, n_fours * thread // n_threads * SPLIT)


STREAMS = 4
"""At how many places of its rows a thread reads a weight, in turn: a core can wait for more bytes than it asks for at
one place ("streams" in docs/kernels.md)."""


@kernel(I64, I64, I64)
def stream_rows(begin, end):
    """How many of the rows from begin to end each stream has, the last one perhaps fewer."""
    return (end - begin + STREAMS - 1) // STREAMS


@kernel(types.float32, f32p, f32p, I64, I64)
def rest(bias, residual, row, place):
    """What is added to a product: bias[row] and residual[place], each where there is one."""
    value = types.float32(0.0)
    if address_of(bias) != 0:
        value += bias[row]
    if address_of(residual) != 0:
        value += residual[place]
    return value


@kernel(QUAD, f32p, f32p, I64, I64)
def rest4(bias, residual, row, place):
    """`rest` of four rows that follow one another."""
    values = splat(QUAD, 0.0)
    if address_of(bias) != 0:
        values = values + load(QUAD, bias, row)
    if address_of(residual) != 0:
        values = values + load(QUAD, residual, place)
    return values


@kernel(types.void, f32p, f32p, f32p, f32p, I64, I64, I64, I64, I64, I64, is_apart=True)
def copy_rows(out, bias, residual, spilled, width, token, n_tokens, row, end, out_stride):
    """Transpose spilled (end - row, width) to out[token ..., row ...], where there are such tokens, by fours."""
    n = smaller(width, n_tokens - token)
    for t in range(0, n, 4):
        for r in range(0, end - row, 4):
            sums, place = at(spilled, (r * width + t) * 4), (token + t) * out_stride + row + r
            if t + 4 <= n and row + r + 4 <= end:
                a, b = load(QUAD, sums, 0), load(QUAD, sums, width)
                c, d = load(QUAD, sums, 2 * width), load(QUAD, sums, 3 * width)
                a, b, c, d = transposed(a, b, c, d)
                store(out, place, a + rest4(bias, residual, row + r, place))
                place += out_stride
                store(out, place, b + rest4(bias, residual, row + r, place))
                place += out_stride
                store(out, place, c + rest4(bias, residual, row + r, place))
                place += out_stride
                store(out, place, d + rest4(bias, residual, row + r, place))
            else:
                for i in range(smaller(4, n - t)):
                    for j in range(smaller(4, end - row - r)):
                        here = place + i * out_stride + j
                        out[here] = sums[j * width + i] + rest(bias, residual, row + r + j, here)
