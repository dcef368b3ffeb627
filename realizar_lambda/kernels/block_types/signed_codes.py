"""Signed 8-bit codes, as the target's dot product wants them: unsigned, and 128 too large, on VNNI."""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.dots import I8x32
from realizar_lambda.kernels.memory import f32p, u8p
from realizar_lambda.kernels.vectors import TARGET, splat, store

IS_MOVED = TARGET.dot == "vnni"
OFFSET = 128.0 if IS_MOVED else 0.0
MASK = -128 if IS_MOVED else 0
I64 = types.int64


@kernel(types.void, u8p, f32p, f32p, I64, I64, I8x32, types.float32)
def put_signed(codes, scales, mins, i, g, values, scale):
    """Write 32 signed codes at codes[i] and their scale and min at place g."""
    store(codes, i, values ^ splat(I8x32, MASK))
    scales[g] = scale
    mins[g] = types.float32(OFFSET) * scale
