"""out (n_tokens, n_rows) = x (n_tokens, n_columns) . weight (n_rows, n_columns) + bias + residual, every block type.

Few tokens: each row is dotted with each token; the weights are read once, straight from the file. Many tokens:
R rows are unpacked into scratch, then multiplied with V vectors of tokens at a time in a register tile, so that
unpacking is paid once per row and each loaded activation is used R times, each loaded weight V * LANES times.
Threads split the rows in multiples of R, so an output never depends on how many threads there are.

A thread's scratch (`scratch_bytes`) holds, for R rows: codes or f32 weights, scales, mins, and the spilled tile.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.kernels.activations import MIN_TILE, padded, scales_of, sums16_of, sums32_of
from realizar_lambda.kernels.block_types import dense, k_types, small_blocks
from realizar_lambda.kernels.block_types.codes import IS_MOVED
from realizar_lambda.kernels.block_types.iq4_xs import IQ4_XS
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.memory import address_of, at, cast, f32p, i8p, u8p
from realizar_lambda.kernels.tile import Tile, group_dot, outer, scaled, shifted, spill, zero
from realizar_lambda.kernels.vectors import LANES

I64 = types.int64
R, V = ops.TILE_ROWS, ops.TILE_VECTORS
WIDE, NARROW = Tile(R, V), Tile(R, 1)

QUANTIZED = {
    **{name: getattr(small_blocks, name) for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL")},
    **{name: getattr(k_types, name) for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")},
    "IQ4_XS": IQ4_XS,
}
DENSE = {name: getattr(dense, name) for name in ("F32", "F16", "BF16")}


@kernel(I64, I64, I64, I64)
def first_row(n_rows, thread, n_threads):
    """Where a thread's rows begin: whole tiles, evenly."""
    n_tiles = (n_rows + R - 1) // R
    return min(n_rows, n_tiles * thread // n_threads * R)


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


def _quantized_tile(tile, group, bits):
    """The product of R unpacked rows with one tile's tokens."""
    has_mins = bits < 8 or IS_MOVED
    n_vectors = tile.vectors

    @kernel(tile, u8p, f32p, f32p, i8p, f32p, f32p, I64)
    def multiply(codes, scales, mins, x, d, sums, n_columns):
        n_groups = n_columns // group
        x_stride, d_stride, sums_stride = n_columns * LANES, n_columns // 32 * LANES, n_groups * LANES
        result = zero(tile)
        for g in range(n_groups):
            dots = group_dot(tile, codes, g * group, n_columns, x, x_stride, group, bits)
            d_place = at(d, g * group // 32 * LANES * 4)
            result = scaled(result, dots, scales, g, n_groups, d_place, d_stride)
            if has_mins:
                result = shifted(result, mins, g, n_groups, at(sums, g * LANES * 4), sums_stride)
        return result

    return multiply, n_vectors


def _quantized(name, kernels):
    block_bytes, block_columns = BLOCKS[name].n_bytes, BLOCKS[name].n_elements
    group, unpack, dot = kernels.group, kernels.unpack, kernels.dot
    multiply_wide, _ = _quantized_tile(WIDE, group, kernels.bits)
    multiply_narrow, _ = _quantized_tile(NARROW, group, kernels.bits)

    def matmul(
        out, x, q, weight, bias, residual, n_rows, n_columns, out_stride, scratch, scratch_bytes,
        n_tokens, position, thread, n_threads,
    ):  # fmt: skip
        row_bytes = n_columns // block_columns * block_bytes
        d, sums16, sums32 = (
            scales_of(q, n_tokens, n_columns),
            sums16_of(q, n_tokens, n_columns),
            sums32_of(q, n_tokens, n_columns),
        )
        x_codes = cast(i8p, q)
        row, end = first_row(n_rows, thread, n_threads), first_row(n_rows, thread + 1, n_threads)
        if n_tokens < MIN_TILE:
            while row < end:
                for token in range(n_tokens):
                    place = token * out_stride + row
                    out[place] = rest(bias, residual, row, place) + dot(
                        at(weight, row * row_bytes),
                        at(x_codes, token * n_columns),
                        at(d, token * n_columns // 8),
                        at(sums16, token * n_columns // 4),
                        at(sums32, token * n_columns // 8),
                        n_columns,
                    )
                row += 1
            return
        n_groups = n_columns // group
        codes = at(scratch, thread * scratch_bytes)
        scales = cast(f32p, at(codes, R * n_columns))
        mins = at(scales, R * n_groups * 4)
        spilled = at(mins, R * n_groups * 4)
        sums = sums32 if group == 32 else sums16
        n_vectors = padded(n_tokens) // LANES
        while row < end:
            for r in range(R):
                source = at(weight, min(row + r, n_rows - 1) * row_bytes)
                place = r * n_groups * 4
                unpack(source, n_columns, at(codes, r * n_columns), at(scales, place), at(mins, place))
            v = 0
            while v < n_vectors:
                x_place = at(x_codes, v * n_columns * LANES)
                d_place = at(d, v * (n_columns // 32) * LANES * 4)
                sums_place = at(sums, v * n_groups * LANES * 4)
                if v + V <= n_vectors:
                    spill(multiply_wide(codes, scales, mins, x_place, d_place, sums_place, n_columns), spilled)
                    copy_out(out, bias, residual, spilled, V, v * LANES, n_tokens, row, n_rows, out_stride)
                    v += V
                else:
                    spill(multiply_narrow(codes, scales, mins, x_place, d_place, sums_place, n_columns), spilled)
                    copy_out(out, bias, residual, spilled, 1, v * LANES, n_tokens, row, n_rows, out_stride)
                    v += 1
            row += R

    matmul.__name__ = f"matmul_{name}"
    op(f32p, f32p, u8p, u8p, f32p, f32p, u8p)(matmul)


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
    unpack, dot = kernels.unpack, kernels.dot

    def matmul(
        out, x, q, weight, bias, residual, n_rows, n_columns, out_stride, scratch, scratch_bytes,
        n_tokens, position, thread, n_threads,
    ):  # fmt: skip
        row_bytes = n_columns * element_bytes
        row, end = first_row(n_rows, thread, n_threads), first_row(n_rows, thread + 1, n_threads)
        if n_tokens < MIN_TILE:
            while row < end:
                for token in range(n_tokens):
                    place = token * out_stride + row
                    product = dot(at(weight, row * row_bytes), at(x, token * n_columns * 4), n_columns)
                    out[place] = rest(bias, residual, row, place) + product
                row += 1
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


for _name, _row in QUANTIZED.items():
    _quantized(_name, _row)
for _name, _row in DENSE.items():
    _dense(_name, _row)
