from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import MAX_TOKENS, N_TOKENS, run, tensor
from oracles.program import Machine

from realizar_lambda import native
from realizar_lambda.builder import Builder

POSITIONS = (0, 1, 31, 4095)
FAR = (0, 1, 1000, 131_071, 1_048_575)


def frequencies(n: int, base: float = 10_000.0) -> list[float]:
    return [base ** (-i / n) for i in range(n)]


@pytest.mark.parametrize("position", FAR)
@pytest.mark.parametrize("magnitude", [1.0, 1.1386])
def test_angles_are_exact_to_f32_however_far_the_position(
    library: native.Library, position: int, magnitude: float
) -> None:
    for n in (1, 4, 32, 48):
        builder = Builder(max_tokens=MAX_TOKENS)
        builder.input("unused", 1)
        program = builder.finish(builder.rope_angles(frequencies(n), magnitude=magnitude))
        expected = Machine(program).run(MAX_TOKENS, position)
        for n_tokens, (found,) in zip(
            N_TOKENS, run(program, library, {}, n_tokens=N_TOKENS, position=position), strict=True
        ):
            np.testing.assert_allclose(found, expected[:n_tokens], rtol=0.0, atol=magnitude * 2.0**-24)


@pytest.mark.parametrize("layout", ["pairs", "halves"])
@pytest.mark.parametrize("position", POSITIONS)
def test_each_head_is_turned_by_its_tokens_position(library: native.Library, layout: str, position: int) -> None:
    for n_heads, head_width, n in ((1, 2, 1), (3, 8, 4), (2, 10, 3), (4, 64, 32), (2, 64, 16)):
        rows = np.random.default_rng(n).normal(size=(MAX_TOKENS, n_heads * head_width)).astype("f4")
        builder = Builder(max_tokens=MAX_TOKENS)
        x = builder.input("x", n_heads * head_width)
        program = builder.finish(builder.rope(x, builder.rope_angles(frequencies(n)), n_heads=n_heads, layout=layout))
        machine = Machine(program)
        machine.write(x, rows)
        expected = machine.run(MAX_TOKENS, position)
        for n_tokens, (found,) in zip(
            N_TOKENS, run(program, library, {x: rows}, n_tokens=N_TOKENS, position=position), strict=True
        ):
            np.testing.assert_allclose(found, expected[:n_tokens], rtol=0.0, atol=1e-6)
            untouched = found.reshape(n_tokens, n_heads, head_width)[:, :, 2 * n :]
            assert np.array_equal(untouched, rows[:n_tokens].reshape(n_tokens, n_heads, head_width)[:, :, 2 * n :])


@pytest.mark.parametrize("layout", ["pairs", "halves"])
def test_a_turn_keeps_lengths_and_a_score_depends_on_the_distance_alone(library: native.Library, layout: str) -> None:
    rows = np.tile(np.random.default_rng(1).normal(size=(1, 32)), (MAX_TOKENS, 1)).astype("f4")
    builder = Builder(max_tokens=MAX_TOKENS)
    x = builder.input("x", 32)
    program = builder.finish(builder.rope(x, builder.rope_angles(frequencies(16)), n_heads=1, layout=layout))
    ((turned,),) = run(program, library, {x: rows}, n_tokens=(MAX_TOKENS,), position=100)
    lengths = np.linalg.norm(turned, axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(rows[0]), rtol=1e-6)
    scores = turned.astype("f8") @ turned.T.astype("f8")
    for distance in (1, 5, 20):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-5)


@pytest.mark.parametrize("position", [0, 3])
def test_learned_positions_are_added_by_position(library: native.Library, position: int) -> None:
    for width in (1, 7, 48):
        table = np.random.default_rng(width).normal(size=(MAX_TOKENS + position, width))
        rows = np.random.default_rng(0).normal(size=(MAX_TOKENS, width)).astype("f4")
        builder = Builder(max_tokens=MAX_TOKENS)
        x = builder.input("x", width)
        program = builder.finish(builder.add_positions(x, tensor("positions", table), len(table)))
        machine = Machine(program)
        machine.write(x, rows)
        expected = machine.run(MAX_TOKENS, position)
        for n, (found,) in zip(N_TOKENS, run(program, library, {x: rows}, n_tokens=N_TOKENS, position=position),
                               strict=True):  # fmt: skip
            np.testing.assert_allclose(found, expected[:n], rtol=2e-7, atol=1e-7)
