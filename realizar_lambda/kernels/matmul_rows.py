"""A matmul's rows: which of them a thread has, what is added to a product, how a tile's sums leave for memory.

It knows no block type.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.memory import address_of, f32p
from realizar_lambda.kernels.tile import Tile
from realizar_lambda.kernels.vectors import LANES

I64 = types.int64
R, V = ops.TILE_ROWS, ops.TILE_VECTORS
WIDE, NARROW = Tile(R, V), Tile(R, 1)


@kernel(I64, I64, I64, I64)
def first_row(n_rows, thread, n_threads):
    """Where a thread's rows begin: whole tiles, evenly."""
    n_tiles = (n_rows + R - 1) // R
    return min(n_rows, n_tiles * thread // n_threads * R)


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


@kernel(types.void, f32p, f32p, f32p, f32p, I64, I64, I64, I64, I64, I64)
def copy_out(out, bias, residual, spilled, n_vectors, token, n_tokens, row, n_rows, out_stride):
    """Transpose a spilled tile (R, n_vectors, LANES) to out[token + lane, row + r], where those exist."""
    n = min(n_vectors * LANES, n_tokens - token)
    rows = min(R, n_rows - row)
    for lane in range(n):
        for r in range(rows):
            place = (token + lane) * out_stride + row + r
            out[place] = spilled[r * n_vectors * LANES + lane] + rest(bias, residual, row + r, place)
