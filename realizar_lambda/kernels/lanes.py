"""Moving lanes of SIMD vectors: halves, repeats, bits to bytes, table lookups. No arithmetic, no memory.

low(v), high(v), join(a, b)            halves and their inverse
even_quarters(a, b), odd_quarters(a, b)
                                       quarters 0 and 2 of a, then of b; quarters 1 and 3
spread(T, v, first, step, times)       lanes first, first + step, ... of v, each `times` times over
bits_to_bytes(bits)                    an int32's bits as 32 lanes of 0 or -1
lookup(values)                         a function from lanes 0 to 15 to one of 16 int8 values
transposed(a, b, c, d)                 four vectors of four lanes: the first lanes of all, the second ones, ...
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


def _quarters(parity: int):
    @intrinsic
    def quarters(typingctx, a, b):
        n = a.lanes // 4
        lanes = [2 * q * n + parity * n + i for q in range(4) for i in range(n)]

        def codegen(context, builder, sig, args):
            return shuffled(builder, args[0], args[1], lanes)

        return a(a, a), codegen

    return quarters


even_quarters = _quarters(0)
odd_quarters = _quarters(1)


@intrinsic(prefer_literal=True)
def spread(typingctx, kind, value, first, step, times):
    """Lanes first, first + step, ... of an f32 vector, each `times` times over; the numbers are literals."""
    result = kind.instance_type
    if not all(isinstance(number, types.IntegerLiteral) for number in (first, step, times)):
        raise TypingError("spread: first, step and times must be literals")
    begin, stride, n = first.literal_value, step.literal_value, times.literal_value
    lanes = [begin + i // n * stride for i in range(result.lanes)]

    def codegen(context, builder, sig, args):
        return shuffled(builder, args[1], args[1], lanes)

    return result(kind, value, first, step, times), codegen


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


@intrinsic
def transposed(typingctx, a, b, c, d):
    """Four vectors of four lanes, rows of a square, as its columns."""
    result = types.UniTuple(vector(a.element, 4), 4)

    def codegen(context, builder, sig, args):
        evens, odds = (0, 4, 1, 5), (2, 6, 3, 7)
        pairs = [shuffled(builder, args[i], args[i + 2], lanes) for i in (0, 1) for lanes in (evens, odds)]
        columns = [shuffled(builder, pairs[i], pairs[i + 2], lanes) for i in (0, 1) for lanes in (evens, odds)]
        return context.make_tuple(builder, result, columns)

    return result(a, b, c, d), codegen
