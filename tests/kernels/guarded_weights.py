"""Run with a library's name and path: every kernel that reads weights, on weights whose last byte is the last of a
mapping, with an unreadable page behind it. A read one byte too far kills the process."""

from __future__ import annotations

import ctypes
import mmap
import sys

import kernel_runs
import numpy as np

from realizar_lambda import native, ops
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder
from realizar_lambda.session import Session
from realizar_lambda.tensor import Tensor

PROT_NONE = 0
LIBC = ctypes.CDLL(None, use_errno=True)


def guarded(data: bytes) -> memoryview:
    """A copy of `data` that ends where readable memory ends."""
    size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    guard = ctypes.c_void_p(native.address(memory) + size)
    if LIBC.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    memory[size - len(data) : size] = data
    return memoryview(memory)[size - len(data) : size]


def at_the_edge(tensor: Tensor) -> Tensor:
    return tensor._replace(data=guarded(bytes(tensor.data)))


def run(builder: Builder, output: object, library: native.Library) -> None:
    session = Session(builder.finish(output), native.Team(1, library))
    for n in (1, 3, 4, 17):
        session.run(n)


def main(isa: str, path: str) -> None:
    library = native.Library(isa, path)
    for block in ops.MATMUL_BLOCKS:
        n = BLOCKS[block].n_elements
        for n_rows, n_columns in ((1, n), (5, n * 3), (4, n + 1 if n == 1 else n), (3, n * 31)):
            weight = at_the_edge(kernel_runs.weight(block, n_rows, n_columns))
            builder = Builder(max_tokens=17)
            run(builder, builder.matmul(builder.input("x", n_columns), weight), library)
            builder = Builder(max_tokens=17)
            ids = builder.input("ids", 1, "i32")
            session = Session(builder.finish(builder.embed(ids, weight)), native.Team(1, library))
            session.view(ids, 17)[:] = memoryview(np.full(17, n_rows - 1, "i4"))
            session.run(17)
    for width in (1, 7, 33):
        vector = at_the_edge(kernel_runs.tensor("vector", np.ones(width)))
        table = at_the_edge(kernel_runs.tensor("table", np.ones((17, width))))
        builder = Builder(max_tokens=17)
        x = builder.input("x", width)
        builder.rms_norm(x, vector, 1e-5)
        builder.layer_norm(x, vector, vector, 1e-5)
        run(builder, builder.add_positions(x, table, 17), library)
    print("no read past the end")


if __name__ == "__main__":
    main(*sys.argv[1:])
