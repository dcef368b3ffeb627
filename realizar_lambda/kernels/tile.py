"""A register tile: the sums of R weight rows x V vectors of tokens, kept in registers. No memory layout of weights.

A matmul over many tokens holds one token in each lane. A `Tile` is R x V vectors; each operation below unrolls
over it when it is compiled, so a kernel reads like one step on one value:

    zero(T)                                          all sums 0
    group_dot(T, codes, k, stride, x, x_stride, n, bits)
                                                     integer sums over n columns from column k:
                                                     codes[r * stride + k ...] . x's lanes
    scaled(t, dots, scales, g, stride, d, d_stride)  t + dots * scales[r * stride + g] * d[v]
    shifted(t, mins, g, stride, sums, sums_stride)   t - mins[r * stride + g] * sums[v]
    outer(t, w, k, stride, step, x, x_stride, n)     t + sum over n columns k of w[r * stride + k * step] * x[v]
    refill(T, x)                                     a tile read back from (R, V, LANES) f32
    spill(t, out)                                    (R, V, LANES) f32 to memory

The four products of a dot step lie beside each other in a lane's 32 bits, as every instruction set wants them.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir
from numba import types
from numba.core.datamodel import PrimitiveModel, register_default
from numba.core.errors import TypingError
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import LANES, TARGET, call_llvm, shuffled

_I8, _I16, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_QUADS = ir.VectorType(_I8, 4 * LANES)
_PAIRS = ir.VectorType(_I16, 2 * LANES)
_SUMS = ir.VectorType(_I32, LANES)
_FLOATS = ir.VectorType(_F32, LANES)

STEPS = {4: 8, 5: 4, 6: 2}
"""maddubs only: how many sums of two products of codes of so many bits with int8 fit an int16.

15 * 127 * 2 * 8 = 30,480; 31 * 127 * 2 * 4 = 31,496; 63 * 127 * 2 * 2 = 32,004; all below 32,768.
"""


class Tile(types.Type):
    """R x V vectors of f32 sums."""

    def __init__(self, rows: int, vectors: int) -> None:
        self.rows = rows
        self.vectors = vectors
        super().__init__(name=f"tile{rows}x{vectors}")

    def llvm(self, lane: ir.Type = _FLOATS) -> ir.ArrayType:
        return ir.ArrayType(lane, self.rows * self.vectors)


class Dots(types.Type):
    """The integer sums of a tile, before they are scaled."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        super().__init__(name=f"dots{tile.rows}x{tile.vectors}")


@register_default(Tile)
class _TileModel(PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, kind.llvm())


@register_default(Dots)
class _DotsModel(PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, kind.tile.llvm(_SUMS))


def _read(builder, pointer, n_bytes, kind):
    """A value of `kind` at pointer + n_bytes, unaligned."""
    address = builder.gep(builder.bitcast(pointer, _I8.as_pointer()), [n_bytes])
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=1)


def _splat(builder, scalar, lanes: int):
    kind = ir.VectorType(scalar.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
    return shuffled(builder, one, one, [0] * lanes)


def _fma(builder, a, b, c):
    return call_llvm(builder, f"llvm.fma.v{LANES}f32", _FLOATS, [a, b, c])


def _offset(builder, base, count, stride, size: int):
    """(base + count * stride) * size, in bytes."""
    return builder.mul(builder.add(base, builder.mul(ir.Constant(_I64, count), stride)), ir.Constant(_I64, size))


@intrinsic
def zero(typingctx, kind):
    """A tile of zeros."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        return ir.Constant(result.llvm(), None)

    return result(kind), codegen


def _turns(builder, n, values, body):
    """What `values` become in a loop of n turns of body(number, values), which LLVM is kept from unrolling.

    Where all turns are one line of code, LLVM keeps a tile's sums on the stack; in a loop they stay in registers.
    """
    hidden = builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", [ir.Constant(_I64, n)], False)
    before, loop = builder.block, builder.append_basic_block("turn")
    builder.branch(loop)
    builder.position_at_end(loop)
    number, inside = builder.phi(_I64), [builder.phi(value.type) for value in values]
    found = body(number, inside)
    following = builder.add(number, ir.Constant(_I64, 1))
    for phi, first, later in zip([number, *inside], [ir.Constant(_I64, 0), *values], [following, *found], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    after = builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed("!=", following, hidden), loop, after)
    builder.position_at_end(after)
    return found


@intrinsic(prefer_literal=True)
def group_dot(typingctx, kind, codes, k, stride, x, x_stride, n, bits):
    """Sums of n products from column k on; `x` points at the tile's first vector of tokens, column 0."""
    if not (isinstance(n, types.IntegerLiteral) and isinstance(bits, types.IntegerLiteral)):
        raise TypingError("group_dot: n and bits must be literals")
    tile, n_quads, width = kind.instance_type, n.literal_value // 4, bits.literal_value

    def codegen(context, builder, sig, args):
        _, codes_, k_, stride_, x_, x_stride_, _, _ = args
        x_column = builder.mul(k_, ir.Constant(_I64, LANES))

        def row_quad(r, quad):
            at = builder.add(_offset(builder, k_, r, stride_, 1), builder.mul(quad, ir.Constant(_I64, 4)))
            return builder.bitcast(_splat(builder, _read(builder, codes_, at, _I32), LANES), _QUADS)

        def token_quad(v, quad):
            place = builder.mul(quad, ir.Constant(_I64, 4 * LANES))
            return _read(builder, x_, builder.add(_offset(builder, x_column, v, x_stride_, 1), place), _QUADS)

        def add_quad(quad, values, add):
            """values[r * V + v] with the products of one four of columns added to each."""
            xs = [token_quad(v, quad) for v in range(tile.vectors)]
            found = list(values)
            for r in range(tile.rows):
                w = row_quad(r, quad)
                for v in range(tile.vectors):
                    i = r * tile.vectors + v
                    found[i] = add(found[i], w, xs[v])
            return found

        def add_pairs(total, w, x):
            products = _maddubs(builder, w, x)
            return products if total is None else builder.add(total, products)

        def add_signed(total, w, x):
            return builder.add(total, _madd_ones(builder, _maddubs(builder, *_signed(builder, w, x))))

        n_sums = tile.rows * tile.vectors
        sums: list = [ir.Constant(_SUMS, None)] * n_sums
        if TARGET.dot != "maddubs":
            for quad in range(n_quads):
                add = partial(DOTS[TARGET.dot], builder)
                sums = add_quad(ir.Constant(_I64, quad), sums, add)
        elif width == 8:
            sums = _turns(builder, n_quads, sums, lambda quad, values: add_quad(quad, values, add_signed))
        else:
            step = min(n_quads, STEPS[width])
            for begin in range(0, n_quads, step):
                pairs: list = [None] * n_sums
                for quad in range(begin, begin + step):
                    pairs = add_quad(ir.Constant(_I64, quad), pairs, add_pairs)
                sums = [builder.add(total, _madd_ones(builder, pair)) for total, pair in zip(sums, pairs, strict=True)]
        result = ir.Constant(tile.llvm(_SUMS), ir.Undefined)
        for i, value in enumerate(sums):
            result = builder.insert_value(result, value, i)
        return result

    return Dots(tile)(kind, codes, types.int64, types.int64, x, types.int64, n, bits), codegen


def _maddubs(builder, codes, x):
    """u8 codes x i8, products of neighbours summed to i16."""
    return call_llvm(builder, "llvm.x86.avx2.pmadd.ub.sw", _PAIRS, [codes, x])


def _signed(builder, codes, x):
    """Signed codes for `_maddubs`: without their signs, which x takes."""
    x = call_llvm(builder, "llvm.x86.avx2.psign.b", _QUADS, [x, codes])
    return call_llvm(builder, f"llvm.abs.v{4 * LANES}i8", _QUADS, [codes, ir.Constant(ir.IntType(1), 0)]), x


def _madd_ones(builder, pairs):
    ones = ir.Constant(_PAIRS, [1] * 2 * LANES)
    return call_llvm(builder, "llvm.x86.avx2.pmadd.wd", _SUMS, [pairs, ones])


def _vnni(builder, sums, codes, x):
    quads = [builder.bitcast(value, _SUMS) for value in (codes, x)]
    return call_llvm(builder, f"llvm.x86.avx512.vpdpbusd.{LANES * 32}", _SUMS, [sums, *quads])


def _sdot(builder, sums, codes, x):
    quarter, quads = ir.VectorType(_I32, 4), ir.VectorType(_I8, 16)
    parts = []
    for i in range(LANES // 4):
        lanes, bytes_ = range(4 * i, 4 * i + 4), range(16 * i, 16 * i + 16)
        args = [
            shuffled(builder, sums, sums, lanes),
            shuffled(builder, codes, codes, bytes_),
            shuffled(builder, x, x, bytes_),
        ]
        assert args[0].type == quarter
        assert args[1].type == quads
        parts.append(call_llvm(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", quarter, args))
    while len(parts) > 1:
        n = parts[0].type.count * 2
        parts = [shuffled(builder, a, b, range(n)) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


DOTS = {"vnni": _vnni, "sdot": _sdot}


@intrinsic
def scaled(typingctx, tile, dots, scales, g, stride, d, d_stride):
    """tile + dots * scales[r * stride + g] * d[v * d_stride ...]."""

    def codegen(context, builder, sig, args):
        result, dots_, scales_, g_, stride_, d_, d_stride_ = args
        zero_ = ir.Constant(_I64, 0)
        ds = [_read(builder, d_, _offset(builder, zero_, v, d_stride_, 4), _FLOATS) for v in range(tile.vectors)]
        for r in range(tile.rows):
            scale = _splat(builder, _read(builder, scales_, _offset(builder, g_, r, stride_, 4), _F32), LANES)
            for v in range(tile.vectors):
                i = r * tile.vectors + v
                dot = builder.sitofp(builder.extract_value(dots_, i), _FLOATS)
                total = _fma(builder, builder.fmul(dot, scale), ds[v], builder.extract_value(result, i))
                result = builder.insert_value(result, total, i)
        return result

    i64 = types.int64
    return tile(tile, dots, scales, i64, i64, d, i64), codegen


@intrinsic
def shifted(typingctx, tile, mins, g, stride, sums, sums_stride):
    """tile - mins[r * stride + g] * sums[v * sums_stride ...]."""

    def codegen(context, builder, sig, args):
        result, mins_, g_, stride_, sums_, sums_stride_ = args
        zero_ = ir.Constant(_I64, 0)
        xs = [_read(builder, sums_, _offset(builder, zero_, v, sums_stride_, 4), _FLOATS) for v in range(tile.vectors)]
        for r in range(tile.rows):
            low = _read(builder, mins_, _offset(builder, g_, r, stride_, 4), _F32)
            negative = _splat(builder, builder.fneg(low), LANES)
            for v in range(tile.vectors):
                i = r * tile.vectors + v
                total = _fma(builder, negative, xs[v], builder.extract_value(result, i))
                result = builder.insert_value(result, total, i)
        return result

    i64 = types.int64
    return tile(tile, mins, i64, i64, sums, i64), codegen


@intrinsic(prefer_literal=True)
def outer(typingctx, tile, w, k, stride, step, x, x_stride, n):
    """tile + the products of n columns from k on: w[r * stride + column * step] f32 and x (V, x_stride) f32."""
    if not isinstance(n, types.IntegerLiteral):
        raise TypingError("outer: n must be a literal")

    def codegen(context, builder, sig, args):
        result, w_, k_, stride_, step_, x_, x_stride_, _ = args
        x_column = builder.mul(k_, ir.Constant(_I64, LANES))
        values = [builder.extract_value(result, i) for i in range(tile.rows * tile.vectors)]
        for j in range(n.literal_value):
            here, there = ir.Constant(_I64, j), ir.Constant(_I64, j * LANES)
            xs = [
                _read(builder, x_, _offset(builder, builder.add(x_column, there), v, x_stride_, 4), _FLOATS)
                for v in range(tile.vectors)
            ]
            for r in range(tile.rows):
                column = builder.mul(builder.add(k_, here), step_)
                scalar = _read(builder, w_, _offset(builder, column, r, stride_, 4), _F32)
                weight = _splat(builder, scalar, LANES)
                for v in range(tile.vectors):
                    i = r * tile.vectors + v
                    values[i] = _fma(builder, weight, xs[v], values[i])
        for i, value in enumerate(values):
            result = builder.insert_value(result, value, i)
        return result

    i64 = types.int64
    return tile(tile, w, i64, i64, i64, x, i64, n), codegen


@intrinsic
def spill(typingctx, tile, out):
    """Write the tile to memory as (R, V, LANES) f32."""

    def codegen(context, builder, sig, args):
        base = builder.bitcast(args[1], _FLOATS.as_pointer())
        for i in range(tile.rows * tile.vectors):
            builder.store(builder.extract_value(args[0], i), builder.gep(base, [ir.Constant(_I64, i)]), align=4)
        return context.get_dummy_value()

    return types.void(tile, out), codegen


@intrinsic
def refill(typingctx, kind, x):
    """The tile that `spill` wrote at x."""
    result = kind.instance_type

    def codegen(context, builder, sig, args):
        base = builder.bitcast(args[1], _FLOATS.as_pointer())
        value = ir.Constant(result.llvm(), ir.Undefined)
        for i in range(result.rows * result.vectors):
            part = builder.load(builder.gep(base, [ir.Constant(_I64, i)]), align=4)
            value = builder.insert_value(value, part, i)
        return value

    return result(kind, x), codegen


@intrinsic
def transpose(typingctx, out, x, stride, n_rows):
    """out (LANES, LANES) f32 = the transpose of LANES values of `n_rows` rows of x, `stride` values apart, zeros of
    rows from there on."""

    def codegen(context, builder, sig, args):
        out_, x_, stride_, n_rows_ = args
        zero_, nothing = ir.Constant(_I64, 0), ir.Constant(_FLOATS, None)
        rows = []
        for r in range(LANES):
            is_there = builder.icmp_signed("<", ir.Constant(_I64, r), n_rows_)
            place = builder.select(is_there, _offset(builder, zero_, r, stride_, 4), zero_)
            rows.append(builder.select(is_there, _read(builder, x_, place, _FLOATS), nothing))
        distance = 1
        while distance < LANES:  # each step exchanges one bit of a value's row with the same bit of its lane
            for r in range(LANES):
                if r & distance == 0:
                    a, b = rows[r], rows[r + distance]
                    for row, shift in ((r, 0), (r + distance, distance)):
                        lanes = [j + shift if j & distance == 0 else LANES + j - distance + shift for j in range(LANES)]
                        rows[row] = shuffled(builder, a, b, lanes)
            distance *= 2
        base = builder.bitcast(out_, _FLOATS.as_pointer())
        for r, value in enumerate(rows):
            builder.store(value, builder.gep(base, [ir.Constant(_I64, r)]), align=4)
        return context.get_dummy_value()

    return types.void(out, x, types.int64, types.int64), codegen
