"""out (n_tokens, n_rows) = x (n_tokens, n_columns) . weight (n_rows, n_columns) + bias + residual, weight unquantised.

Few tokens: each row is dotted with each token; the weights are read once, straight from the file. Many tokens:
R rows are unpacked into scratch, then multiplied with V vectors of tokens at a time in a register tile, so that
unpacking is paid once per row and each loaded activation is used R times, each loaded weight V * LANES times.
Threads split the rows in multiples of R, so an output never depends on how many threads there are.

A thread's scratch (`scratch_bytes`) holds, for R rows: f32 weights and the spilled tile.
"""

from __future__ import annotations

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.kernels.activations import MIN_TILE, padded
from realizar_lambda.kernels.block_types import dense
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.matmul_rows import I64, NARROW, WIDE, R, V, copy_out, first_row, rest
from realizar_lambda.kernels.memory import at, cast, f32p, u8p
from realizar_lambda.kernels.tile import outer, spill, zero
from realizar_lambda.kernels.vectors import LANES

DENSE = {name: getattr(dense, name) for name in ("F32", "F16", "BF16")}


def _dense_tile(tile):
    @kernel(tile, f32p, f32p, I64)
    def multiply(weights, x, n_columns):
        result = zero(tile)
        k = 0
        while k + 4 <= n_columns:
            result = outer(result, weights, k, n_columns, 1, x, n_columns * LANES, 4)
            k += 4
        while k < n_columns:
            result = outer(result, weights, k, n_columns, 1, x, n_columns * LANES, 1)
            k += 1
        return result

    return multiply


_dense_wide, _dense_narrow = _dense_tile(WIDE), _dense_tile(NARROW)


def _dense(name, kernels):
    element_bytes = BLOCKS[name].n_bytes
    unpack, dot, dot4 = kernels.unpack, kernels.dot, kernels.dot4

    def matmul(
        out, x, q, weight, bias, residual, n_rows, n_columns, out_stride, scratch, scratch_bytes,
        n_tokens, position, thread, n_threads,
    ):  # fmt: skip
        row_bytes = n_columns * element_bytes
        row, end = first_row(n_rows, thread, n_threads), first_row(n_rows, thread + 1, n_threads)
        if n_tokens < MIN_TILE:
            four = cast(f32p, at(scratch, thread * scratch_bytes))
            while row < end:
                rows = min(R, end - row)
                for token in range(n_tokens):
                    x_token = at(x, token * n_columns * 4)
                    if rows == R:
                        dot4(four, at(weight, row * row_bytes), x_token, n_columns)
                    else:
                        for r in range(rows):
                            four[r] = dot(at(weight, (row + r) * row_bytes), x_token, n_columns)
                    for r in range(rows):
                        place = token * out_stride + row + r
                        out[place] = rest(bias, residual, row + r, place) + four[r]
                row += R
            return
        weights = cast(f32p, at(scratch, thread * scratch_bytes))
        spilled = at(weights, R * n_columns * 4)
        interleaved = cast(f32p, q)
        n_vectors = padded(n_tokens) // LANES
        while row < end:
            for r in range(R):
                source = at(weight, min(row + r, n_rows - 1) * row_bytes)
                unpack(at(weights, r * n_columns * 4), source, n_columns)
            v = 0
            while v < n_vectors:
                x_place = at(interleaved, v * n_columns * LANES * 4)
                if v + V <= n_vectors:
                    spill(_dense_wide(weights, x_place, n_columns), spilled)
                    copy_out(out, bias, residual, spilled, V, v * LANES, n_tokens, row, n_rows, out_stride)
                    v += V
                else:
                    spill(_dense_narrow(weights, x_place, n_columns), spilled)
                    copy_out(out, bias, residual, spilled, 1, v * LANES, n_tokens, row, n_rows, out_stride)
                    v += 1
            row += R

    matmul.__name__ = f"matmul_{name}"
    op(f32p, f32p, u8p, u8p, f32p, f32p, u8p)(matmul)


for _name, _row in DENSE.items():
    _dense(_name, _row)
