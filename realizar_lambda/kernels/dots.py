"""Dot products of codes with int8 activations: the step of a one-token matmul. No block layouts.

A step takes `CHUNKS` chunks of 32 columns: one, or two where the target sums products in vectors twice as wide.

dot(codes, x)          one i32 for every four columns, their total the sum of codes * x, for codes 0 to 255 (below 128
                       on a target that sums pairs in 16 bits)
dot_two(codes, x, more_codes, more_x)
                       dot(codes, x) + dot(more_codes, more_x), for codes below 64
dot_signed(codes, x)   the same as dot for codes -128 to 127, of one chunk
"""

from __future__ import annotations

from llvmlite import ir
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import LANES, TARGET, call_llvm, shuffled, vector

CHUNKS = 2 if TARGET.dot == "vnni" and LANES == 16 else 1
I8x16 = vector("i8", 16)
I8x32 = vector("i8", 32)
I32x8 = vector("i32", 8)
F32x8 = vector("f32", 8)
I8S, I32S, F32S = vector("i8", 32 * CHUNKS), vector("i32", 8 * CHUNKS), vector("f32", 8 * CHUNKS)


def _maddubs(builder, *pairs):
    kind = vector("i16", 16).llvm
    products = [call_llvm(builder, "llvm.x86.avx2.pmadd.ub.sw", kind, pair) for pair in pairs]
    products = products[0] if len(products) == 1 else builder.add(*products)  # 63 * 127 * 4 fits an int16
    return call_llvm(builder, "llvm.x86.avx2.pmadd.wd", I32x8.llvm, [products, ir.Constant(kind, [1] * 16)])


def _vnni(builder, *pairs):
    kind = ir.VectorType(ir.IntType(32), pairs[0][0].type.count // 4)
    sums = ir.Constant(kind, None)
    for pair in pairs:
        words = [builder.bitcast(value, kind) for value in pair]
        sums = call_llvm(builder, f"llvm.x86.avx512.vpdpbusd.{kind.count * 32}", kind, [sums, *words])
    return sums


def _sdot(builder, *pairs):
    quarter = ir.VectorType(ir.IntType(32), 4)
    halves = []
    for begin in (0, 16):
        lanes, sums = range(begin, begin + 16), ir.Constant(quarter, None)
        for pair in pairs:
            args = [sums, *(shuffled(builder, v, v, lanes) for v in pair)]
            sums = call_llvm(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", quarter, args)
        halves.append(sums)
    return shuffled(builder, *halves, range(8))


_DOTS = {"maddubs": _maddubs, "vnni": _vnni, "sdot": _sdot}


@intrinsic
def dot(typingctx, codes, x):
    """Partial sums of codes * x, one for every four columns; unsigned codes."""

    def codegen(context, builder, sig, args):
        return _DOTS[TARGET.dot](builder, args)

    return vector("i32", codes.lanes // 4)(codes, codes), codegen


@intrinsic
def dot_two(typingctx, codes, x, more_codes, more_x):
    """dot(codes, x) + dot(more_codes, more_x)."""

    def codegen(context, builder, sig, args):
        return _DOTS[TARGET.dot](builder, args[:2], args[2:])

    return vector("i32", codes.lanes // 4)(codes, codes, codes, codes), codegen


@intrinsic
def dot_signed(typingctx, codes, x):
    """Eight partial sums of codes * x; codes -128 to 127, x -127 to 127."""

    def codegen(context, builder, sig, args):
        codes_, x_ = args
        if TARGET.dot != "sdot":  # the unsigned operand takes |code|, and x the code's sign
            x_ = call_llvm(builder, "llvm.x86.avx2.psign.b", I8x32.llvm, [x_, codes_])
            codes_ = call_llvm(builder, "llvm.abs.v32i8", I8x32.llvm, [codes_, ir.Constant(ir.IntType(1), 0)])
        return _DOTS[TARGET.dot](builder, (codes_, x_))

    return I32x8(I8x32, I8x32), codegen
