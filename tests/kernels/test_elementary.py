from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import outputs

from realizar_lambda import native
from realizar_lambda.builder import Builder

WIDTH = 1 << 16


def every_power(least: float, most: float, n: int) -> np.ndarray:
    """(n,) f32: half of them evenly spread from least to most, half with every exponent down to 2**-149."""
    even = np.linspace(least, most, n // 2)
    sizes = np.exp2(np.random.default_rng(0).uniform(-149, np.log2(max(abs(least), abs(most))), n - n // 2))
    signs = np.where(np.arange(len(sizes)) % 2 == 0, 1.0, -1.0)
    return np.clip(np.concatenate([even, sizes * signs]), least, most).astype("f4")


def apply(name: str, library: native.Library, rows: np.ndarray) -> np.ndarray:
    builder = Builder(max_tokens=len(rows))
    buffer = builder.input("x", rows.shape[1])
    program = builder.finish(builder.activation(name, buffer))
    (found,) = outputs(program, library, {buffer: rows}, (len(rows),))
    return found


def ulps(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Distance in units of the last place of the expected value in f32, the least normal one at least."""
    unit = np.spacing(np.maximum(np.abs(expected), 2.0**-126).astype("f4")).astype("f8")
    return np.abs(found.astype("f8") - expected) / unit


def test_exp_of_every_negative_size_is_within_two_units_in_the_last_place(library: native.Library) -> None:
    """Out of the softmax of (0, x), which is e**x / (1 + e**x): one unit of exp, one of the sum and the product."""
    x = every_power(-120.0, 0.0, WIDTH)
    found = apply("softmax", library, np.stack([np.zeros_like(x), x], axis=1))[:, 1]
    power = np.exp(x.astype("f8"))
    error = ulps(found, power / (1.0 + power))
    assert error.max() <= 2.5, (x[error.argmax()], error.max())
    assert (found[x < -103.98] == 0.0).all()
    assert (found[x > -103.2] > 0.0).all()


def test_exp_of_every_positive_size_is_within_two_units_in_the_last_place(library: native.Library) -> None:
    """Out of the sigmoid of -x, which is 1 / (1 + e**x); e**x is infinite above 88.73."""
    x = every_power(0.0, 88.7, WIDTH)
    found = apply("sigmoid", library, -x[None])[0]
    error = ulps(found, 1.0 / (1.0 + np.exp(x.astype("f8"))))
    assert error.max() <= 2.5, (x[error.argmax()], error.max())
    beyond = np.linspace(88.73, 3e38, 1000, dtype="f4")
    assert (apply("sigmoid", library, -beyond[None]) == 0.0).all()


@pytest.mark.parametrize(("name", "function", "most"), [
    ("sigmoid", lambda x: 1.0 / (1.0 + np.exp(-x)), 2.5),
    ("tanh", np.tanh, 6.0),
])  # fmt: skip
def test_an_activation_is_within_a_few_units_in_the_last_place(
    library: native.Library, name: str, function: object, most: float
) -> None:
    x = every_power(-80.0, 80.0, WIDTH)
    error = ulps(apply(name, library, x[None])[0], function(x.astype("f8")))
    assert error.max() <= most, (x[error.argmax()], error.max())


def test_gelu_is_within_a_few_units_in_the_last_place_of_half_its_input(library: native.Library) -> None:
    """Where 1 + tanh cancels, at negative x, the error is one of the sum's: small against x, not against gelu(x)."""
    x = every_power(-80.0, 80.0, WIDTH)
    wide = x.astype("f8")
    expected = 0.5 * wide * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (wide + 0.044715 * wide**3)))
    error = np.abs(apply("gelu", library, x[None])[0] - expected)
    assert (error <= 4.0 * 2.0**-24 * np.abs(wide) + 2.0**-149).all(), x[(error / np.abs(wide)).argmax()]


def test_tanh_and_sigmoid_never_leave_their_range_and_never_fall_as_x_rises(library: native.Library) -> None:
    x = np.sort(every_power(-30.0, 30.0, WIDTH))
    for name, least, most in (("tanh", -1.0, 1.0), ("sigmoid", 0.0, 1.0)):
        found = apply(name, library, x[None])[0]
        assert found.min() >= least
        assert found.max() <= most
        assert (np.diff(found) >= -2.0 * np.spacing(np.abs(found[1:]))).all()
