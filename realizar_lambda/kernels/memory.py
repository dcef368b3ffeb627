"""Pointers and scalars in kernels: casts, bits, atomics, waiting. It knows nothing of tensors.

A kernel's pointers are `u8p`, `i8p`, `u16p`, `i32p`, `i64p`, `f32p`, ...: `x[i]` reads and writes an element.

    at(p, n_bytes)            the pointer n_bytes further, of the same type
    cast(f32p, p)             the same address, another element type; also from an int64 address
    f16_to_f32(bits)          an f16's value from its uint16 bits, exact
    read_f16(p, n_bytes)      the f16 at p + n_bytes, as f32
    read_halves(p, n_bytes, stride)
                              eight f16, `stride` bytes apart, as a vector of f32
    read_i32(p, n_bytes)      the little-endian int32 there, unaligned
    on_stack(n)               room for n f32, until the call ends
    smaller(a, b), larger(a, b)
                              of two numbers, the first where one is NaN; Python's `min` and `max` would have numba
                              compile their loops for the building machine
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import TARGET, call_llvm, vector

i8p = types.CPointer(types.int8)
u8p = types.CPointer(types.uint8)
u16p = types.CPointer(types.uint16)
i16p = types.CPointer(types.int16)
i32p = types.CPointer(types.int32)
u32p = types.CPointer(types.uint32)
i64p = types.CPointer(types.int64)
u64p = types.CPointer(types.uint64)
f32p = types.CPointer(types.float32)
f64p = types.CPointer(types.float64)

CACHE_LINE = 64
_BYTE = ir.IntType(8)


def _byte_address(builder, pointer, n_bytes):
    return builder.gep(builder.bitcast(pointer, _BYTE.as_pointer()), [n_bytes])


def _chosen(comparison):
    @intrinsic
    def choose(typingctx, a, b):
        kind = typingctx.unify_types(a, b)

        def codegen(context, builder, sig, args):
            if isinstance(kind, types.Float):
                is_second = builder.fcmp_ordered(comparison, args[1], args[0])
            else:
                compare = builder.icmp_signed if kind.signed else builder.icmp_unsigned
                is_second = compare(comparison, args[1], args[0])
            return builder.select(is_second, args[1], args[0])

        return kind(kind, kind), codegen

    return choose


smaller = _chosen("<")
larger = _chosen(">")


@intrinsic
def at(typingctx, pointer, n_bytes):
    """The pointer `n_bytes` further, of the same type."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(_byte_address(builder, *args), args[0].type)

    return pointer(pointer, types.int64), codegen


@intrinsic
def cast(typingctx, kind, value):
    """The same address as another pointer type; `value` is a pointer or an int64 address."""
    result = kind.instance_type
    from_integer = isinstance(value, types.Integer)

    def codegen(context, builder, sig, args):
        target = context.get_value_type(result)
        return (builder.inttoptr if from_integer else builder.bitcast)(args[1], target)

    return result(kind, types.int64 if from_integer else value), codegen


@intrinsic(prefer_literal=True)
def on_stack(typingctx, n):
    """Room for `n` f32 (a literal, a few hundred) on the stack, which lasts as long as the call; it holds anything."""
    if not isinstance(n, types.IntegerLiteral):
        raise TypingError("on_stack: n must be a literal")

    def codegen(context, builder, sig, args):
        place = cgutils.alloca_once(builder, ir.ArrayType(ir.FloatType(), n.literal_value))
        place.align = CACHE_LINE
        return builder.bitcast(place, ir.FloatType().as_pointer())

    return f32p(n), codegen


def _reader(result, bits: int, widen):
    @intrinsic
    def read(typingctx, pointer, n_bytes):
        def codegen(context, builder, sig, args):
            address = builder.bitcast(_byte_address(builder, *args), ir.IntType(bits).as_pointer())
            return widen(builder, builder.load(address, align=1))

        return result(pointer, types.int64), codegen

    return read


def _half_to_float(builder, bits):
    return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())


read_f16 = _reader(types.float32, 16, _half_to_float)
read_f32 = _reader(types.float32, 32, lambda builder, bits: builder.bitcast(bits, ir.FloatType()))
read_i32 = _reader(types.int32, 32, lambda builder, bits: bits)
read_u16 = _reader(types.int64, 16, lambda builder, bits: builder.zext(bits, ir.IntType(64)))
read_u64 = _reader(types.int64, 64, lambda builder, bits: bits)
read_u32 = _reader(types.int64, 32, lambda builder, bits: builder.zext(bits, ir.IntType(64)))


@intrinsic
def write_f16(typingctx, pointer, n_bytes, value):
    """Write an f32, rounded to the nearest f16 (ties to even), at pointer + n_bytes."""

    def codegen(context, builder, sig, args):
        address = builder.bitcast(_byte_address(builder, args[0], args[1]), ir.HalfType().as_pointer())
        builder.store(builder.fptrunc(args[2], ir.HalfType()), address, align=1)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, types.float32), codegen


@intrinsic
def bits_to_f32(typingctx, bits):
    """The f32 whose bits these are."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), codegen


@intrinsic
def f32_to_bits(typingctx, value):
    """The bits of an f32."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), codegen


@intrinsic
def bits_to_f64(typingctx, bits):
    """The f64 whose bits these are."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@intrinsic
def f64_to_bits(typingctx, value):
    """The bits of an f64."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def atomic_add(typingctx, pointer, value):
    """Add to an int64 in memory, sequentially consistent; the value before."""

    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("add", args[0], args[1], "seq_cst")

    return types.int64(pointer, types.int64), codegen


@intrinsic
def atomic_load(typingctx, pointer):
    """Read an int64 that another thread may write, sequentially consistent.

    Whoever raises the generation and then reads how many are parked must not read first; an acquire on aarch64 may.
    """

    def codegen(context, builder, sig, args):
        return builder.load_atomic(args[0], ordering="seq_cst", align=8)

    return types.int64(pointer), codegen


@intrinsic
def atomic_store(typingctx, pointer, value):
    """Write an int64 that another thread may read, sequentially consistent."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[1], args[0], ordering="seq_cst", align=8)
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


@intrinsic
def pause(typingctx):
    """Tell the core that this is a spin loop. `yield` does nothing on aarch64; `isb` waits, as in Rust's spin loop."""

    def codegen(context, builder, sig, args):
        if TARGET.triple.startswith("x86_64"):
            call_llvm(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        else:
            call_llvm(builder, "llvm.aarch64.isb", ir.VoidType(), [ir.Constant(ir.IntType(32), 15)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def prefetch(typingctx, pointer, n_bytes):
    """Ask for the cache line at pointer + n_bytes, to be read soon and once."""

    def codegen(context, builder, sig, args):
        i32 = ir.IntType(32)
        address = _byte_address(builder, *args)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [address.type, i32, i32, i32]), "llvm.prefetch.p0"
        )
        builder.call(function, [address] + [ir.Constant(i32, n) for n in (0, 3, 1)])
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


@intrinsic(prefer_literal=True)
def prefetch_lines(typingctx, pointer, n_bytes, size):
    """Ask for the cache lines of `size` bytes (a literal) at pointer + n_bytes: in steps of `size` none is left out."""
    if not isinstance(size, types.IntegerLiteral):
        raise TypingError("prefetch_lines: size must be a literal")

    def codegen(context, builder, sig, args):
        i32 = ir.IntType(32)
        start = _byte_address(builder, *args[:2])
        kind = ir.FunctionType(ir.VoidType(), [start.type, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for line in range(0, size.literal_value, CACHE_LINE):
            address = builder.gep(start, [ir.Constant(ir.IntType(64), line)])
            builder.call(function, [address] + [ir.Constant(i32, n) for n in (0, 3, 1)])
        return context.get_dummy_value()

    return types.void(pointer, types.int64, size), codegen


@intrinsic(prefer_literal=True)
def read_halves(typingctx, pointer, n_bytes, stride):
    """Eight f16 at pointer + n_bytes, `stride` bytes (a literal) apart, as f32."""
    if not isinstance(stride, types.IntegerLiteral):
        raise TypingError("read_halves: stride must be a literal")
    result = vector("f32", 8)

    def codegen(context, builder, sig, args):
        start, word = _byte_address(builder, *args[:2]), ir.IntType(64)
        halves = ir.Constant(ir.VectorType(word, 2), ir.Undefined)
        for w in range(2):  # put together by the integer units: the vector ones have enough to do
            four = ir.Constant(word, 0)
            for i in range(4):
                address = builder.gep(start, [ir.Constant(word, (4 * w + i) * stride.literal_value)])
                half = builder.load(builder.bitcast(address, ir.IntType(16).as_pointer()), align=1)
                four = builder.or_(four, builder.shl(builder.zext(half, word), ir.Constant(word, 16 * i)))
            halves = builder.insert_element(halves, four, ir.Constant(ir.IntType(32), w))
        return builder.fpext(builder.bitcast(halves, ir.VectorType(ir.HalfType(), 8)), result.llvm)

    return result(pointer, types.int64, stride), codegen


def _call_libc(builder, name: str, result, args):
    """Call a function of libc; `name` must be on the allow-list of undefined symbols."""
    kind = ir.FunctionType(result, [value.type for value in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def futex(typingctx, number, word, operation, value):
    """The futex system call, without a time-out; `number` is its number on this machine, `word` an address."""

    def codegen(context, builder, sig, args):
        zero = ir.Constant(ir.IntType(64), 0)
        return _call_libc(builder, "syscall", ir.IntType(64), [*args, zero, zero, zero])

    return types.int64(*[types.int64] * 4), codegen


@intrinsic
def sched_yield(typingctx):
    """Let another thread have this CPU."""

    def codegen(context, builder, sig, args):
        return _call_libc(builder, "sched_yield", ir.IntType(32), [])

    return types.int32(), codegen


@intrinsic
def address_of(typingctx, pointer):
    """The address as an int64."""

    def codegen(context, builder, sig, args):
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(pointer), codegen
