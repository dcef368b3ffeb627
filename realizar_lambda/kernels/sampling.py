"""The next token out of logits, in one call: penalties, truncation, a draw. It knows no model and no text.

The record is `ops.SAMPLING`. In order: biases are added to the logits, then the penalties are applied and banned
tokens taken out; the logits are divided by the temperature; then top-k, top-p, min-p and typical sampling
(Meister et al., 2023) each keep some of the tokens that the one before left, and the draw is among the rest, by
their probabilities, in the order of their ids.

Random numbers are SplitMix64's (Steele, Lea and Flood, 2014): draw number i of a seed s is
mix(s + (i + 1) * 0x9E3779B97F4A7C15), its upper 53 bits as a fraction. Exponentials and sums are f64, in one order
on every target.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.adjustments import adjust, measure
from realizar_lambda.kernels.compiler import export, kernel
from realizar_lambda.kernels.doubles import log_f64
from realizar_lambda.kernels.logit_blocks import (
    BLOCK,
    MINUS_INFINITY,
    block_maxima,
    block_sums,
    copy_finite,
    gather,
    sum_in_order,
    weigh,
)
from realizar_lambda.kernels.memory import at, cast, f32p, f64p, i32p, i64p, smaller, u32p
from realizar_lambda.kernels.selection import BUCKETS, ascending_key, descending_key, keep_best

I64, f32, f64 = types.int64, types.float32, types.float64

NOT_FINITE, ALL_BANNED = -1, -2
LOOSE = 1e-6  # a bound on logits that only saves work is this much too low
WORD = ops.SAMPLING
LOGITS, N_VOCAB, SCRATCH = WORD["logits"], WORD["n_vocab"], WORD["scratch"]
HISTORY, N_HISTORY = WORD["history"], WORD["n_history"]
SEED, N_DRAWN, TEMPERATURE = WORD["seed"], WORD["n_drawn"], WORD["temperature"]
TOP_K, TOP_P, MIN_P, TYPICAL_P = WORD["top_k"], WORD["top_p"], WORD["min_p"], WORD["typical_p"]
WANTS_LOGPROBS, LOGPROB, FAULT_AT = WORD["wants_logprobs"], WORD["logprob"], WORD["fault_at"]


@kernel(f64, I64, I64)
def fraction(seed, number):
    """Random number `number` of a seed, in [0, 1), a multiple of 2**-53."""
    x = seed + (number + 1) * -7046029254386353131  # 0x9E3779B97F4A7C15
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * -7723592293110705685  # 0x94D049BB133111EB
    x = x ^ ((x >> 31) & ((1 << 33) - 1))
    return f64((x >> 11) & ((1 << 53) - 1)) * 1.1102230246251565e-16


@kernel(types.void, f64p, u32p, i32p, f32p, I64)
def count_by_logit(weights, keys, which, z, n):
    """Each candidate weighs 1, the greatest logit is the best."""
    for i in range(n):
        weights[i] = 1.0
        keys[i] = descending_key(z[which[i]])


@kernel(f32, f64p, i32p, u32p, f64p, f32p, I64, I64)
def least_of_best(histogram, which, keys, weights, maxima, n_blocks, k):
    """A logit that at least k tokens reach: the k-th largest of the blocks' maxima."""
    if n_blocks <= k:
        return f32(MINUS_INFINITY)
    for block in range(n_blocks):
        which[block] = block
    count_by_logit(weights, keys, which, maxima, n_blocks)
    n = keep_best(histogram, which, keys, weights, n_blocks, f64(k))
    least = maxima[which[0]]
    for i in range(1, n):
        least = smaller(least, maxima[which[i]])
    return least


@kernel(types.void, u32p, f64p, i32p, f32p, I64, f64, f64)
def typical_keys(keys, weights, which, z, n, greatest, inverse):
    """How far each candidate's surprise, -log p, lies from the entropy."""
    mass = sum_in_order(weights, n)
    log_mass = log_f64(mass)
    entropy = 0.0
    for i in range(n):
        entropy += weights[i] / mass * (log_mass - (f64(z[which[i]]) - greatest) * inverse)
    for i in range(n):
        surprise = log_mass - (f64(z[which[i]]) - greatest) * inverse
        keys[i] = ascending_key(abs(surprise - entropy))


@kernel(I64, f64p, I64, f64)
def draw(weights, n, target):
    """The first index at which the weights add up to more than `target`, or the last that weighs anything."""
    reached = 0.0
    last = 0
    for i in range(n):
        if weights[i] > 0.0:
            reached += weights[i]
            last = i
            if reached > target:
                break
    return last


@kernel(I64, i64p, f32p, f32p, I64, I64, f64p, f64p, f64p, i32p, u32p)
def choose(record, z, maxima, n_blocks, best, histogram, sums, weights, which, keys):
    """Truncate and draw; the token."""
    numbers = cast(f64p, record)
    top_k, top_p, min_p, typical_p = record[TOP_K], numbers[TOP_P], numbers[MIN_P], numbers[TYPICAL_P]
    temperature, greatest = numbers[TEMPERATURE], f64(z[best])
    if temperature == 0.0 or top_k == 1:
        return best
    inverse = 1.0 / temperature
    random = fraction(record[SEED], record[N_DRAWN])
    cuts_count = 0 < top_k < record[N_VOCAB]
    if not cuts_count and top_p >= 1.0 and min_p <= 0.0 and typical_p >= 1.0:
        target = random * block_sums(sums, z, n_blocks, greatest, inverse)
        block = draw(sums, n_blocks, target)
        for i in range(BLOCK):
            which[i] = block * BLOCK + i
        weigh(weights, which, z, BLOCK, greatest, inverse)
        return which[draw(weights, BLOCK, target - sum_in_order(sums, block))]
    mass = 0.0
    least = f32(MINUS_INFINITY)
    if cuts_count:
        least = least_of_best(histogram, which, keys, weights, maxima, n_blocks, top_k)
    elif top_p < 1.0:
        # tokens below (1 - top_p) * mass / n weigh less than 1 - top_p together: the best top_p lacks them
        mass = block_sums(sums, z, n_blocks, greatest, inverse)
        level = log_f64((1.0 - top_p) * mass / f64(record[N_VOCAB])) * (1.0 + LOOSE) - LOOSE
        least = f32(greatest + level * temperature - LOOSE * abs(greatest))
    elif min_p > 0.0:
        least = f32(greatest + (log_f64(min_p) * (1.0 + LOOSE) - LOOSE) * temperature - LOOSE * abs(greatest))
    n = gather(which, z, maxima, n_blocks, least)
    if cuts_count and n > top_k:
        count_by_logit(weights, keys, which, z, n)
        n = keep_best(histogram, which, keys, weights, n, f64(top_k))
    weigh(weights, which, z, n, greatest, inverse)
    if top_p < 1.0:
        for i in range(n):
            keys[i] = descending_key(z[which[i]])
        if cuts_count:
            mass = sum_in_order(weights, n)
        n = keep_best(histogram, which, keys, weights, n, top_p * mass)
    if min_p > 0.0:
        n_kept = 0
        for i in range(n):
            if weights[i] >= min_p:
                which[n_kept], weights[n_kept] = which[i], weights[i]
                n_kept += 1
        n = n_kept
    if typical_p < 1.0:
        typical_keys(keys, weights, which, z, n, greatest, inverse)
        n = keep_best(histogram, which, keys, weights, n, typical_p * sum_in_order(weights, n))
    return which[draw(weights, n, random * sum_in_order(weights, n))]


@export
def realizar_sample(record):
    """Draw a token from the logits of a record and append it to the history; the token, or a fault."""
    words, numbers = cast(i64p, record), cast(f64p, record)
    n_vocab = words[N_VOCAB]
    n_blocks = (n_vocab + BLOCK - 1) // BLOCK
    n = n_blocks * BLOCK
    logits = cast(f32p, words[LOGITS])
    histogram = cast(f64p, words[SCRATCH])
    weights = at(histogram, (BUCKETS + 8) * 8)
    sums = at(weights, n * 8)
    z = cast(f32p, at(sums, n_blocks * 8))
    which = cast(i32p, at(z, n * 4))
    keys = cast(u32p, at(which, n * 4))
    counts = cast(i32p, at(keys, n * 4))
    maxima = cast(f32p, at(counts, n * 4))
    fault = copy_finite(z, logits, n_vocab, n)
    if fault >= 0:
        words[FAULT_AT] = fault
        return NOT_FINITE
    if words[WANTS_LOGPROBS] != 0:
        best = block_maxima(maxima, z, n_blocks)
        if z[best] > f32(MINUS_INFINITY):
            measure(words, z, sums, maxima, n_blocks, best)
    adjust(words, z, counts)
    best = block_maxima(maxima, z, n_blocks)
    if z[best] == f32(MINUS_INFINITY):
        return ALL_BANNED
    if z[best] - z[best] != f32(0.0):
        words[FAULT_AT] = best
        return NOT_FINITE
    token = choose(words, z, maxima, n_blocks, best, histogram, sums, weights, which, keys)
    if words[WANTS_LOGPROBS] != 0:
        numbers[LOGPROB] = f64(logits[token]) - numbers[LOGPROB]
    cast(i32p, words[HISTORY])[words[N_HISTORY]] = token
    words[N_HISTORY] += 1
    words[N_DRAWN] += 1
    return token
