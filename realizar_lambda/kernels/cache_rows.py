"""Rows of a key or value cache times a query or its weights, a few rows or vectors at once. No softmax.

    inner(tile, kind, rows, stride, x, i)     LANES columns from i of each of the tile's rows times x[i ...], summed
                                              lane by lane; rows lie `stride` bytes apart
    totals(tile)                              the sum of each row's lanes, as one vector: a tile of LANES rows
    weighted(tile, kind, weight, row, i)      tile + weight * the row's vectors from column i on

A tile (`tile.py`) is of one vector per row; `kind` is the vector that a cache's elements are read as.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import LANES, call_llvm, row_totals, shuffled, vector

_F32 = vector("f32", LANES).llvm
_BYTE, _I64 = ir.IntType(8), ir.IntType(64)


def _read(builder, kind, pointer, n_bytes):
    """LANES elements of `kind` at pointer + n_bytes, as f32."""
    address = builder.gep(builder.bitcast(pointer, _BYTE.as_pointer()), [n_bytes])
    value = builder.load(builder.bitcast(address, kind.llvm.as_pointer()), align=1)
    return value if kind.element == "f32" else builder.fpext(value, _F32)


def _fma(builder, a, b, c):
    return call_llvm(builder, f"llvm.fma.v{LANES}f32", _F32, [a, b, c])


def _element_bytes(kind) -> ir.Constant:
    return ir.Constant(_I64, int(kind.element[1:]) // 8)


@intrinsic
def inner(typingctx, tile, kind, rows, stride, x, i):
    """tile + the products of LANES columns of each row with x's, lane by lane."""
    cached = kind.instance_type

    def codegen(context, builder, sig, args):
        result, _, rows_, stride_, x_, i_ = args
        column = builder.mul(i_, _element_bytes(cached))
        own = _read(builder, vector("f32", LANES), x_, builder.mul(i_, ir.Constant(_I64, 4)))
        for r in range(tile.rows):
            place = builder.add(column, builder.mul(stride_, ir.Constant(_I64, r)))
            value = _fma(builder, _read(builder, cached, rows_, place), own, builder.extract_value(result, r))
            result = builder.insert_value(result, value, r)
        return result

    return tile(tile, kind, rows, types.int64, x, types.int64), codegen


@intrinsic
def totals(typingctx, tile):
    """Lane r is the sum over row r."""
    kind = vector("f32", LANES)

    def codegen(context, builder, sig, args):
        return row_totals(builder, kind, [builder.extract_value(args[0], r) for r in range(LANES)])

    return kind(tile), codegen


@intrinsic
def weighted(typingctx, tile, kind, weight, row, i):
    """tile + weight times as many vectors of the row as the tile has, from column i on."""
    cached = kind.instance_type

    def codegen(context, builder, sig, args):
        result, _, weight_, row_, i_ = args
        one = builder.insert_element(ir.Constant(_F32, ir.Undefined), weight_, ir.Constant(ir.IntType(32), 0))
        weights = shuffled(builder, one, one, [0] * LANES)
        for v in range(tile.rows):
            column = builder.add(i_, ir.Constant(_I64, v * LANES))
            value = _read(builder, cached, row_, builder.mul(column, _element_bytes(cached)))
            result = builder.insert_value(result, _fma(builder, weights, value, builder.extract_value(result, v)), v)
        return result

    return tile(tile, kind, types.float32, row, types.int64), codegen
