"""SIMD for kernels: numba types whose value is an LLVM vector, and the operations on them. No algorithms here.

    a + b, a - b, a * b          lane by lane (integers wrap)
    a & b, a | b, a ^ b          bits of integer lanes
    load(F32, x, i)              the lanes at x[i], x[i + 1], ...; `x` is a pointer of any type: the index counts
                                 elements of the pointer, the lanes are read unaligned
    store(x, i, v)
    splat(F32, s)                s in every lane
    fma(a, b, c)                 a * b + c, rounded once
    convert(T, v)                signed integer <-> float, float <-> float, sign-extending or truncating integers
    zero_extend(T, v)            unsigned widening
    bitcast(T, v)                the same bits, other lanes
    minimum, maximum             lane by lane; the second operand where one is NaN (x86's rule)
    shift_left(v, 3), shift_right(v, 3), shift_right_signed(v, 3)
    shift_halves_left(v, 4, 2), shift_halves_right(v, 0, 2)
                                 the lower half of the lanes by the first number of bits, the upper half by the second
    lane(v, 3)                   one scalar
    total(v), largest(v)         over the lanes, pairwise, in one fixed order
    totals(a, b, c, d)           total(a), total(b), ... in four lanes, to the bit
    first_lane(T, s)             s and then zeros
    any_set(v)                   whether integer lanes hold anything but zeros

A vector type is `vector(element, lanes)`. The native width of the target is `LANES` f32.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel, register_default
from numba.core.errors import TypingError
from numba.core.typing.templates import ConcreteTemplate, signature
from numba.core.typing.templates import builtin_registry as typing_registry
from numba.extending import intrinsic, lower_builtin

from realizar_lambda.kernels import targets

TARGET = targets.active()
LANES = TARGET.lanes

_LLVM = {
    "i8": ir.IntType(8),
    "i16": ir.IntType(16),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
    "f16": ir.HalfType(),
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
}
_NUMBA = {
    "i8": types.int8,
    "i16": types.int16,
    "i32": types.int32,
    "i64": types.int64,
    "f32": types.float32,
    "f64": types.float64,
}


class Vector(types.Type):
    """`lanes` elements; `element` is one of i8 i16 i32 i64 f16 f32 f64. Integer lanes have no sign of their own."""

    def __init__(self, element: str, lanes: int) -> None:
        self.element = element
        self.lanes = lanes
        super().__init__(name=f"{element}x{lanes}")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(_LLVM[self.element], self.lanes)

    @property
    def is_float(self) -> bool:
        return self.element.startswith("f")


@register_default(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, kind.llvm)


_vectors: dict[tuple[str, int], Vector] = {}
_BINARY = {
    operator.add: ("add", "fadd"),
    operator.sub: ("sub", "fsub"),
    operator.mul: ("mul", "fmul"),
    operator.truediv: (None, "fdiv"),
    operator.and_: ("and_", None),
    operator.or_: ("or_", None),
    operator.xor: ("xor", None),
}


def vector(element: str, lanes: int) -> Vector:
    """The vector type of `lanes` elements; the same object each time, its operators registered once."""
    if (element, lanes) not in _vectors:
        kind = _vectors[element, lanes] = Vector(element, lanes)
        for function, (integer, floating) in _BINARY.items():
            name = floating if kind.is_float else integer
            if name is not None:
                _register(function, kind, name)
    return _vectors[element, lanes]


def _register(function, kind: Vector, name: str) -> None:
    class Template(ConcreteTemplate):
        key = function
        cases = (signature(kind, kind, kind),)

    typing_registry.register_global(function)(Template)

    @lower_builtin(function, kind, kind)
    def lower(context, builder, sig, args):
        return getattr(builder, name)(*args)


def _name(kind: Vector) -> str:
    return f"v{kind.lanes}{kind.element}"


def call_llvm(builder, name: str, result: ir.Type, args) -> ir.Value:
    """Call the LLVM intrinsic `name`."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [a.type for a in args]), name)
    return builder.call(function, args)


@intrinsic
def load(typingctx, kind, pointer, index):
    """The lanes at pointer[index], pointer[index + 1], ..., unaligned."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        address = builder.gep(args[1], [args[2]])
        return builder.load(builder.bitcast(address, result.llvm.as_pointer()), align=1)

    return result(kind, pointer, types.int64), codegen


@intrinsic
def store(typingctx, pointer, index, value):
    """Write the lanes to pointer[index], pointer[index + 1], ..., unaligned."""

    def codegen(context, builder, sig, args):
        address = builder.gep(args[0], [args[1]])
        builder.store(args[2], builder.bitcast(address, args[2].type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, value), codegen


@intrinsic
def splat(typingctx, kind, scalar):
    """The scalar, converted to the lanes' type, in every lane."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        value = args[1]
        lane = ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(ir.Constant(result.llvm, ir.Undefined), value, lane)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), result.lanes), [0] * result.lanes)
        return builder.shuffle_vector(one, ir.Constant(result.llvm, ir.Undefined), mask)

    return result(kind, _NUMBA[result.element]), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c, rounded once, for float lanes."""

    def codegen(context, builder, sig, args):
        return call_llvm(builder, f"llvm.fma.{_name(a)}", a.llvm, args)

    return a(a, a, a), codegen


@intrinsic
def convert(typingctx, kind, value):
    """Between lane types of one count: signed integer to float and back (toward zero), f32 to f16, i8 to i32..."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        source, target = value, result
        wider = int(target.element[1:]) > int(source.element[1:])
        if source.is_float and target.is_float:
            return (builder.fpext if wider else builder.fptrunc)(args[1], target.llvm)
        if source.is_float:
            return builder.fptosi(args[1], target.llvm)
        if target.is_float:
            return builder.sitofp(args[1], target.llvm)
        return (builder.sext if wider else builder.trunc)(args[1], target.llvm)

    return result(kind, value), codegen


@intrinsic
def zero_extend(typingctx, kind, value):
    """Unsigned widening of integer lanes."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        return builder.zext(args[1], result.llvm)

    return result(kind, value), codegen


@intrinsic
def bitcast(typingctx, kind, value):
    """The same bits as other lanes (of a scalar too)."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[1], context.get_value_type(result))

    return result(kind, value), codegen


def _literal_shift(name: str):
    @intrinsic(prefer_literal=True)
    def shift(typingctx, value, count):
        if not isinstance(count, types.IntegerLiteral):
            raise TypingError("a shift count must be a literal")
        n = count.literal_value

        def codegen(context, builder, sig, args):
            return getattr(builder, name)(args[0], ir.Constant(value.llvm, [n] * value.lanes))

        return value(value, count), codegen

    return shift


shift_left = _literal_shift("shl")
shift_right = _literal_shift("lshr")
shift_right_signed = _literal_shift("ashr")


def _literal_shift_of_halves(name: str):
    @intrinsic(prefer_literal=True)
    def shift(typingctx, value, lower, upper):
        if not (isinstance(lower, types.IntegerLiteral) and isinstance(upper, types.IntegerLiteral)):
            raise TypingError("shift counts must be literals")
        counts = [n.literal_value for n in (lower, upper) for _ in range(value.lanes // 2)]

        def codegen(context, builder, sig, args):
            return getattr(builder, name)(args[0], ir.Constant(value.llvm, counts))

        return value(value, lower, upper), codegen

    return shift


shift_halves_left = _literal_shift_of_halves("shl")
shift_halves_right = _literal_shift_of_halves("lshr")


def _lanewise(float_name: str, integer_name: str):
    @intrinsic
    def pick(typingctx, a, b):
        def codegen(context, builder, sig, args):
            predicate = float_name if a.is_float else integer_name
            compare = builder.fcmp_ordered if a.is_float else builder.icmp_signed
            return builder.select(compare(predicate, *args), *args)

        return a(a, a), codegen

    return pick


minimum = _lanewise("<", "<")
maximum = _lanewise(">", ">")


@intrinsic
def magnitude(typingctx, value):
    """The absolute value of each lane (of f32 lanes, or of integer lanes, where the least value stays)."""

    def codegen(context, builder, sig, args):
        if value.is_float:
            return call_llvm(builder, f"llvm.fabs.{_name(value)}", value.llvm, args)
        flag = ir.Constant(ir.IntType(1), 0)
        return call_llvm(builder, f"llvm.abs.{_name(value)}", value.llvm, [args[0], flag])

    return value(value), codegen


@intrinsic
def nearest(typingctx, value):
    """Each f32 lane rounded to the nearest integer, ties to even."""

    def codegen(context, builder, sig, args):
        return call_llvm(builder, f"llvm.nearbyint.{_name(value)}", value.llvm, args)

    return value(value), codegen


@intrinsic
def square_root(typingctx, value):
    """The square root of each f32 lane."""

    def codegen(context, builder, sig, args):
        return call_llvm(builder, f"llvm.sqrt.{_name(value)}", value.llvm, args)

    return value(value), codegen


@intrinsic
def select_less(typingctx, a, b, then, otherwise):
    """Lanes of `then` where a < b, else of `otherwise`; for f32 lanes false where one is NaN."""

    def codegen(context, builder, sig, args):
        less = builder.fcmp_ordered("<", *args[:2]) if a.is_float else builder.icmp_signed("<", *args[:2])
        return builder.select(less, args[2], args[3])

    return then(a, a, then, then), codegen


def shuffled(builder, a, b, lanes):
    """Lanes picked by constant number from a (0, 1, ...) and then b."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(a, b, mask)


@intrinsic(prefer_literal=True)
def lane(typingctx, value, index):
    """The scalar in one lane, numbered by a literal."""
    if not isinstance(index, types.IntegerLiteral):
        raise TypingError("a lane number must be a literal")
    n = index.literal_value

    def codegen(context, builder, sig, args):
        return builder.extract_element(args[0], ir.Constant(ir.IntType(32), n))

    return _NUMBA[value.element](value, index), codegen


def _reduction(combine):
    @intrinsic
    def reduce(typingctx, value):
        def codegen(context, builder, sig, args):
            folded, n = args[0], value.lanes
            while n > 1:
                n //= 2
                halves = [shuffled(builder, folded, folded, range(k * n, k * n + n)) for k in (0, 1)]
                folded = combine(builder, value, *halves)
            return builder.extract_element(folded, ir.Constant(ir.IntType(32), 0))

        return _NUMBA[value.element](value), codegen

    return reduce


def _sum(builder, kind, a, b):
    return builder.fadd(a, b) if kind.is_float else builder.add(a, b)


def _largest(builder, kind, a, b):
    greater = builder.fcmp_ordered(">", a, b) if kind.is_float else builder.icmp_signed(">", a, b)
    return builder.select(greater, a, b)


total = _reduction(_sum)
largest = _reduction(_largest)


def row_totals(builder, kind, rows):
    """One vector whose lane r has what the lanes of rows[r] add up to: halves of two rows are added side by side until
    one vector is left. Each total has the bits that `total` gives."""
    width = kind.lanes
    while len(rows) > 1:
        width, half = width // 2, len(rows) // 2
        rows = [_halves_added(builder, kind, width, *pair) for pair in zip(rows[:half], rows[half:], strict=True)]
    folded = rows[0]
    while width > 1:
        width //= 2
        starts = range(0, folded.type.count, 2 * width)
        halves = [[start + half * width + i for start in starts for i in range(width)] for half in (0, 1)]
        folded = _sum(builder, kind, *(shuffled(builder, folded, folded, lanes) for lanes in halves))
    return folded


def _halves_added(builder, kind, n, a, b):
    """In groups of 2n lanes: the first n are the two halves of a's group added, the others b's."""
    lanes = range(kind.lanes)
    lower = [lane if lane % (2 * n) < n else kind.lanes + lane - n for lane in lanes]
    upper = [lane + n if lane % (2 * n) < n else kind.lanes + lane for lane in lanes]
    return _sum(builder, kind, shuffled(builder, a, b, lower), shuffled(builder, a, b, upper))


@intrinsic
def totals(typingctx, a, b, c, d):
    """The totals of four vectors in four lanes, each with the bits that `total` gives, for fewer additions."""

    def codegen(context, builder, sig, args):
        return row_totals(builder, a, args)

    return vector(a.element, 4)(a, a, a, a), codegen


@intrinsic
def first_lane(typingctx, kind, scalar):
    """The scalar in lane 0, zeros in the others."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        return builder.insert_element(ir.Constant(result.llvm, None), args[1], ir.Constant(ir.IntType(32), 0))

    return result(kind, _NUMBA[result.element]), codegen


@intrinsic
def any_set(typingctx, value):
    """Whether any bit of any integer lane is set."""

    def codegen(context, builder, sig, args):
        bits = call_llvm(builder, f"llvm.vector.reduce.or.{_name(value)}", value.llvm.element, args)
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(value), codegen
