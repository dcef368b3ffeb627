"""Operations that treat each element alone, and softmax over rows: the small ops of an MLP.

Threads split the columns where a matmul's output comes in, as it split its rows; else all elements, or for softmax the
rows.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels import elementary
from realizar_lambda.kernels.activations import MIN_TILE, padded
from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.memory import address_of, at, cast, f32p, i32p, larger, smaller, u8p
from realizar_lambda.kernels.shares import part, share
from realizar_lambda.kernels.tile import transpose
from realizar_lambda.kernels.vectors import LANES, fma, load, maximum, splat, store, total, vector

F32 = vector("f32", LANES)
I64 = types.int64


@op(f32p, u8p, f32p, f32p)
def normalise_u8(out, x, multiplier, shift, n, channel_size, out_stride, n_tokens, position, thread, n_threads):
    """u8 inputs to f32: x * multiplier + shift of the input's channel; the padding up to out_stride is 0."""
    for token in range(thread, n_tokens, n_threads):
        row, source = token * out_stride, token * n
        for channel in range(n // channel_size):
            m, s = multiplier[channel], shift[channel]
            for i in range(channel * channel_size, (channel + 1) * channel_size):
                out[row + i] = types.float32(x[source + i]) * m + s
        for i in range(n, out_stride):
            out[row + i] = 0.0


@kernel(F32, f32p, F32, types.float32, types.float32)
def scale_lanes(column, seen, m, s):
    """Scale a column of LANES tokens; `seen` becomes NaN in the lanes of values that are not finite."""
    lanes = load(F32, column, 0)
    store(column, 0, fma(lanes, splat(F32, m), splat(F32, s)))
    return fma(lanes, splat(F32, 0.0), seen)


@kernel(types.void, f32p, f32p, f32p, f32p, I64, I64, I64, I64)
def normalise_lanes(target, x, multiplier, shift, n, channel_size, width, present):
    """Up to LANES tokens scaled and interleaved: (width, LANES) f32 at `target`, a transposed square at a time."""
    seen, more, third, fourth = splat(F32, 0.0), splat(F32, 0.0), splat(F32, 0.0), splat(F32, 0.0)
    for channel in range(n // channel_size):
        m, s = multiplier[channel], shift[channel]
        i, end = channel * channel_size, (channel + 1) * channel_size
        while i + LANES <= end:
            square = at(target, i * LANES * 4)
            if present == LANES:
                transpose(square, at(x, i * 4), n, LANES)
            else:
                transpose(square, at(x, i * 4), n, present)
            for column in range(0, LANES * LANES * 4, LANES * 16):  # four sums, so that none waits for the one before
                seen = scale_lanes(at(square, column), seen, m, s)
                more = scale_lanes(at(square, column + LANES * 4), more, m, s)
                third = scale_lanes(at(square, column + LANES * 8), third, m, s)
                fourth = scale_lanes(at(square, column + LANES * 12), fourth, m, s)
            i += LANES
        while i < end:
            values = at(target, i * LANES * 4)
            for lane in range(LANES):
                values[lane] = x[lane * n + i] if lane < present else types.float32(0.0)
            seen = scale_lanes(values, seen, m, s)
            i += 1
    for i in range(n, width):
        store(target, i * LANES, splat(F32, 0.0))
    store(target, 0, load(F32, target, 0) + (seen + more) + (third + fourth))


@op(f32p, u8p, f32p, f32p, f32p)
def normalise_f32(out, q, x, multiplier, shift, n, channel_size, out_stride, n_tokens, position, thread, n_threads):
    """f32 inputs, scaled as u8 ones are; x * 0 is NaN for an infinity or a NaN, and a sum of those stays one."""
    if address_of(q) != 0 and n_tokens >= MIN_TILE:
        for group in range(thread, padded(n_tokens) // LANES, n_threads):
            first = group * LANES
            target, source = at(cast(f32p, q), first * out_stride * 4), at(x, first * n * 4)
            present = smaller(LANES, n_tokens - first)
            normalise_lanes(target, source, multiplier, shift, n, channel_size, out_stride, present)
        return
    for token in range(thread, n_tokens, n_threads):
        row, source = token * out_stride, token * n
        seen, zero = splat(F32, 0.0), splat(F32, 0.0)
        last = types.float32(0.0)
        for channel in range(n // channel_size):
            m, s = multiplier[channel], shift[channel]
            i, end = channel * channel_size, (channel + 1) * channel_size
            while i + LANES <= end:
                lanes = load(F32, x, source + i)
                seen = fma(lanes, zero, seen)
                store(out, row + i, fma(lanes, splat(F32, m), splat(F32, s)))
                i += LANES
            while i < end:
                value = x[source + i]
                last += value * types.float32(0.0)
                out[row + i] = value * m + s
                i += 1
        for i in range(n, out_stride):
            out[row + i] = 0.0
        out[row] += total(seen) + last


@op(f32p, f32p)
def relu(out, x, width, n_tokens, position, thread, n_threads):
    """max(x, 0); NaN stays NaN."""
    zero = splat(F32, 0.0)
    for row in range(0, n_tokens * width, width):
        i, end = row + share(width, thread, n_threads), row + share(width, thread + 1, n_threads)
        while i + LANES <= end:
            store(out, i, maximum(zero, load(F32, x, i)))
            i += LANES
        while i < end:
            value = x[i]
            out[i] = types.float32(0.0) if value < 0.0 else value
            i += 1


def _map(name, lanes, one):
    def apply(out, x, width, n_tokens, position, thread, n_threads):
        for row in range(0, n_tokens * width, width):
            i, end = row + share(width, thread, n_threads), row + share(width, thread + 1, n_threads)
            while i + LANES <= end:
                store(out, i, lanes(load(F32, x, i)))
                i += LANES
            while i < end:
                out[i] = one(x[i])
                i += 1

    apply.__name__ = name
    return op(f32p, f32p)(apply)


sigmoid = _map("sigmoid", elementary.sigmoid, elementary.sigmoid_1)
tanh = _map("tanh", elementary.tanh, elementary.tanh_1)
gelu = _map("gelu", elementary.gelu_tanh, elementary.gelu_tanh_1)


def _gated(name, lanes, one):
    def apply(out, gate, up, width, n_tokens, position, thread, n_threads):
        for row in range(0, n_tokens * width, width):
            i, end = row + share(width, thread, n_threads), row + share(width, thread + 1, n_threads)
            while i + LANES <= end:
                store(out, i, lanes(load(F32, gate, i)) * load(F32, up, i))
                i += LANES
            while i < end:
                out[i] = one(gate[i]) * up[i]
                i += 1

    apply.__name__ = name
    return op(f32p, f32p, f32p)(apply)


silu_times = _gated("silu_times", elementary.silu, elementary.silu_1)
gelu_times = _gated("gelu_times", elementary.gelu_tanh, elementary.gelu_tanh_1)
gelu_erf = _map("gelu_erf", elementary.gelu_erf, elementary.gelu_erf_1)


@op(f32p, f32p, f32p)
def add(out, x, y, width, n_tokens, position, thread, n_threads):
    """x + y."""
    n = n_tokens * width
    for i in range(share(n, thread, n_threads), share(n, thread + 1, n_threads)):
        out[i] = x[i] + y[i]


@op(f32p, f32p)
def soft_cap(out, x, width, cap, n_tokens, position, thread, n_threads):
    """cap * tanh(x / cap) (Gemma 2)."""
    n = n_tokens * width
    i, end = share(n, thread, n_threads), share(n, thread + 1, n_threads)
    caps, inverse = splat(F32, types.float32(cap)), splat(F32, types.float32(1.0 / cap))
    while i + LANES <= end:
        store(out, i, caps * elementary.tanh(load(F32, x, i) * inverse))
        i += LANES
    while i < end:
        out[i] = types.float32(cap) * elementary.tanh_1(x[i] * types.float32(1.0 / cap))
        i += 1


@op(f32p, f32p)
def multiply(out, x, width, factor, n_tokens, position, thread, n_threads):
    """x * factor."""
    n = n_tokens * width
    for i in range(share(n, thread, n_threads), share(n, thread + 1, n_threads)):
        out[i] = x[i] * types.float32(factor)


@op(f32p, f32p)
def clamp(out, x, width, limit, n_tokens, position, thread, n_threads):
    """x held to [-limit, limit] (MPT); NaN stays NaN."""
    n, most = n_tokens * width, types.float32(limit)
    for i in range(share(n, thread, n_threads), share(n, thread + 1, n_threads)):
        value = x[i]
        value = most if value > most else value
        out[i] = -most if value < -most else value


@op(f32p, f32p)
def last_row(out, x, width, n_tokens, position, thread, n_threads):
    """The last token's row."""
    for i in range(share(width, thread, n_threads), share(width, thread + 1, n_threads)):
        out[i] = x[(n_tokens - 1) * width + i]


@op(i32p, f32p)
def argmax(out, x, width, n_tokens, position, thread, n_threads):
    """The index of the first largest value of each row; -1 where the row holds a NaN."""
    for token in range(thread, n_tokens, n_threads):
        row = token * width
        best, seen_nan = I64(0), False
        for i in range(width):
            value = x[row + i]
            if value != value:
                seen_nan = True
            if value > x[row + best]:
                best = i
        out[token] = types.int32(-1) if seen_nan else types.int32(best)


@op(f32p, f32p)
def softmax(out, x, width, n_tokens, position, thread, n_threads):
    """e**x over its sum, each row less its maximum first. A NaN in a row makes the row NaN."""
    begin, end = part(n_tokens, thread, n_threads), part(n_tokens, thread + 1, n_threads)
    for token in range(begin, end):
        row = token * width
        greatest = x[row]
        for i in range(1, width):
            greatest = larger(greatest, x[row + i])
        for i in range(width):
            out[row + i] = x[row + i] - greatest
    place = begin * width
    while place + LANES <= end * width:  # rows are narrow: vectors go across them
        store(out, place, elementary.exp(load(F32, out, place)))
        place += LANES
    while place < end * width:
        out[place] = elementary.exp_1(out[place])
        place += 1
    for token in range(begin, end):
        row = token * width
        denominator = types.float32(0.0)
        for i in range(width):
            denominator += out[row + i]
        scale = types.float32(1.0) / denominator
        for i in range(width):
            out[row + i] *= scale
