"""Dot products of codes with int8 activations: the step of a one-token matmul. No block layouts.

A step takes `CHUNKS` chunks of 32 columns: one, or two where the target sums products in vectors twice as wide.

dot(codes, x)          one i32 for every four columns, their total the sum of codes * x, for codes 0 to 255 (below 128
                       on a target that sums pairs in 16 bits)
dot_more(sums, codes, x)
                       sums + dot(codes, x)
dot_signed(codes, x)   the same as dot for codes -128 to 127, of one chunk
"""

from __future__ import annotations

from llvmlite import ir
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import LANES, TARGET, call_llvm, shuffled, vector

CHUNKS = 2 if TARGET.dot == "vnni" and LANES == 16 else 1
TAKES_FOURS = CHUNKS == 2
"""Whether 4-bit codes are multiplied four chunks at once (see `activations.py`)."""
I8x16 = vector("i8", 16)
I8x32 = vector("i8", 32)
I32x8 = vector("i32", 8)
F32x8 = vector("f32", 8)
I8S, I32S, F32S = vector("i8", 32 * CHUNKS), vector("i32", 8 * CHUNKS), vector("f32", 8 * CHUNKS)


def _maddubs(builder, codes, x):
    pairs = vector("i16", 16).llvm
    products = call_llvm(builder, "llvm.x86.avx2.pmadd.ub.sw", pairs, [codes, x])
    return call_llvm(builder, "llvm.x86.avx2.pmadd.wd", I32x8.llvm, [products, ir.Constant(pairs, [1] * 16)])


def _vnni(builder, codes, x, sums=None):
    kind = ir.VectorType(ir.IntType(32), codes.type.count // 4)
    words = [builder.bitcast(value, kind) for value in (codes, x)]
    name = f"llvm.x86.avx512.vpdpbusd.{kind.count * 32}"
    return call_llvm(builder, name, kind, [sums or ir.Constant(kind, None), *words])


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
def dot(typingctx, codes, x):
    """Partial sums of codes * x, one for every four columns; unsigned codes."""

    def codegen(context, builder, sig, args):
        return _DOTS[TARGET.dot](builder, *args)

    return vector("i32", codes.lanes // 4)(codes, codes), codegen


@intrinsic
def dot_more(typingctx, sums, codes, x):
    """sums + dot(codes, x)."""

    def codegen(context, builder, sig, args):
        if TARGET.dot == "vnni":
            return _vnni(builder, args[1], args[2], args[0])
        return builder.add(args[0], _DOTS[TARGET.dot](builder, *args[1:]))

    return sums(sums, codes, codes), codegen


@intrinsic
def dot_signed(typingctx, codes, x):
    """Eight partial sums of codes * x; codes -128 to 127, x -127 to 127."""

    def codegen(context, builder, sig, args):
        codes_, x_ = args
        if TARGET.dot != "sdot":  # the unsigned operand takes |code|, and x the code's sign
            x_ = call_llvm(builder, "llvm.x86.avx2.psign.b", I8x32.llvm, [x_, codes_])
            codes_ = call_llvm(builder, "llvm.abs.v32i8", I8x32.llvm, [codes_, ir.Constant(ir.IntType(1), 0)])
        return _DOTS[TARGET.dot](builder, codes_, x_)

    return I32x8(I8x32, I8x32), codegen
