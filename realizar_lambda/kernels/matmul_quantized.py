"""out (n_tokens, n_rows) = x (n_tokens, n_columns) . weight (n_rows, n_columns) + bias + residual, weight quantised.

Few tokens: each row is read once, straight from the file, and unpacked once for up to four tokens. Many tokens:
a band of rows is unpacked into scratch, then R of its rows are multiplied with V vectors of tokens at a time in a
register tile, so that unpacking is paid once per row and each loaded activation is used R times, each loaded weight
V * LANES times. All the band's rows take a tile's tokens before the next tokens are read, which the L2 cache need
not hold. An output's sum has one order wherever its row lies in a tile, so that it never depends on how many threads
there are.

A thread's scratch (`scratch_bytes`) holds, for a band: codes, scales, mins, and the spilled tiles.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.kernels.activations import MIN_TILE, padded, scales_of, sums16_of, sums32_of
from realizar_lambda.kernels.block_types import k_types, small_blocks
from realizar_lambda.kernels.block_types.codes import IS_MOVED
from realizar_lambda.kernels.block_types.iq4_xs import IQ4_XS
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.matmul_rows import I64, QUAD, STREAMS, copy_rows, first_row, rest, stream_rows
from realizar_lambda.kernels.memory import at, cast, f32p, i8p, smaller, u8p
from realizar_lambda.kernels.slices import SLICE_BYTES
from realizar_lambda.kernels.tile import Tile, group_dot, scaled, shifted, spill, zero
from realizar_lambda.kernels.vectors import LANES, lane, total, totals

R, V = 8 if LANES == 16 else 4, ops.TILE_VECTORS
"""8 x 2 sums in two kinds are the 32 registers of x86_64_v4; more sums at once hide how long a dot product takes."""
BAND = ops.BAND_ROWS // R * R
WIDE, NARROW = Tile(R, V), Tile(R, 1)
"""The tile of most tokens and of the last ones."""
QUANTIZED = {
    **{name: getattr(small_blocks, name) for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL")},
    **{name: getattr(k_types, name) for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")},
    "IQ4_XS": IQ4_XS,
}


def _quantized_tile(tile, group, bits):
    """The kernel of the products of R unpacked rows with one tile's tokens, to `out` (R, tile.vectors, LANES)."""
    has_mins = bits < 8 or IS_MOVED

    @kernel(types.void, f32p, u8p, f32p, f32p, i8p, f32p, f32p, I64, is_apart=True)
    def multiply(out, codes, scales, mins, x, d, sums, n_columns):
        n_groups = n_columns // group
        x_stride, d_stride, sums_stride = n_columns * LANES, n_columns // 32 * LANES, n_groups * LANES
        result = zero(tile)
        for g in range(n_groups):
            dots = group_dot(tile, codes, g * group, n_columns, x, x_stride, group, bits)
            d_place = at(d, g * group // 32 * LANES * 4)
            result = scaled(result, dots, scales, g, n_groups, d_place, d_stride)
            if has_mins:
                result = shifted(result, mins, g, n_groups, at(sums, g * LANES * 4), sums_stride)
        spill(result, out)

    return multiply


@kernel(types.void, f32p, f32p, f32p, I64, I64, I64, I64, QUAD)
def put_four(out, bias, residual, row, next_row, place, next_place, products):
    """Write four products: of row `row` to out[place], of the row `next_row` further `next_place` further, ..."""
    out[place] = rest(bias, residual, row, place) + lane(products, 0)
    row, place = row + next_row, place + next_place
    out[place] = rest(bias, residual, row, place) + lane(products, 1)
    row, place = row + next_row, place + next_place
    out[place] = rest(bias, residual, row, place) + lane(products, 2)
    row, place = row + next_row, place + next_place
    out[place] = rest(bias, residual, row, place) + lane(products, 3)


def _row_times(dot, n):
    """The kernel of a row's products with n tokens, the first of them `token`."""
    dot_n = dot(n)

    @kernel(types.void, f32p, u8p, u8p, f32p, f32p, I64, I64, I64, I64, I64)
    def row_times(out, q, row, bias, residual, n_columns, out_stride, n_tokens, number, token):
        sums = dot_n(row, at(q, token * SLICE_BYTES), n_tokens * SLICE_BYTES, n_columns)
        place = token * out_stride + number
        if n == 4:
            put_four(out, bias, residual, number, 0, place, out_stride, totals(sums[0], sums[1], sums[2], sums[3]))
        else:
            for t in range(n):
                out[place] = rest(bias, residual, number, place) + total(sums[t])
                place += out_stride

    return row_times


def _one_token(dot, dot_four):
    """The kernel of one token: rows from `row` to `end`, one at each of STREAMS places in turn.

    It has a loop of its own: with the places of other tokens to keep, it took an eighth longer.
    """
    dot_1 = dot(1)
    assert STREAMS == 4, "dot_four takes a row at each of four places"

    @kernel(types.void, f32p, u8p, u8p, f32p, f32p, I64, I64, I64, I64)
    def multiply(out, q, weight, bias, residual, row_bytes, n_columns, row, end):
        n = stream_rows(row, end)
        next_bytes = n * row_bytes
        for first in range(row, row + n):
            source = at(weight, first * row_bytes)
            if first + (STREAMS - 1) * n < end:
                a, b, c, d = dot_four(source, next_bytes, q, n_columns)
                put_four(out, bias, residual, first, n, first, n, totals(a, b, c, d))
            else:
                for number in range(first, end, n):
                    sums = dot_1(at(weight, number * row_bytes), q, SLICE_BYTES, n_columns)[0]
                    out[number] = rest(bias, residual, number, number) + total(sums)

    return multiply


def _few_tokens(dot):
    """The kernel of few tokens: rows from `row` to `end`, each read once, STREAMS of them in turn."""
    one, two, four = (_row_times(dot, n) for n in (1, 2, 4))

    @kernel(types.void, f32p, u8p, u8p, f32p, f32p, I64, I64, I64, I64, I64, I64)
    def multiply(out, q, weight, bias, residual, row_bytes, n_columns, out_stride, n_tokens, row, end):
        n = stream_rows(row, end)
        for turn in range(n):
            number = row + turn
            while number < end:
                source = at(weight, number * row_bytes)
                token = 0
                while token + 4 <= n_tokens:
                    four(out, q, source, bias, residual, n_columns, out_stride, n_tokens, number, token)
                    token += 4
                if token + 2 <= n_tokens:
                    two(out, q, source, bias, residual, n_columns, out_stride, n_tokens, number, token)
                    token += 2
                if token < n_tokens:
                    one(out, q, source, bias, residual, n_columns, out_stride, n_tokens, number, token)
                number += n

    return multiply


def _quantized(name, kernels):
    block_bytes, block_columns = BLOCKS[name].n_bytes, BLOCKS[name].n_elements
    group, unpack = kernels.group, kernels.unpack
    multiply_one, multiply_few = _one_token(kernels.dot, kernels.dot_four), _few_tokens(kernels.dot)
    multiply_wide = _quantized_tile(WIDE, group, kernels.bits)
    multiply_narrow = _quantized_tile(NARROW, group, kernels.bits)

    def matmul(
        out, x, q, weight, bias, residual, n_rows, n_columns, out_stride, scratch, scratch_bytes,
        n_tokens, position, thread, n_threads,
    ):  # fmt: skip
        row_bytes = n_columns // block_columns * block_bytes
        begin, end = first_row(n_rows, thread, n_threads), first_row(n_rows, thread + 1, n_threads)
        if n_tokens == 1:
            multiply_one(out, q, weight, bias, residual, row_bytes, n_columns, begin, end)
            return
        if n_tokens < MIN_TILE:
            multiply_few(out, q, weight, bias, residual, row_bytes, n_columns, out_stride, n_tokens, begin, end)
            return
        x_codes, d = cast(i8p, q), scales_of(q, n_tokens, n_columns)
        sums = sums32_of(q, n_tokens, n_columns) if group == 32 else sums16_of(q, n_tokens, n_columns)
        n_groups = n_columns // group
        codes = at(scratch, thread * scratch_bytes)
        scales = cast(f32p, at(codes, BAND * n_columns))
        mins = at(scales, BAND * n_groups * 4)
        spilled = at(mins, BAND * n_groups * 4)
        n_vectors = padded(n_tokens) // LANES
        for row in range(begin, end, BAND):
            last = smaller(row + BAND, end)
            n_unpacked = (last - row + R - 1) // R * R
            for r in range(n_unpacked):
                source = at(weight, smaller(row + r, n_rows - 1) * row_bytes)
                place = r * n_groups * 4
                unpack(source, n_columns, at(codes, r * n_columns), at(scales, place), at(mins, place))
            v = 0
            while v < n_vectors:
                n = V if v + V <= n_vectors else 1
                x_place = at(x_codes, v * n_columns * LANES)
                d_place = at(d, v * (n_columns // 32) * LANES * 4)
                sums_place = at(sums, v * n_groups * LANES * 4)
                for r in range(0, n_unpacked, R):
                    rows, place = at(codes, r * n_columns), r * n_groups * 4
                    rows_scales, rows_mins, tile = at(scales, place), at(mins, place), at(spilled, r * n * LANES * 4)
                    if n == V:
                        multiply_wide(tile, rows, rows_scales, rows_mins, x_place, d_place, sums_place, n_columns)
                    else:
                        multiply_narrow(tile, rows, rows_scales, rows_mins, x_place, d_place, sums_place, n_columns)
                copy_rows(out, bias, residual, spilled, n * LANES, v * LANES, n_tokens, row, last, out_stride)
                v += n

    matmul.__name__ = f"matmul_{name}"
    op(f32p, f32p, u8p, u8p, f32p, f32p, u8p)(matmul)


for _name, _row in QUANTIZED.items():
    _quantized(_name, _row)
