from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import MAX_TOKENS, N_TOKENS, outputs, tensor
from oracles.program import Machine

from realizar_lambda import native
from realizar_lambda.builder import Builder
from realizar_lambda.program import Buffer, Program

WIDTHS = (1, 2, 7, 8, 16, 17, 31, 32, 33, 48, 100, 768)


def norm(name: str, width: int, *, n_groups: int = 1, epsilon: float = 1e-5) -> tuple[Program, Buffer]:
    random = np.random.default_rng(width)
    builder = Builder(max_tokens=MAX_TOKENS)
    x = builder.input("x", width)
    weight, bias = (tensor(text, random.normal(size=width // n_groups)) for text in ("weight", "bias"))
    if name == "rms_norm":
        return builder.finish(builder.rms_norm(x, weight, epsilon, n_groups=n_groups)), x
    return builder.finish(builder.layer_norm(x, weight, bias, epsilon)), x


def check(program: Program, x: Buffer, rows: np.ndarray, library: native.Library) -> None:
    """Sums in f32 lose width / 16 units at most; a difference from a mean loses units of the mean."""
    machine = Machine(program)
    machine.write(x, rows)
    expected = machine.run(len(rows))
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.maximum(rows.std(axis=1, keepdims=True), 1e-3)
    tolerance = (8 + x.width / 16) * 2.0**-24 * (np.abs(expected) + scale * np.abs(expected).max(axis=1, keepdims=True))
    for n, found in zip(N_TOKENS, outputs(program, library, {x: rows}), strict=True):
        assert (np.abs(found - expected[:n]) <= tolerance[:n] + 1e-6).all(), n


@pytest.mark.parametrize("name", ["rms_norm", "layer_norm"])
def test_a_norm_equals_the_oracle_at_every_width(library: native.Library, name: str) -> None:
    for width in WIDTHS:
        random = np.random.default_rng(width)
        rows = random.normal(size=(MAX_TOKENS, width)).astype("f4")
        rows[1] *= np.float32(1e4)
        rows[3] += np.float32(50.0)
        program, x = norm(name, width)
        check(program, x, rows, library)


def test_each_group_of_a_row_is_normed_alone(library: native.Library) -> None:
    for width, n_groups in ((8, 2), (21, 3), (64, 4), (96, 2)):
        rows = np.random.default_rng(width).normal(size=(MAX_TOKENS, width)).astype("f4")
        rows[:, : width // n_groups] *= np.float32(100.0)
        program, x = norm("rms_norm", width, n_groups=n_groups)
        check(program, x, rows, library)


@pytest.mark.parametrize("name", ["rms_norm", "layer_norm"])
def test_a_row_of_zeros_or_of_one_value_is_no_division_by_zero(library: native.Library, name: str) -> None:
    rows = np.zeros((MAX_TOKENS, 40), "f4")
    rows[1] = 3.0
    program, x = norm(name, 40, epsilon=1e-6)
    (found,) = outputs(program, library, {x: rows}, (3,))
    assert np.isfinite(found).all()
    if name == "rms_norm":
        assert (found[[0, 2]] == 0.0).all()


@pytest.mark.parametrize("name", ["rms_norm", "layer_norm"])
def test_a_nan_spoils_its_row_and_no_other(library: native.Library, name: str) -> None:
    program, x = norm(name, 40)
    rows = np.ones((MAX_TOKENS, 40), "f4")
    for column in (0, 17, 39):
        rows[1] = 1.0
        rows[1, column] = np.nan
        (found,) = outputs(program, library, {x: rows}, (3,))
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[[0, 2]]).all()


def test_rms_norm_may_write_where_it_reads(library: native.Library) -> None:
    rows = np.random.default_rng(0).normal(size=(MAX_TOKENS, 48)).astype("f4")
    apart, source = norm("rms_norm", 48)
    builder = Builder(max_tokens=MAX_TOKENS)
    x = builder.input("x", 48)
    weight = tensor("weight", np.random.default_rng(48).normal(size=48))
    in_place = builder.finish(builder.rms_norm(x, weight, 1e-5, out=x))
    for n in (1, 5, 33):
        assert np.array_equal(
            outputs(apart, library, {source: rows}, (n,)), outputs(in_place, library, {x: rows}, (n,))
        )
