"""Moving lanes of SIMD vectors: halves, repeats, bits to bytes, table lookups. No arithmetic, no memory.

low(v), high(v), join(a, b)            halves and their inverse
spread_one, spread_pair, spread_half   lanes of an f32x8 repeated, by a literal number
bits_to_bytes(bits)                    an int32's bits as 32 lanes of 0 or -1
lookup(values)                         a function from lanes 0 to 15 to one of 16 int8 values
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import TARGET, call_llvm, shuffled, vector


def _half(offset: int):
    @intrinsic
    def half(typingctx, value):
        n = value.lanes // 2
        result = vector(value.element, n)

        def codegen(context, builder, sig, args):
            return shuffled(builder, args[0], args[0], range(offset * n, offset * n + n))

        return result(value), codegen

    return half


low = _half(0)
high = _half(1)


@intrinsic
def join(typingctx, a, b):
    """The lanes of a, then those of b."""
    result = vector(a.element, a.lanes * 2)

    def codegen(context, builder, sig, args):
        return shuffled(builder, args[0], args[1], range(2 * a.lanes))

    return result(a, a), codegen


def _spread(pattern):
    """Lanes of an f32x8 repeated: `pattern(n)` gives the eight lane numbers for the literal n."""

    @intrinsic(prefer_literal=True)
    def spread(typingctx, value, n):
        if not isinstance(n, types.IntegerLiteral):
            raise TypingError("a lane number must be a literal")
        lanes = pattern(n.literal_value)

        def codegen(context, builder, sig, args):
            return shuffled(builder, args[0], args[0], lanes)

        return value(value, n), codegen

    return spread


spread_one = _spread(lambda n: [n] * 8)
"""Lane n in all eight."""
spread_pair = _spread(lambda n: [2 * n] * 4 + [2 * n + 1] * 4)
"""Lane 2n in the lower four, lane 2n + 1 in the upper four."""
spread_half = _spread(lambda n: [4 * n + i // 2 for i in range(8)])
"""The four lanes from 4n on, each twice."""


@intrinsic
def bits_to_bytes(typingctx, bits):
    """32 lanes of i8: -1 where the int32 has the lane's bit, else 0."""
    result = vector("i8", 32)

    def codegen(context, builder, sig, args):
        flags = builder.bitcast(args[0], ir.VectorType(ir.IntType(1), 32))
        return builder.sext(flags, result.llvm)

    return result(types.int32), codegen


def lookup(values):
    """A function that maps each lane of an i8x32, 0 to 15, to one of 16 int8 values."""
    table = [int(value) for value in values]

    @intrinsic
    def find(typingctx, codes):
        kind = vector("i8", 32)

        def codegen(context, builder, sig, args):
            if TARGET.triple.startswith("x86_64"):
                row = ir.Constant(kind.llvm, table * 2)
                return call_llvm(builder, "llvm.x86.avx2.pshuf.b", kind.llvm, [row, args[0]])
            half = vector("i8", 16).llvm
            row = ir.Constant(half, table)
            halves = [
                call_llvm(
                    builder, "llvm.aarch64.neon.tbl1.v16i8", half, [row, shuffled(builder, args[0], args[0], lanes)]
                )
                for lanes in (range(16), range(16, 32))
            ]
            return shuffled(builder, *halves, range(32))

        return kind(kind), codegen

    return find
