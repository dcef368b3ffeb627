"""Lists of places: where in memory the lanes lie that are not 0. It knows no operation."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from realizar_lambda.kernels.vectors import call_llvm, shuffled


def _set_lanes_first(builder, kind, is_set):
    """The numbers of the lanes that `is_set`, in order, then any others."""
    n = kind.count
    if n > 8:  # where vectors are so wide an instruction does it
        name = f"llvm.experimental.vector.compress.v{n}i32"
        return call_llvm(builder, name, kind, [ir.Constant(kind, list(range(n))), is_set, ir.Constant(kind, None)])
    rows = ir.ArrayType(ir.ArrayType(ir.IntType(8), n), 1 << n)
    values = [sorted(range(n), key=lambda lane, mask=mask: not mask >> lane & 1) for mask in range(1 << n)]
    table = cgutils.global_constant(builder.module, f"lanes_of_{n}", ir.Constant(rows, values))
    mask = builder.zext(builder.bitcast(is_set, ir.IntType(n)), ir.IntType(64))
    row = builder.gep(table, [ir.Constant(ir.IntType(64), 0), mask])
    lanes = builder.load(builder.bitcast(row, ir.VectorType(ir.IntType(8), n).as_pointer()), align=1)
    return builder.zext(lanes, kind)


@intrinsic
def store_places(typingctx, out, index, first, value):
    """Write first + lane, i32, to out[index], out[index + 1], ... for each lane of `value` that is not 0; how many.

    What lies after those, up to a whole vector from `index` on, is overwritten too.
    """

    def codegen(context, builder, sig, args):
        out_, index_, first_, value_ = args
        kind, i32 = value.llvm, ir.IntType(32)
        is_set = builder.icmp_unsigned("!=", value_, ir.Constant(kind, None))
        lowest = builder.insert_element(
            ir.Constant(kind, ir.Undefined), builder.trunc(first_, i32), ir.Constant(i32, 0)
        )
        lowest = shuffled(builder, lowest, lowest, [0] * kind.count)
        address = builder.bitcast(builder.gep(out_, [index_]), kind.as_pointer())
        builder.store(builder.add(lowest, _set_lanes_first(builder, kind, is_set)), address, align=4)
        mask = ir.IntType(kind.count)
        count = call_llvm(builder, f"llvm.ctpop.i{kind.count}", mask, [builder.bitcast(is_set, mask)])
        return builder.zext(count, ir.IntType(64))

    return types.int64(out, types.int64, types.int64, value), codegen
