"""The compiled sums against the same sums in NumPy, bit for bit, and the levels against the nearest of a list."""

from __future__ import annotations

import numpy as np
import pytest

from realizar_lambda.quantize.levels import IQ4_VALUES, LANES, Codebook, Uniform

LEVELS = {"Q4": Uniform(0, 15), "Q3": Uniform(-4, 3), "Q6": Uniform(-32, 31), "IQ4": Codebook()}


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("size", [16, 32])
def test_the_compiled_sums_equal_numpys_bit_for_bit(levels, size):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, size, LANES)).astype(np.float32)
    w = rng.uniform(0, 2, x.shape).astype(np.float32)
    origin = rng.standard_normal((4, 3, LANES)).astype(np.float32)
    inverse = rng.uniform(0, 60, origin.shape).astype(np.float32)
    got = levels.sums(x, w, origin, inverse)
    level = levels.nearest((x - origin[:, :, None]) * inverse[:, :, None]).astype(np.float64)
    # A sum over an axis that is not the last adds row after row, which is the order of the compiled loop.
    expected = np.stack([(w * level).sum(2), (w * level * level).sum(2), (w * level * x).sum(2)])
    np.testing.assert_array_equal(got, expected)


def test_codebook_levels_are_the_nearest_values():
    scaled = np.linspace(-200, 200, 5001, dtype=np.float32)
    values = np.array(IQ4_VALUES, np.float32)
    expected = values[np.abs(scaled[:, None] - values).argmin(axis=1)]
    np.testing.assert_array_equal(Codebook().nearest(scaled), expected)


def test_uniform_levels_round_ties_to_even_and_stay_in_range():
    scaled = np.array([-9.0, -4.5, -0.5, 0.5, 1.5, 2.6, 9.0], np.float32)
    np.testing.assert_array_equal(Uniform(-4, 3).nearest(scaled), [-4, -4, 0, 0, 2, 3, 3])
