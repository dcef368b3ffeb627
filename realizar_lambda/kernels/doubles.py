"""exp and log in f64, eight lanes at a time on every target, so that every target gives the same bits.

They are for sums that decide something (which token is drawn), where elementary.py's f32 lanes, as many as the
target has, would add up in another order on another machine. The largest error seen is one unit in the last place.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.memory import bits_to_f64, f64_to_bits
from realizar_lambda.kernels.vectors import bitcast, fma, maximum, select_less, shift_left, splat, vector

LANES = 8
F64 = vector("f64", LANES)
I64 = vector("i64", LANES)

LEAST = -708.0  # e**x is not denormal above it
ROUNDER = 6755399441055744.0  # 1.5 * 2**52: added to x, the low bits are x rounded to an integer
LN2 = 0.6931471805599453
LN2_REST = 2.3190468138462996e-17
LOG2_E = 1.4426950408889634
MANTISSA = (1 << 52) - 1
ONE = 1023 << 52  # the bits of 1.0


@kernel(F64, F64)
def exp_f64(x):
    """e**x for x <= 0; 0 below -708. Not for NaN.

    2**n * e**r with |r| <= ln(2) / 2, the Taylor series of e**r to degree 13.
    """
    bounded = maximum(x, splat(F64, LEAST))
    shifted = fma(bounded, splat(F64, LOG2_E), splat(F64, ROUNDER))
    n = shifted - splat(F64, ROUNDER)
    r = fma(n, splat(F64, -LN2), bounded)
    r = fma(n, splat(F64, -LN2_REST), r)
    p = splat(F64, 1.0 / 6227020800.0)
    p = fma(p, r, splat(F64, 1.0 / 479001600.0))
    p = fma(p, r, splat(F64, 1.0 / 39916800.0))
    p = fma(p, r, splat(F64, 1.0 / 3628800.0))
    p = fma(p, r, splat(F64, 1.0 / 362880.0))
    p = fma(p, r, splat(F64, 1.0 / 40320.0))
    p = fma(p, r, splat(F64, 1.0 / 5040.0))
    p = fma(p, r, splat(F64, 1.0 / 720.0))
    p = fma(p, r, splat(F64, 1.0 / 120.0))
    p = fma(p, r, splat(F64, 1.0 / 24.0))
    p = fma(p, r, splat(F64, 1.0 / 6.0))
    p = fma(p, r, splat(F64, 0.5))
    p = fma(p, r, splat(F64, 1.0))
    p = fma(p, r, splat(F64, 1.0))
    scale = bitcast(F64, shift_left(bitcast(I64, shifted) + splat(I64, 1023), 52))
    return select_less(x, splat(F64, LEAST), splat(F64, 0.0), p * scale)


@kernel(types.float64, types.float64)
def log_f64(x):
    """The natural logarithm of a positive normal number.

    x = 2**n * m with m in [0.707, 1.414), and log m = 2 (s + s**3/3 + s**5/5 + ...) with s = (m - 1) / (m + 1).
    """
    bits = f64_to_bits(x)
    n = (bits >> 52) - 1023
    m = bits_to_f64((bits & MANTISSA) | ONE)
    if m > 1.4142135623730951:
        m *= 0.5
        n += 1
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    p = 0.0
    for k in range(11, 0, -1):  # s**2 is at most 0.0295: the first term left out is below 2**-59
        p = p * square + 1.0 / (2 * k + 1)
    return n * LN2 + (2.0 * s + 2.0 * s * square * p)
