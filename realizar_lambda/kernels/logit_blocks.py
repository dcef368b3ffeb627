"""Passes over all logits, in blocks whose largest values and sums let later passes skip most of them.

z (n_blocks * BLOCK,) f32 holds the logits, and -infinity after them. Sums are f64, eight lanes in one order.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.doubles import F64, exp_f64
from realizar_lambda.kernels.doubles import LANES as LANES_F64
from realizar_lambda.kernels.memory import f32p, f64p, i32p
from realizar_lambda.kernels.vectors import LANES, convert, largest, load, maximum, splat, store, total, vector

I64, f32, f64 = types.int64, types.float32, types.float64
F32 = vector("f32", LANES)
F32_OF_F64 = vector("f32", LANES_F64)

BLOCK = ops.SAMPLING_BLOCK
MINUS_INFINITY = float("-inf")


@kernel(I64, f32p, f32p, I64, I64)
def copy_finite(out, x, n, n_padded):
    """out (n_padded,) = x (n,), then -infinity; the index of the first NaN or +infinity, or -1."""
    faults = splat(F32, 0.0)
    zeros = splat(F32, 0.0)
    i = 0
    while i + LANES <= n:
        v = load(F32, x, i)
        store(out, i, v)
        faults = faults + v * zeros
        i += LANES
    is_suspect = total(faults) != f32(0.0)
    for j in range(i, n):
        out[j] = x[j]
        is_suspect = is_suspect or x[j] * f32(0.0) != f32(0.0)
    for j in range(n, n_padded):
        out[j] = f32(MINUS_INFINITY)
    if is_suspect:
        for j in range(n):
            if x[j] != x[j] or x[j] == f32(float("inf")):
                return j
    return -1


@kernel(I64, f32p, f32p, I64)
def block_maxima(maxima, z, n_blocks):
    """maxima (n_blocks,) = the largest of each block of z; the index of the first largest of all."""
    best = 0
    for block in range(n_blocks):
        v = load(F32, z, block * BLOCK)
        for i in range(block * BLOCK + LANES, (block + 1) * BLOCK, LANES):
            v = maximum(v, load(F32, z, i))
        maxima[block] = largest(v)
        if maxima[block] > maxima[best]:
            best = block
    i = best * BLOCK
    while z[i] < maxima[best]:
        i += 1
    return i


@kernel(f64, f64p, f32p, I64, f64, f64)
def block_sums(sums, z, n_blocks, greatest, inverse):
    """sums (n_blocks,) = the sum over each block of e**((z - greatest) * inverse); their sum."""
    result = 0.0
    shift, factor = splat(F64, greatest), splat(F64, inverse)
    for block in range(n_blocks):
        acc = splat(F64, 0.0)
        for i in range(block * BLOCK, (block + 1) * BLOCK, LANES_F64):
            level = (convert(F64, load(F32_OF_F64, z, i)) - shift) * factor
            acc = acc + exp_f64(level)
        sums[block] = total(acc)
        result += sums[block]
    return result


@kernel(I64, i32p, f32p, f32p, I64, f32)
def gather(which, z, maxima, n_blocks, least):
    """The tokens whose z is at least `least` and more than -infinity, in order; how many."""
    n = 0
    for block in range(n_blocks):
        if maxima[block] >= least:
            for i in range(block * BLOCK, (block + 1) * BLOCK):
                if z[i] >= least and z[i] > f32(MINUS_INFINITY):
                    which[n] = i
                    n += 1
    return n


@kernel(types.void, f64p, i32p, f32p, I64, f64, f64)
def weigh(weights, which, z, n, greatest, inverse):
    """weights (n,) = e**((z[which] - greatest) * inverse); weights has room for whole vectors."""
    for i in range(n):
        weights[i] = (f64(z[which[i]]) - greatest) * inverse
    for i in range(n, (n + LANES_F64 - 1) // LANES_F64 * LANES_F64):
        weights[i] = 0.0
    for i in range(0, n, LANES_F64):
        store(weights, i, exp_f64(load(F64, weights, i)))


@kernel(f64, f64p, I64)
def sum_in_order(x, n):
    result = 0.0
    for i in range(n):
        result += x[i]
    return result
