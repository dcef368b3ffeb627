"""out (n_tokens, n_rows) = x (n_tokens, n_columns) . weight (n_rows, n_columns) + bias + residual, weight unquantised.

Few tokens: each row is dotted with each token, rows at four places of a thread's part in turn; the weights are read
once, straight from the file. Many tokens: a band of rows is unpacked into scratch where it is not F32, then R rows are
multiplied with V vectors of tokens at a time in a register tile, so that unpacking is paid once per row and each loaded
activation is used R times, each loaded weight V * LANES times. All the band's rows take a tile's tokens before the next
tokens are read.
Threads split the rows in multiples of four, and an output's sum has one order wherever its row lies in a tile, so
that it never depends on how many threads there are.

A sparse matmul first lists the columns (for few tokens: the vectors of columns) where x is not all zero, and takes
only those: a picture's black pixels cost nothing.

A thread's scratch (`scratch_bytes`) holds, for a band: f32 weights, the spilled tiles, the list of columns.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.kernels.activations import MIN_TILE, padded
from realizar_lambda.kernels.block_types import dense
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.matmul_rows import I64, STREAMS, copy_rows, first_row, rest, stream_rows
from realizar_lambda.kernels.memory import at, cast, f32p, i32p, smaller, u8p
from realizar_lambda.kernels.tile import Tile, outer, spill, zero
from realizar_lambda.kernels.vectors import LANES, any_set, bitcast, load, splat, vector

R, V = 6 if LANES == 8 else 8, ops.TILE_VECTORS
"""6 x 2 sums, two vectors of tokens and a weight are 15 of x86_64_v3's 16 registers; the others have 32."""
BAND = ops.BAND_ROWS // R * R
WIDE, NARROW, SHORT = Tile(R, V), Tile(R, 1), Tile(2, V)
"""The tile of most tokens, of the last ones, and of most tokens with the last one or two rows."""
F32V, I32V = vector("f32", LANES), vector("i32", LANES)
DENSE = {name: getattr(dense, name) for name in ("F32", "F16", "BF16")}


def product(tile, is_sparse):
    """Spills the product of a tile's rows and vectors: of all columns, or of those in a list."""

    @kernel(types.void, f32p, f32p, f32p, i32p, I64, I64)
    def multiply(out, weights, x, places, n_places, n_columns):
        result = zero(tile)
        k = 0
        if is_sparse and n_places < n_columns:
            while k < n_places:
                result = outer(result, weights, I64(places[k]), n_columns, 1, x, n_columns * LANES, 1)
                k += 1
        else:
            while k + 4 <= n_columns:
                result = outer(result, weights, k, n_columns, 1, x, n_columns * LANES, 4)
                k += 4
            while k < n_columns:
                result = outer(result, weights, k, n_columns, 1, x, n_columns * LANES, 1)
                k += 1
        spill(result, out)

    return multiply


PRODUCTS = {is_sparse: [product(tile, is_sparse) for tile in (WIDE, NARROW, SHORT)] for is_sparse in (False, True)}


@kernel(I32V, f32p, I64)
def bits_but_sign(x, i):
    """The bits of LANES values from x[i] on: 0 only for zeros."""
    return bitcast(I32V, load(F32V, x, i)) & splat(I32V, 0x7FFFFFFF)


@kernel(I64, i32p, f32p, I64)
def list_vectors(places, x, n_columns):
    """List where the whole vectors of a token begin that hold anything but zeros; how many there are."""
    n = 0
    for vector_ in range(n_columns // LANES):
        places[n] = types.int32(vector_ * LANES)
        n += 1 if any_set(bits_but_sign(x, vector_ * LANES)) else 0
    return n


@kernel(I64, i32p, f32p, I64, I64)
def list_columns(places, interleaved, n_columns, n_vectors):
    """List the columns in which a token of n_vectors interleaved ones has anything but zero; how many there are."""
    n = 0
    for column in range(n_columns):
        bits = splat(I32V, 0)
        for v in range(n_vectors):
            bits = bits | bits_but_sign(interleaved, (v * n_columns + column) * LANES)
        places[n] = types.int32(column)
        n += 1 if any_set(bits) else 0
    return n


def _few_tokens(kernels, n_bytes):
    """The kernel of few tokens: rows from `row` to `end`, one at each of STREAMS places in turn, with every token."""
    dot, dot_four = kernels.dot, kernels.dot_four
    assert STREAMS == 4, "dot_four takes a row at each of four places"

    @kernel(types.void, f32p, f32p, f32p, u8p, f32p, f32p, I64, I64, I64, I64, I64)
    def multiply(out, x, products, weight, bias, residual, n_columns, out_stride, n_tokens, row, end):
        row_bytes, n = n_columns * n_bytes, stream_rows(row, end)
        for first in range(row, row + n):
            for token in range(n_tokens):
                x_token, number = at(x, token * n_columns * 4), first
                if first + (STREAMS - 1) * n < end:
                    dot_four(products, at(weight, first * row_bytes), n * row_bytes, x_token, n_columns)
                else:
                    for i in range((end - first + n - 1) // n):
                        products[i] = dot(at(weight, (first + i * n) * row_bytes), x_token, n_columns)
                i = 0
                while number < end:
                    place = token * out_stride + number
                    out[place] = rest(bias, residual, number, place) + products[i]
                    number, i = number + n, i + 1

    return multiply


def _few_sparse_tokens(kernels, n_bytes):
    """The kernel of few tokens that are mostly zeros: each lists its vectors, then takes four rows at a time."""
    dot, dot_four = kernels.dot, kernels.sparse_dot4

    @kernel(types.void, f32p, f32p, f32p, i32p, u8p, f32p, f32p, I64, I64, I64, I64, I64)
    def multiply(out, x, products, places, weight, bias, residual, n_columns, out_stride, n_tokens, begin, end):
        row_bytes = n_columns * n_bytes
        for token in range(n_tokens):
            x_token = at(x, token * n_columns * 4)
            n_places = list_vectors(places, x_token, n_columns)
            for row in range(begin, end, 4):
                n = smaller(4, end - row)
                source = at(weight, row * row_bytes)
                if n == 4:
                    dot_four(products, source, x_token, places, n_places, n_columns)
                else:
                    for r in range(n):
                        products[r] = dot(at(source, r * row_bytes), x_token, n_columns)
                for r in range(n):
                    place = token * out_stride + row + r
                    out[place] = rest(bias, residual, row + r, place) + products[r]

    return multiply


def _matmul(name, kernels, is_sparse):
    element_bytes, is_f32 = BLOCKS[name].n_bytes, name == "F32"
    unpack = kernels.unpack
    multiply_wide, multiply_narrow, multiply_short = PRODUCTS[is_sparse]
    multiply_few, multiply_few_sparse = _few_tokens(kernels, element_bytes), _few_sparse_tokens(kernels, element_bytes)

    def matmul(
        out, x, q, weight, bias, residual, n_rows, n_columns, out_stride, scratch, scratch_bytes,
        n_tokens, position, thread, n_threads,
    ):  # fmt: skip
        row_bytes = n_columns * element_bytes
        begin, end = first_row(n_rows, thread, n_threads), first_row(n_rows, thread + 1, n_threads)
        weights = cast(f32p, at(scratch, thread * scratch_bytes))
        spilled = at(weights, BAND * n_columns * 4)
        places = cast(i32p, at(spilled, BAND * V * LANES * 4))
        if n_tokens < MIN_TILE:
            if is_sparse:
                multiply_few_sparse(
                    out, x, spilled, places, weight, bias, residual, n_columns, out_stride, n_tokens, begin, end
                )
            else:
                multiply_few(out, x, spilled, weight, bias, residual, n_columns, out_stride, n_tokens, begin, end)
            return
        interleaved = cast(f32p, q)
        n_vectors = padded(n_tokens) // LANES
        n_places = list_columns(places, interleaved, n_columns, n_vectors) if is_sparse else I64(0)
        for row in range(begin, end, BAND):
            last = smaller(row + BAND, end)
            for r in range(0, last - row, R):
                if not (is_f32 and row + r + R <= n_rows):
                    for i in range(r, r + R):
                        source = at(weight, smaller(row + i, n_rows - 1) * row_bytes)
                        unpack(at(weights, i * n_columns * 4), source, n_columns)
            v = 0
            while v < n_vectors:
                n = V if v + V <= n_vectors else 1
                tokens = at(interleaved, v * n_columns * LANES * 4)
                for r in range(0, last - row, R):
                    rows, sums = at(weights, r * n_columns * 4), at(spilled, r * n * LANES * 4)
                    if is_f32 and row + r + R <= n_rows:
                        rows = cast(f32p, at(weight, (row + r) * row_bytes))
                    if n == V and last - row - r <= 2:
                        multiply_short(sums, rows, tokens, places, n_places, n_columns)
                    elif n == V:
                        multiply_wide(sums, rows, tokens, places, n_places, n_columns)
                    else:
                        multiply_narrow(sums, rows, tokens, places, n_places, n_columns)
                copy_rows(out, bias, residual, spilled, n * LANES, v * LANES, n_tokens, row, last, out_stride)
                v += n

    matmul.__name__ = f"{'sparse_' if is_sparse else ''}matmul_{name}"
    op(f32p, f32p, u8p, u8p, f32p, f32p, u8p)(matmul)


for _name, _row in DENSE.items():
    _matmul(_name, _row, False)
    _matmul(_name, _row, True)
