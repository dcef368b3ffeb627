"""The best of many by a threshold, without sorting: a radix search for the key at which enough has been taken.

A candidate has a key (u32, the smallest is the best) and a weight. It knows no tokens.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.memory import f32_to_bits, f64p, i32p, u32p

I64, f32, f64, u32 = types.int64, types.float32, types.float64, types.uint32

BUCKETS = ops.SAMPLING_BUCKETS
SIGN = 0x80000000
ALL = 0xFFFFFFFF


@kernel(I64, f32)
def descending_key(x):
    """A key by which greater f32 come first; not for NaN. -0 is taken for 0."""
    bits = I64(f32_to_bits(x + f32(0.0)))
    return bits if bits >= SIGN else (ALL ^ bits) & (SIGN - 1)


@kernel(I64, f64)
def ascending_key(x):
    """A key by which smaller non-negative numbers come first, rounded to f32."""
    return I64(f32_to_bits(f32(x)))


@kernel(I64, f64p, u32p, f64p, I64, f64)
def threshold(histogram, keys, weights, n, target):
    """The key at which the weights of the best candidates add up to `target`: those below it alone do not.

    histogram (BUCKETS + 1,) is working memory; its last element becomes the weight of all keys below the result.
    """
    taken = 0.0
    prefix = 0
    mask = 0
    shift = 21
    while shift >= 0:
        n_buckets = BUCKETS if shift > 0 else BUCKETS // 2
        for bucket in range(n_buckets):
            histogram[bucket] = 0.0
        for i in range(n):
            key = I64(keys[i])
            if key & mask == prefix:
                histogram[(key >> shift) & (n_buckets - 1)] += weights[i]
        found = 0
        last = -1  # rounding may keep the sum below the target: then the last that holds anything is the one
        for bucket in range(n_buckets):
            if histogram[bucket] > 0.0:
                last = bucket
        for bucket in range(n_buckets):
            found = bucket
            if bucket == last or taken + histogram[bucket] >= target:
                break
            taken += histogram[bucket]
        prefix |= found << shift
        mask |= (n_buckets - 1) << shift
        shift = shift - 11 if shift == 21 else shift - 10
    histogram[BUCKETS] = taken
    return prefix


@kernel(I64, f64p, i32p, u32p, f64p, I64, f64)
def keep_best(histogram, which, keys, weights, n, target):
    """Keep the best candidates until their weights add up to `target`, in place and in their order; how many.

    Of equal keys at the threshold the first are kept. At least one candidate is.
    """
    limit = threshold(histogram, keys, weights, n, target)
    taken = histogram[BUCKETS]
    n_kept = 0
    for i in range(n):
        key = I64(keys[i])
        if key > limit or (key == limit and taken >= target):
            continue
        if key == limit:
            taken += weights[i]
        which[n_kept] = which[i]
        keys[n_kept] = keys[i]
        weights[n_kept] = weights[i]
        n_kept += 1
    return n_kept
