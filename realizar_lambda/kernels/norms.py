"""RMSNorm and LayerNorm, over f32 lanes with f32 sums in a fixed order. Threads split the rows."""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.memory import at, f32p
from realizar_lambda.kernels.vectors import LANES, fma, lane, load, splat, square_root, store, total, vector

I64, f32 = types.int64, types.float32
F32 = vector("f32", LANES)


@kernel(f32, f32)
def inverse_root(x):
    """1 / sqrt(x)."""
    return f32(1.0) / lane(square_root(splat(F32, x)), 0)


@kernel(f32, f32p, I64, f32)
def squares(x, width, mean):
    """The sum of (x - mean)**2."""
    middle, acc0, acc1 = splat(F32, mean), splat(F32, 0.0), splat(F32, 0.0)
    i = 0
    while i + 2 * LANES <= width:
        a, b = load(F32, x, i) - middle, load(F32, x, i + LANES) - middle
        acc0, acc1 = fma(a, a, acc0), fma(b, b, acc1)
        i += 2 * LANES
    result = total(acc0 + acc1)
    while i < width:
        result += (x[i] - mean) * (x[i] - mean)
        i += 1
    return result


@kernel(f32, f32p, I64)
def sum_of(x, width):
    """The sum of x."""
    acc0, acc1 = splat(F32, 0.0), splat(F32, 0.0)
    i = 0
    while i + 2 * LANES <= width:
        acc0, acc1 = acc0 + load(F32, x, i), acc1 + load(F32, x, i + LANES)
        i += 2 * LANES
    result = total(acc0 + acc1)
    while i < width:
        result += x[i]
        i += 1
    return result


@op(f32p, f32p, f32p)
def rms_norm(out, x, weight, width, n_groups, epsilon, n_tokens, position, thread, n_threads):
    """x / sqrt(mean(x**2) + epsilon) * weight (Zhang and Sennrich, 2019)."""
    for row in range(thread, n_tokens * n_groups, n_threads):
        source, target = at(x, row * width * 4), at(out, row * width * 4)
        scale = inverse_root(squares(source, width, f32(0.0)) / f32(width) + f32(epsilon))
        scales = splat(F32, scale)
        i = 0
        while i + LANES <= width:
            store(target, i, load(F32, source, i) * scales * load(F32, weight, i))
            i += LANES
        while i < width:
            target[i] = source[i] * scale * weight[i]
            i += 1


@op(f32p, f32p, f32p, f32p)
def layer_norm(out, x, weight, bias, width, epsilon, n_tokens, position, thread, n_threads):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias (Ba and others, 2016)."""
    for row in range(thread, n_tokens, n_threads):
        source, target = at(x, row * width * 4), at(out, row * width * 4)
        mean = sum_of(source, width) / f32(width)
        scale = inverse_root(squares(source, width, mean) / f32(width) + f32(epsilon))
        for i in range(width):
            target[i] = (source[i] - mean) * scale * weight[i] + bias[i]
