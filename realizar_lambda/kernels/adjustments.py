"""What changes logits before a draw: biases, penalties, bans; and what is read from them unchanged: logprobs."""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.doubles import log_f64
from realizar_lambda.kernels.logit_blocks import BLOCK, MINUS_INFINITY, block_sums
from realizar_lambda.kernels.memory import cast, f32p, f64p, i32p, i64p, larger, smaller

I64, f32, f64 = types.int64, types.float32, types.float64

WORD = ops.SAMPLING
HISTORY, N_PROMPT, N_HISTORY = WORD["history"], WORD["n_prompt"], WORD["n_history"]
WINDOW, REPETITION = WORD["window"], WORD["repetition_penalty"]
PRESENCE, FREQUENCY = WORD["presence_penalty"], WORD["frequency_penalty"]
BIAS_IDS, BIAS_VALUES, N_BIAS = WORD["bias_ids"], WORD["bias_values"], WORD["n_bias"]
BANNED, N_BANNED = WORD["banned"], WORD["n_banned"]
STOP_IDS, N_STOP = WORD["stop_ids"], WORD["n_stop"]
MIN_TOKENS, N_DRAWN = WORD["min_tokens"], WORD["n_drawn"]
N_TOP, N_LISTED, LOGPROB = WORD["n_top"], WORD["n_listed"], WORD["logprob"]
TOP_IDS, TOP_LOGPROBS = WORD["top_ids"], WORD["top_logprobs"]


@kernel(types.void, i64p, f32p, i32p)
def adjust(record, z, counts):
    """Biases, penalties and bans, in place."""
    numbers = cast(f64p, record)
    ids, values = cast(i32p, record[BIAS_IDS]), cast(f32p, record[BIAS_VALUES])
    for i in range(record[N_BIAS]):
        z[ids[i]] += values[i]
    repetition, presence, frequency = numbers[REPETITION], numbers[PRESENCE], numbers[FREQUENCY]
    if repetition != 1.0 or presence != 0.0 or frequency != 0.0:
        history, n_prompt, n = cast(i32p, record[HISTORY]), record[N_PROMPT], record[N_HISTORY]
        begin = larger(n - record[WINDOW], 0) if record[WINDOW] > 0 else 0
        for i in range(begin, n):  # bit 0: the token is there; above it: how often it was drawn
            token = history[i]
            counts[token] = (counts[token] | 1) + (2 if i >= n_prompt else 0)
        for i in range(begin, n):
            token = history[i]
            count = counts[token]
            if count != 0:
                counts[token] = 0
                value = f64(z[token])
                value = value / repetition if value > 0.0 else value * repetition
                drawn = count >> 1
                if drawn > 0:
                    value -= presence + frequency * drawn
                z[token] = f32(value)
    banned = cast(i32p, record[BANNED])
    for i in range(record[N_BANNED]):
        z[banned[i]] = f32(MINUS_INFINITY)
    if record[N_DRAWN] < record[MIN_TOKENS]:
        stops = cast(i32p, record[STOP_IDS])
        for i in range(record[N_STOP]):
            z[stops[i]] = f32(MINUS_INFINITY)


@kernel(types.void, i64p, f32p, f64p, f32p, I64, I64)
def measure(record, z, sums, maxima, n_blocks, best):
    """The log of the sum of exponentials of the raw logits, into the record, and the best tokens with theirs."""
    numbers = cast(f64p, record)
    greatest = f64(z[best])
    normaliser = greatest + log_f64(block_sums(sums, z, n_blocks, greatest, 1.0))
    numbers[LOGPROB] = normaliser
    ids, logprobs, wanted = cast(i32p, record[TOP_IDS]), cast(f64p, record[TOP_LOGPROBS]), record[N_TOP]
    n = 0
    for block in range(n_blocks if wanted > 0 else 0):
        if n == wanted and f64(maxima[block]) - normaliser <= logprobs[n - 1]:
            continue
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            value = f64(z[i]) - normaliser
            if n == wanted and value <= logprobs[n - 1]:
                continue
            if z[i] == f32(MINUS_INFINITY):
                continue
            place = n if n < wanted else n - 1
            while place > 0 and logprobs[place - 1] < value:
                logprobs[place] = logprobs[place - 1]
                ids[place] = ids[place - 1]
                place -= 1
            logprobs[place] = value
            ids[place] = i
            n = smaller(n + 1, wanted)
    record[N_LISTED] = n
