"""Rotary position embedding: the angles once per run, then the turning of queries and keys.

Frequencies and angles are f64, so a position of 100,000 still has an angle exact to f32: sine and cosine are
Taylor polynomials after reduction to |x| <= pi/4 by multiples of pi/2 in two parts (error below 1e-13).
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import kernel, op
from realizar_lambda.kernels.memory import f32p, f64p
from realizar_lambda.kernels.shares import part

f32, f64, I64 = types.float32, types.float64, types.int64


@kernel(f64, f64)
def _sine(r):
    s = r * r
    p = 1.0 / 6227020800.0
    p = p * s - 1.0 / 39916800.0
    p = p * s + 1.0 / 362880.0
    p = p * s - 1.0 / 5040.0
    p = p * s + 1.0 / 120.0
    p = p * s - 1.0 / 6.0
    return r + r * s * p


@kernel(f64, f64)
def _cosine(r):
    s = r * r
    p = 1.0 / 479001600.0
    p = p * s - 1.0 / 3628800.0
    p = p * s + 1.0 / 40320.0
    p = p * s - 1.0 / 720.0
    p = p * s + 1.0 / 24.0
    p = p * s - 0.5
    return 1.0 + s * p


@op(f32p, f64p)
def rope_angles(angles, frequencies, n, magnitude, n_tokens, position, thread, n_threads):
    """cos and sin of position * frequency, times `magnitude` (YaRN's attention factor; 1 without)."""
    for token in range(thread, n_tokens, n_threads):
        for i in range(n):
            x = f64(position + token) * frequencies[i]
            turns = I64(x * 0.6366197723675814 + 0.5)
            r = x - f64(turns) * 1.5707963267341256 - f64(turns) * 6.077100506506192e-11
            sine, cosine = _sine(r), _cosine(r)
            quarter = turns & 3
            if quarter == 1:
                sine, cosine = cosine, -sine
            elif quarter == 2:
                sine, cosine = -sine, -cosine
            elif quarter == 3:
                sine, cosine = -cosine, sine
            angles[(token * n + i) * 2] = f32(cosine * magnitude)
            angles[(token * n + i) * 2 + 1] = f32(sine * magnitude)


@op(f32p, f32p)
def rope_pairs(x, angles, n, n_heads, head_width, n_tokens, position, thread, n_threads):
    """Turn neighbours (x[2i], x[2i + 1]) of each head: the layout of the LLaMA paper."""
    n_units = n_heads * n_tokens
    for unit in range(part(n_units, thread, n_threads), part(n_units, thread + 1, n_threads)):
        token = unit % n_tokens
        head, turn = (token * n_heads + unit // n_tokens) * head_width, token * n * 2
        for i in range(n):
            cosine, sine = angles[turn + 2 * i], angles[turn + 2 * i + 1]
            a, b = x[head + 2 * i], x[head + 2 * i + 1]
            x[head + 2 * i] = a * cosine - b * sine
            x[head + 2 * i + 1] = a * sine + b * cosine


@op(f32p, f32p)
def rope_halves(x, angles, n, n_heads, head_width, n_tokens, position, thread, n_threads):
    """Turn (x[i], x[i + n]) of each head: the layout of GPT-NeoX."""
    n_units = n_heads * n_tokens
    for unit in range(part(n_units, thread, n_threads), part(n_units, thread + 1, n_threads)):
        token = unit % n_tokens
        head, turn = (token * n_heads + unit // n_tokens) * head_width, token * n * 2
        for i in range(n):
            cosine, sine = angles[turn + 2 * i], angles[turn + 2 * i + 1]
            a, b = x[head + i], x[head + i + n]
            x[head + i] = a * cosine - b * sine
            x[head + i + n] = a * sine + b * cosine


@op(f32p, f32p)
def add_positions(out, weight, width, n_tokens, position, thread, n_threads):
    """Add learned position embeddings, the row of each token's position."""
    for token in range(thread, n_tokens, n_threads):
        for i in range(width):
            out[token * width + i] += weight[(position + token) * width + i]
