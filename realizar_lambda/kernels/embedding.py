"""Rows of the embedding table, decoded to f32, for every block type. Threads split the tokens."""

from __future__ import annotations

from numba import types

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.kernels.compiler import op
from realizar_lambda.kernels.matmul_dense import DENSE
from realizar_lambda.kernels.matmul_quantized import QUANTIZED
from realizar_lambda.kernels.memory import at, f32p, i32p, u8p


def _embed(name, kernels):
    block_bytes, block_columns, decode = BLOCKS[name].n_bytes, BLOCKS[name].n_elements, kernels.decode

    def embed(out, ids, weight, width, scale, n_tokens, position, thread, n_threads):
        row_bytes = width // block_columns * block_bytes
        for token in range(thread, n_tokens, n_threads):
            target = at(out, token * width * 4)
            decode(target, at(weight, types.int64(ids[token]) * row_bytes), width)
            if scale != 1.0:
                for i in range(width):
                    target[i] *= types.float32(scale)

    embed.__name__ = f"embed_{name}"
    op(f32p, i32p, u8p)(embed)


for _name, _kernels in {**DENSE, **QUANTIZED}.items():
    _embed(_name, _kernels)
