"""Activations made ready for a matmul: quantised to int8, or interleaved by tokens. No weights here.

Quantised (`quantize`): every 32 values of a token share a scale d near max|x| / 127 and become codes round(x / d),
finer than ggml's K-types, which share one scale among 256. A matmul with an offset per group also needs the sums
d * (codes' sum) per 16 and per 32 values. Few tokens lie in slices (`slices.py`).

Interleaved: from `MIN_TILE` tokens on a matmul holds one token in each lane of a vector, so tokens are taken in
groups of LANES (n rounded up, the missing ones zero) and within a group the token is the fastest index. Of `width`
values of each token the buffer holds, one after another,

    codes (group, width/4, LANES, 4) i8    scales (group, width/32, LANES) f32
    sums (group, width/16, LANES) f32      sums (group, width/32, LANES) f32
    dense: x (group, width, LANES) f32
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.memory import at, cast, f32p, i8p, on_stack, smaller, u8p
from realizar_lambda.kernels.shares import part
from realizar_lambda.kernels.slices import FOURS, SCALES, SLICE_BYTES, SLICE_GROUPS, SUMS16, SUMS32
from realizar_lambda.kernels.tile import transpose
from realizar_lambda.kernels.vectors import (
    LANES,
    convert,
    fma,
    load,
    magnitude,
    maximum,
    nearest,
    select_less,
    shift_left,
    splat,
    store,
    vector,
)

I64, f32 = types.int64, types.float32
F32 = vector("f32", LANES)
I32 = vector("i32", LANES)
I8x16 = vector("i8", 16)
MIN_TILE = ops.MIN_TILE_TOKENS
GROUP, QUADS, SQUARES, FLOATS = 32 * LANES, 8 * LANES, 2 * LANES * LANES, 4 * LANES


@kernel(I64, I64)
def padded(n_tokens):
    """How many tokens a buffer of activations is laid out for."""
    return n_tokens if n_tokens < MIN_TILE else (n_tokens + LANES - 1) // LANES * LANES


@kernel(f32p, u8p, I64, I64)
def scales_of(q, n_tokens, width):
    """The scales of a quantised buffer of many tokens."""
    return cast(f32p, at(q, padded(n_tokens) * width))


@kernel(f32p, u8p, I64, I64)
def sums16_of(q, n_tokens, width):
    """Its sums per 16 values."""
    return cast(f32p, at(q, padded(n_tokens) * (width + width // 8)))


@kernel(f32p, u8p, I64, I64)
def sums32_of(q, n_tokens, width):
    """Its sums per 32 values."""
    return cast(f32p, at(q, padded(n_tokens) * (width + width // 8 + width // 4)))


@op(u8p, f32p)
def quantize(q, x, width, n_tokens, position, thread, n_threads):
    """Quantise x (n_tokens, width), into slices below MIN_TILE tokens, interleaved from there on."""
    n_groups = width // 32
    first, end = part(n_groups, thread, n_threads), part(n_groups, thread + 1, n_threads)
    if n_tokens < MIN_TILE:
        for token in range(n_tokens):
            for g in range(first, end, LANES):
                source = at(x, (token * width + g * 32) * 4)
                quantize_groups(at(q, token * SLICE_BYTES), n_tokens * SLICE_BYTES, source, g, smaller(LANES, end - g))
        return
    codes, scales = cast(i8p, q), scales_of(q, n_tokens, width)
    sums16, sums32 = sums16_of(q, n_tokens, width), sums32_of(q, n_tokens, width)
    for base in range(0, padded(n_tokens), LANES):
        for g in range(first, end):
            unit = base // LANES * n_groups + g
            quantize_lanes(
                at(codes, base * width + g * 32 * LANES),
                at(scales, unit * LANES * 4),
                at(sums16, unit * LANES * 8),
                at(sums32, unit * LANES * 4),
                at(x, (base * width + g * 32) * 4),
                width,
                smaller(LANES, n_tokens - base),
            )


@kernel(F32, f32p, F32, F32)
def squared_error(columns, inverse, minus_d):
    """What rounding 32 columns costs each lane."""
    even, odd = splat(F32, 0.0), splat(F32, 0.0)
    for j in range(0, 32, 2):
        a, b = load(F32, columns, j * LANES), load(F32, columns, (j + 1) * LANES)
        off_a = fma(nearest(a * inverse), minus_d, a)
        off_b = fma(nearest(b * inverse), minus_d, b)
        even, odd = fma(off_a, off_a, even), fma(off_b, off_b, odd)
    return even + odd


@kernel(F32, f32p)
def best_scales(columns):
    """The scale for each lane's 32 values: of six that map the largest to 127, 126.25, ... the one that rounds with the
    least squared error. Rounding errors of 32 values vary by chance, so choosing lowers their expectation: the logits'
    error falls by a tenth against taking the first."""
    biggest, fault = splat(F32, 0.0), splat(F32, 0.0)
    for j in range(32):
        values = load(F32, columns, j * LANES)
        biggest = maximum(magnitude(values), biggest)
        fault = fma(values, splat(F32, 0.0), fault)  # NaN for a NaN or an infinity: the scale then becomes one
    best, least = splat(F32, 0.0), splat(F32, 0.0)
    for candidate in range(6):
        levels = splat(F32, f32(127.0) - f32(0.75) * f32(candidate))
        d, inverse = biggest / levels, levels / biggest
        error = squared_error(columns, inverse, splat(F32, 0.0) - d)
        if candidate == 0:
            best, least = d, error
        else:
            best, least = select_less(error, least, d, best), select_less(error, least, error, least)
    return best + fault


@kernel(types.void, i8p, f32p, f32p, f32p, f32p, I64, I64, is_apart=True)
def quantize_lanes(codes, scales, sums16, sums32, x, width, n):
    """Quantise 32 values of each of LANES places `width` apart into the interleaved layout; zeros from place n on."""
    columns = on_stack(GROUP)
    for j in range(0, 32, LANES):
        transpose(at(columns, j * LANES * 4), at(x, j * 4), width, n)
    d, zero, mask = best_scales(columns), splat(F32, 0.0), splat(I32, 255)
    inverse = select_less(zero, d, splat(F32, 1.0) / d, zero)
    both = zero
    for half in range(2):
        sum_ = splat(I32, 0)
        for j in range(half * 16, half * 16 + 16, 4):
            n0 = convert(I32, nearest(load(F32, columns, j * LANES) * inverse))
            n1 = convert(I32, nearest(load(F32, columns, (j + 1) * LANES) * inverse))
            n2 = convert(I32, nearest(load(F32, columns, (j + 2) * LANES) * inverse))
            n3 = convert(I32, nearest(load(F32, columns, (j + 3) * LANES) * inverse))
            lower = (n0 & mask) | shift_left(n1 & mask, 8)
            store(codes, j * LANES, lower | shift_left(n2 & mask, 16) | shift_left(n3, 24))
            sum_ = sum_ + n0 + n1 + n2 + n3
        scaled_sum = d * convert(F32, sum_)
        store(sums16, half * LANES, scaled_sum)
        both = both + scaled_sum
    store(scales, 0, d)
    store(sums32, 0, both)


@kernel(types.void, u8p, I64, f32p, I64, I64)
def quantize_groups(slices, next_slice, x, first, n):
    """Quantise a token's `n` groups of 32 columns, at most LANES, from group `first` on, whose values are at x.

    The token's slices begin at `slices` and lie `next_slice` bytes apart.
    """
    quads, halves, floats = on_stack(QUADS), on_stack(SQUARES), on_stack(FLOATS)
    sixteens, wholes = at(floats, LANES * 4), at(floats, LANES * 12)
    quantize_lanes(cast(i8p, quads), floats, sixteens, wholes, x, 32, n)
    for half in range(2):  # its four quads of each lane beside each other
        transpose(at(halves, half * LANES * LANES * 4), at(quads, half * LANES * 16), LANES, 4)
    for lane in range(n):
        group = (first + lane) % SLICE_GROUPS
        put = at(slices, (first + lane) // SLICE_GROUPS * next_slice)
        codes, scales, sums32 = cast(i8p, put), cast(f32p, at(put, SCALES)), cast(f32p, at(put, SUMS32))
        sums16 = cast(f32p, at(put, SUMS16))
        scales[group], sums32[group] = floats[lane], wholes[lane]
        sums16[2 * group], sums16[2 * group + 1] = sixteens[lane], sixteens[LANES + lane]
        lower, upper = load(I8x16, halves, lane * LANES), load(I8x16, halves, (LANES + lane) * LANES)
        store(codes, group * 32, lower)
        store(codes, group * 32 + 16, upper)
        fours = FOURS + group % 2 * 128 + group // 2 * 16
        store(codes, fours, lower)
        store(codes, fours + 64, upper)


@op(u8p, f32p)
def interleave(q, x, width, n_tokens, position, thread, n_threads):
    """Transpose x (n_tokens, width) into groups of LANES tokens; nothing to do below MIN_TILE."""
    if n_tokens >= MIN_TILE:
        interleave_rows(cast(f32p, q), x, width, n_tokens, thread, n_threads)


@kernel(types.void, f32p, f32p, I64, I64, I64, I64)
def interleave_rows(out, x, width, n_tokens, thread, n_threads):
    """Groups of LANES rows of x, transposed, a thread every n_threads-th; zeros after the last row."""
    for group in range(thread, (n_tokens + LANES - 1) // LANES, n_threads):
        first = group * LANES
        target, source = at(out, first * width * 4), at(x, first * width * 4)
        present = smaller(LANES, n_tokens - first)
        i = 0
        while i + LANES <= width:
            if present == LANES:
                transpose(at(target, i * LANES * 4), at(source, i * 4), width, LANES)
            else:
                transpose(at(target, i * LANES * 4), at(source, i * 4), width, present)
            i += LANES
        while i < width:
            for lane in range(LANES):
                target[i * LANES + lane] = source[lane * width + i] if lane < present else types.float32(0.0)
            i += 1
