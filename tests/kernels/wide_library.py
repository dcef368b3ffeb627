"""AVX-512's kernels as a CPU with AVX2 alone can run them: `python wide_library.py FOLDER` builds x86_64_v3.so there.

Vectors have 16 lanes, which LLVM splits in two, and the one instruction of AVX-512 that is asked for by name, the dot
product of bytes, is done by multiplications. Everything else is what a machine with AVX-512 runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from llvmlite import ir

from realizar_lambda.kernels import build, targets

NAME = "x86_64_v3"
WIDE = targets.TARGETS["x86_64_v4"]._replace(name=NAME, cpu="x86-64-v3", features="")
targets.TARGETS[NAME] = WIDE  # before `vectors` reads it

from realizar_lambda.kernels import vectors  # noqa: E402

plain_call = vectors.call_llvm


def call_llvm(builder, name, result, args):
    """`vectors.call_llvm`, but for `vpdpbusd`: sums + four products of u8 and i8 for each i32."""
    if not name.startswith("llvm.x86.avx512.vpdpbusd"):
        return plain_call(builder, name, result, args)
    sums, unsigned, signed = args
    narrow, wide = (ir.VectorType(ir.IntType(bits), 4 * result.count) for bits in (8, 32))
    codes, values = builder.bitcast(unsigned, narrow), builder.bitcast(signed, narrow)
    products = builder.mul(builder.zext(codes, wide), builder.sext(values, wide))
    for i in range(4):
        sums = builder.add(sums, vectors.shuffled(builder, products, products, range(i, 4 * result.count, 4)))
    return sums


vectors.call_llvm = call_llvm  # before the kernels import it

from realizar_lambda.kernels import compiler, library  # noqa: E402, F401

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    build.link(compiler.emit(), WIDE, folder)
    build.note([NAME], folder, build.source_hash())
