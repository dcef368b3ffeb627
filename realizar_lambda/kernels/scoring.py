"""Log-probabilities of given tokens: how well a model foresaw a text."""

from __future__ import annotations

from numba import types

from realizar_lambda.kernels.compiler import export
from realizar_lambda.kernels.doubles import log_f64
from realizar_lambda.kernels.logit_blocks import BLOCK, MINUS_INFINITY, block_maxima, block_sums, copy_finite
from realizar_lambda.kernels.memory import at, cast, f32p, f64p, i32p

f32, f64 = types.float32, types.float64


@export
def realizar_score(out, logits, targets, n_rows, n_vocab, scratch):
    """out (n_rows,) f64 = log softmax(logits (n_rows, n_vocab) f32)[targets (n_rows,) i32].

    Returns the first row with a logit that is NaN or +infinity, or with nothing but -infinity; -1 for none.
    """
    scores, x, ids = cast(f64p, out), cast(f32p, logits), cast(i32p, targets)
    n_blocks = (n_vocab + BLOCK - 1) // BLOCK
    sums = cast(f64p, scratch)
    maxima = cast(f32p, at(sums, n_blocks * 8))
    z = at(maxima, n_blocks * 4)
    for row in range(n_rows):
        values = at(x, row * n_vocab * 4)
        if copy_finite(z, values, n_vocab, n_blocks * BLOCK) >= 0:
            return row
        best = block_maxima(maxima, z, n_blocks)
        if z[best] == f32(MINUS_INFINITY):
            return row
        greatest = f64(z[best])
        scores[row] = f64(values[ids[row]]) - greatest - log_f64(block_sums(sums, z, n_blocks, greatest, 1.0))
    return -1
