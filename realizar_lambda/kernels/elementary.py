"""Elementary functions on f32 lanes: exp, tanh, sigmoid, GELU, SiLU, and their one-lane forms. No memory access.

The polynomial of exp is the Taylor series of degree 7 on |r| <= ln(2)/2 with its coefficients rounded to f32:
the largest relative error seen against float64 over the whole range is 1.2e-7, one unit in the last place.
Every target runs the same operations in the same order.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.vectors import (
    LANES,
    bitcast,
    convert,
    fma,
    lane,
    magnitude,
    maximum,
    minimum,
    nearest,
    select_less,
    shift_left,
    shift_right_signed,
    splat,
    vector,
)

F32 = vector("f32", LANES)
I32 = vector("i32", LANES)
f32 = types.float32


@kernel(F32, I32)
def power_of_two(n):
    """2**n for -126 <= n <= 127."""
    return bitcast(F32, shift_left(n + splat(I32, 127), 23))


@kernel(F32, F32)
def exp(x):
    """e**x: infinity above 88.73, 0 below -103.98, NaN for NaN, which passes through both bounds."""
    bounded = minimum(splat(F32, 89.0), maximum(splat(F32, -104.0), x))
    n = nearest(bounded * splat(F32, 1.4426950408889634))
    r = fma(n, splat(F32, -0.693145751953125), bounded)
    r = fma(n, splat(F32, -1.4286068203094172e-06), r)
    p = splat(F32, 1.0 / 5040.0)
    p = fma(p, r, splat(F32, 1.0 / 720.0))
    p = fma(p, r, splat(F32, 1.0 / 120.0))
    p = fma(p, r, splat(F32, 1.0 / 24.0))
    p = fma(p, r, splat(F32, 1.0 / 6.0))
    p = fma(p, r, splat(F32, 0.5))
    p = fma(p, r, splat(F32, 1.0))
    p = fma(p, r, splat(F32, 1.0))
    whole = convert(I32, n)
    half = shift_right_signed(whole, 1)
    return p * power_of_two(half) * power_of_two(whole - half)


@kernel(F32, F32)
def sigmoid(x):
    """1 / (1 + e**-x)."""
    one = splat(F32, 1.0)
    return one / (one + exp(splat(F32, 0.0) - x))


@kernel(F32, F32)
def silu(x):
    """x * sigmoid(x)."""
    return x / (splat(F32, 1.0) + exp(splat(F32, 0.0) - x))


@kernel(F32, F32)
def tanh(x):
    """Hyperbolic tangent; a series below 0.25, where 1 - 2 / (e**2x + 1) would cancel."""
    one, two = splat(F32, 1.0), splat(F32, 2.0)
    square = x * x
    p = splat(F32, -0.05396825397)
    p = fma(p, square, splat(F32, 0.13333333333))
    p = fma(p, square, splat(F32, -0.33333333333))
    near = fma(p * square, x, x)
    far = one - two / (exp(two * x) + one)
    return select_less(square, splat(F32, 0.0625), near, far)


@kernel(F32, F32)
def gelu_tanh(x):
    """x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))), Hendrycks and Gimpel's approximation."""
    inner = splat(F32, 0.7978845608028654) * fma(splat(F32, 0.044715) * x * x, x, x)
    return splat(F32, 0.5) * x * (splat(F32, 1.0) + tanh(inner))


@kernel(F32, F32)
def erf(x):
    """The error function, by the rational approximation 7.1.26 of Abramowitz and Stegun (error below 1.5e-7),
    and near 0, where that cancels, by the Taylor series."""
    one = splat(F32, 1.0)
    size = magnitude(x)
    t = one / fma(splat(F32, 0.3275911), size, one)
    p = splat(F32, 1.061405429)
    p = fma(p, t, splat(F32, -1.453152027))
    p = fma(p, t, splat(F32, 1.421413741))
    p = fma(p, t, splat(F32, -0.284496736))
    p = fma(p, t, splat(F32, 0.254829592))
    far = one - p * t * exp(splat(F32, 0.0) - x * x)
    far = select_less(x, splat(F32, 0.0), splat(F32, 0.0) - far, far)
    s = x * x
    q = splat(F32, 1.0 / 216.0)
    q = fma(q, s, splat(F32, -1.0 / 42.0))
    q = fma(q, s, splat(F32, 0.1))
    q = fma(q, s, splat(F32, -1.0 / 3.0))
    q = fma(q, s, one)
    return select_less(size, splat(F32, 0.3), splat(F32, 1.1283791670955126) * x * q, far)


@kernel(F32, F32)
def gelu_erf(x):
    """x/2 * (1 + erf(x / sqrt(2)))."""
    return splat(F32, 0.5) * x * (splat(F32, 1.0) + erf(x * splat(F32, 0.7071067811865476)))


@kernel(f32, f32)
def gelu_erf_1(x):
    """`gelu_erf` of one value."""
    return lane(gelu_erf(splat(F32, x)), 0)


@kernel(f32, f32)
def exp_1(x):
    """`exp` of one value."""
    return lane(exp(splat(F32, x)), 0)


@kernel(f32, f32)
def sigmoid_1(x):
    """`sigmoid` of one value."""
    return lane(sigmoid(splat(F32, x)), 0)


@kernel(f32, f32)
def silu_1(x):
    """`silu` of one value."""
    return lane(silu(splat(F32, x)), 0)


@kernel(f32, f32)
def tanh_1(x):
    """`tanh` of one value."""
    return lane(tanh(splat(F32, x)), 0)


@kernel(f32, f32)
def gelu_tanh_1(x):
    """`gelu_tanh` of one value."""
    return lane(gelu_tanh(splat(F32, x)), 0)
