"""Reading codes: nibbles, high bits, and signed codes as the target's dot product wants them."""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import CHUNKS, I8S, F32x8, I8x32, I32x8
from realizar_lambda.kernels.lanes import high, join, low
from realizar_lambda.kernels.memory import f32p, u8p
from realizar_lambda.kernels.vectors import (
    TARGET,
    bitcast,
    convert,
    load,
    shift_right,
    splat,
    store,
    vector,
    zero_extend,
)

I64, f32 = types.int64, types.float32
I8x8, I8x16, I16x16 = vector("i8", 8), vector("i8", 16), vector("i16", 16)
I16S = vector("i16", 16 * CHUNKS)

IS_MOVED = TARGET.dot == "vnni"
"""Whether 8-bit codes are unpacked unsigned, 128 larger: VNNI multiplies unsigned with signed bytes."""
MOVED_BY = 128.0 if IS_MOVED else 0.0


@kernel(I8x32, I8x32)
def low_nibbles(v):
    """The lower four bits of each byte."""
    return v & splat(I8x32, 15)


@kernel(I8x32, I8x32)
def high_nibbles(v):
    """The upper four bits of each byte, moved down."""
    return bitcast(I8x32, shift_right(bitcast(I16x16, v), 4)) & splat(I8x32, 15)


@kernel(I8S, u8p, I64)
def pieces(p, stride):
    """16 bytes at p, as many `stride` bytes further, ... until a step's width is full."""
    two = join(load(I8x16, p, 0), load(I8x16, p, stride))
    if CHUNKS == 2:
        return join(two, join(load(I8x16, p, 2 * stride), load(I8x16, p, 3 * stride)))
    return two


@kernel(I8S, I8S, I64)
def nibbles(v, upper):
    """The lower four bits of each byte of a step's width, or the upper ones (1), moved down."""
    if upper == 1:
        v = bitcast(I8S, shift_right(bitcast(I16S, v), 4))
    return v & splat(I8S, 15)


@kernel(I8x32, u8p, I64)
def nibbles_32(p, i):
    """32 codes out of the 16 bytes at p[i]: the lower nibbles, then the upper ones."""
    v = load(I8x16, p, i)
    both = join(v, v)
    return join(low(low_nibbles(both)), high(high_nibbles(both)))


@kernel(types.void, u8p, I64, I8x32, types.boolean)
def put_codes(codes, i, values, is_signed):
    """Write 32 codes for the tile."""
    if is_signed and IS_MOVED:
        store(codes, i, values ^ splat(I8x32, -128))
    else:
        store(codes, i, values)


@kernel(types.void, f32p, I64, I8x16, f32, f32, f32, types.boolean)
def put_values(out, i, codes, scale, offset, least, is_signed):
    """Write 16 values scale * (code - offset) - min as f32, every step rounded like ggml's."""
    for h in range(2):
        half = low(codes) if h == 0 else high(codes)
        wide = convert(I32x8, half) if is_signed else zero_extend(I32x8, half)
        values = (convert(F32x8, wide) - splat(F32x8, offset)) * splat(F32x8, scale) - splat(F32x8, least)
        store(out, i + h * 8, values)
