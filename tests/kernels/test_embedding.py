from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import MAX_TOKENS, N_TOKENS, outputs, weight
from oracles import blocks
from oracles.program import Machine

from realizar_lambda import native, ops
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder

N_VOCABULARY = 7


@pytest.mark.parametrize("block", ops.MATMUL_BLOCKS)
def test_a_row_is_decoded_bit_for_bit_as_the_layout_says(library: native.Library, block: str) -> None:
    for width in (BLOCKS[block].n_elements, 3 * BLOCKS[block].n_elements):
        stored = weight(block, N_VOCABULARY, width)
        expected = blocks.decode(block, bytes(stored.data)).reshape(N_VOCABULARY, width)
        ids = np.random.default_rng(width).integers(0, N_VOCABULARY, (MAX_TOKENS, 1)).astype("i4")
        builder = Builder(max_tokens=MAX_TOKENS)
        buffer = builder.input("ids", 1, "i32")
        program = builder.finish(builder.embed(buffer, stored))
        for n, found in zip(N_TOKENS, outputs(program, library, {buffer: ids}), strict=True):
            assert np.array_equal(found, expected[ids[:n, 0]]), (width, n)


@pytest.mark.parametrize("block", ["F16", "Q6_K"])
def test_a_scale_multiplies_the_row(library: native.Library, block: str) -> None:
    stored = weight(block, N_VOCABULARY, 256)
    ids = np.arange(MAX_TOKENS, dtype="i4")[:, None] % N_VOCABULARY
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer = builder.input("ids", 1, "i32")
    program = builder.finish(builder.embed(buffer, stored, scale=16.0**0.5 + 0.1))
    machine = Machine(program)
    machine.write(buffer, ids)
    expected = machine.run(MAX_TOKENS)
    for n, found in zip(N_TOKENS, outputs(program, library, {buffer: ids}), strict=True):
        np.testing.assert_allclose(found, expected[:n], rtol=2e-7)
