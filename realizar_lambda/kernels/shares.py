"""Which part of an operation's work is a thread's. It knows no operation.

Parts are contiguous, so that no two threads write into one cache line again and again. Columns and heads are split,
not tokens, where a matmul's output comes in: a thread then has those that it made as rows, and finds them in its own
cache.
"""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import kernel
from realizar_lambda.kernels.memory import smaller

I64 = types.int64


@kernel(I64, I64, I64, I64)
def share(n, thread, n_threads):
    """Where the share of `thread` begins: thread t owns [share(t), share(t + 1)), in multiples of 16."""
    per_thread = (n + n_threads * 16 - 1) // (n_threads * 16) * 16
    return smaller(n, per_thread * thread)


@kernel(I64, I64, I64, I64)
def part(n, thread, n_threads):
    """As `share`, as evenly as n units can be split."""
    return n * thread // n_threads
