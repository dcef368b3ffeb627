"""Dot products of 32 codes with 32 int8 activations: the step of a one-token matmul. No block layouts.

dot32(codes, x)          eight i32 whose total is the sum of codes * x, for codes 0 to 127
dot32_signed(codes, x)   the same for codes -128 to 127
"""

from __future__ import annotations

from llvmlite import ir
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import TARGET, call_llvm, shuffled, vector

I8x32 = vector("i8", 32)
I32x8 = vector("i32", 8)
F32x8 = vector("f32", 8)

_BYTES, _PAIRS, _SUMS = I8x32.llvm, vector("i16", 16).llvm, I32x8.llvm


def _maddubs(builder, codes, x):
    pairs = call_llvm(builder, "llvm.x86.avx2.pmadd.ub.sw", _PAIRS, [codes, x])
    return call_llvm(builder, "llvm.x86.avx2.pmadd.wd", _SUMS, [pairs, ir.Constant(_PAIRS, [1] * 16)])


def _vnni(builder, codes, x):
    words = [builder.bitcast(value, _SUMS) for value in (codes, x)]
    return call_llvm(builder, "llvm.x86.avx512.vpdpbusd.256", _SUMS, [ir.Constant(_SUMS, None), *words])


def _sdot(builder, codes, x):
    quarter = ir.VectorType(ir.IntType(32), 4)
    halves = []
    for begin in (0, 16):
        lanes = range(begin, begin + 16)
        args = [ir.Constant(quarter, None), *(shuffled(builder, v, v, lanes) for v in (codes, x))]
        halves.append(call_llvm(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", quarter, args))
    return shuffled(builder, *halves, range(8))


_DOTS = {"maddubs": _maddubs, "vnni": _vnni, "sdot": _sdot}


@intrinsic
def dot32(typingctx, codes, x):
    """Eight partial sums of codes * x; codes 0 to 127."""

    def codegen(context, builder, sig, args):
        return _DOTS[TARGET.dot](builder, *args)

    return I32x8(I8x32, I8x32), codegen


@intrinsic
def dot32_signed(typingctx, codes, x):
    """Eight partial sums of codes * x; codes -128 to 127, x -127 to 127."""

    def codegen(context, builder, sig, args):
        codes_, x_ = args
        if TARGET.dot != "sdot":  # the unsigned operand takes |code|, and x the code's sign
            x_ = call_llvm(builder, "llvm.x86.avx2.psign.b", _BYTES, [x_, codes_])
            codes_ = call_llvm(builder, "llvm.abs.v32i8", _BYTES, [codes_, ir.Constant(ir.IntType(1), 0)])
        return _DOTS[TARGET.dot](builder, codes_, x_)

    return I32x8(I8x32, I8x32), codegen
