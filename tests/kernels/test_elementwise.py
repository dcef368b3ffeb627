from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import MAX_TOKENS, N_TOKENS, activation, of_steps, outputs, run, tensor
from oracles.program import Machine

from realizar_lambda import native
from realizar_lambda.builder import Builder
from realizar_lambda.program import ACTIVATIONS, Step
from realizar_lambda.session import Session

WIDTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000)
NAN, INF = np.nan, np.inf


def ordinary(width: int) -> np.ndarray:
    return np.random.default_rng(width).normal(scale=3.0, size=(MAX_TOKENS, width)).astype("f4")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_equals_the_oracle_at_every_width(library: native.Library, name: str) -> None:
    for width in WIDTHS:
        program, buffer = activation(name, width)
        x = ordinary(width)
        machine = Machine(program)
        machine.write(buffer, x)
        expected = machine.run(MAX_TOKENS)
        tolerance = 1e-7 * (5.0 + width**0.5) * np.abs(expected) + 2e-7 * np.abs(x) * name.startswith("gelu") + 1e-37
        for n, found in zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True):
            assert (np.abs(found - expected[:n]) <= tolerance[:n]).all(), (width, n)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_gives_the_same_bits_on_every_library(libraries: list[native.Library], name: str) -> None:
    for width in (1, 17, 100):
        program, buffer = activation(name, width)
        first, *others = (outputs(program, library, {buffer: ordinary(width)}) for library in libraries)
        for found in others:
            assert all(np.array_equal(a, b) for a, b in zip(first, found, strict=True)), width


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_into_another_buffer_gives_the_same_bits_and_leaves_its_input(
    library: native.Library, name: str
) -> None:
    x = ordinary(33)
    in_place, source = activation(name, 33)
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer, out = builder.input("x", 33), builder.input("out", 33)
    apart = of_steps(builder, out, Step(name, {"out": out, "x": buffer, "width": 33}, True))
    for n in N_TOKENS:
        (expected,) = outputs(in_place, library, {source: x}, (n,))
        ((found, kept),) = run(apart, library, {buffer: x}, n_tokens=(n,), read=[buffer])
        assert np.array_equal(found, expected)
        assert np.array_equal(kept, x[:n])


MEANINGS = [
    # activation, x, f(x)
    ("relu", NAN, NAN), ("relu", INF, INF), ("relu", -INF, 0.0), ("relu", -0.0, 0.0), ("relu", 1e-45, 1e-45),
    ("relu", -3e38, 0.0), ("relu", 3e38, 3e38),
    ("sigmoid", NAN, NAN), ("sigmoid", 3e38, 1.0), ("sigmoid", -3e38, 0.0), ("sigmoid", 0.0, 0.5),
    ("sigmoid", -1e-45, 0.5),
    ("tanh", NAN, NAN), ("tanh", 0.0, 0.0), ("tanh", 1e-45, 1e-45), ("tanh", -1e-30, -1e-30), ("tanh", 1e38, 1.0),
    ("gelu", NAN, NAN), ("gelu", 0.0, 0.0), ("gelu", 1e-38, 5e-39), ("gelu", 1e12, 1e12), ("gelu", -1e12, 0.0),
    ("gelu_erf", NAN, NAN), ("gelu_erf", 0.0, 0.0), ("gelu_erf", 1e-38, 5e-39), ("gelu_erf", 1e12, 1e12),
    ("gelu_erf", -1e12, 0.0),
    ("sigmoid", INF, 1.0), ("sigmoid", -INF, 0.0),
    ("tanh", 3e38, 1.0), ("tanh", -3e38, -1.0), ("tanh", INF, 1.0), ("tanh", -INF, -1.0),
    ("gelu", 3e38, 3e38), ("gelu", -3e38, 0.0), ("gelu", INF, INF),
    ("gelu_erf", 3e38, 3e38), ("gelu_erf", -3e38, 0.0), ("gelu_erf", INF, INF),
]  # fmt: skip


@pytest.mark.parametrize(("name", "x", "expected"), MEANINGS)
def test_nan_infinity_and_extremes_keep_their_meaning_in_every_lane(
    library: native.Library, name: str, x: float, expected: float
) -> None:
    """21 columns: two vectors of 8 or one of 16, and a tail that is computed one by one; 21 tokens move the value."""
    width = 21
    values = np.ones((width, width), "f4")
    np.fill_diagonal(values, x)
    program, buffer = activation(name, width)
    (found,) = outputs(program, library, {buffer: values}, (width,))
    np.testing.assert_allclose(np.diag(found), np.float32(expected), rtol=1e-6, atol=0.0)
    assert np.isfinite(found[~np.eye(width, dtype=bool)]).all()


ROWS = [
    # logits, probabilities
    ([0.0, 0.0, 0.0, 0.0], [0.25] * 4),
    ([3e38, 0.0, -3e38, 0.0], [1.0, 0.0, 0.0, 0.0]),
    ([-3e38] * 4, [0.25] * 4),
    ([0.0, -INF, 0.0, -INF], [0.5, 0.0, 0.5, 0.0]),
    ([0.0, NAN, 0.0, 0.0], [NAN] * 4),
    ([NAN, 0.0, 0.0, 0.0], [NAN] * 4),
    ([0.0, 0.0, 0.0, NAN], [NAN] * 4),
    ([INF, 0.0, 0.0, 0.0], [NAN] * 4),
    ([-INF] * 4, [NAN] * 4),
    ([1e-45, -1e-45, 0.0, -0.0], [0.25] * 4),
    ([0.0, 0.0, 0.0, 100.0], [0.0, 0.0, 0.0, 1.0]),
]


def test_softmax_treats_each_row_alone_and_keeps_the_meaning_of_nan_and_infinity(library: native.Library) -> None:
    program, buffer = activation("softmax", 4)
    logits, expected = (np.array([row[part] for row in ROWS], "f4") for part in (0, 1))
    (found,) = outputs(program, library, {buffer: logits}, (len(ROWS),))
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-37)


def test_softmax_rows_sum_to_one_and_keep_the_order_of_the_logits(library: native.Library) -> None:
    for width in (2, 10, 1000):
        program, buffer = activation("softmax", width)
        x = np.random.default_rng(0).normal(scale=20.0, size=(MAX_TOKENS, width)).astype("f4")
        (found,) = outputs(program, library, {buffer: x}, (MAX_TOKENS,))
        assert np.abs(found.astype("f8").sum(axis=1) - 1.0).max() < 1e-6 * width**0.5
        assert (found.argmax(axis=1) == x.argmax(axis=1)).all()


@pytest.mark.parametrize("name", ["add", "silu_times", "gelu_times"])
def test_an_operation_on_two_rows_equals_the_oracle(library: native.Library, name: str) -> None:
    for width in WIDTHS:
        first, second = ordinary(width), ordinary(width)[::-1] * np.float32(0.5)
        builder = Builder(max_tokens=MAX_TOKENS)
        x, y, out = (builder.input(text, width) for text in ("x", "y", "out"))
        names = ("gate", "up") if name.endswith("_times") else ("x", "y")
        fields = {"out": out, names[0]: x, names[1]: y, "width": width}
        program = of_steps(builder, out, Step(name, fields, True))
        machine = Machine(program)
        machine.write(x, first)
        machine.write(y, second)
        expected = machine.run(MAX_TOKENS)
        tolerance = 6e-7 * np.abs(expected) + 2e-7 * np.abs(first * second) * name.startswith("gelu")
        for n, found in zip(N_TOKENS, outputs(program, library, {x: first, y: second}), strict=True):
            assert (np.abs(found - expected[:n]) <= tolerance[:n]).all(), (width, n)


@pytest.mark.parametrize(
    ("name", "number"), [("soft_cap", 30.0), ("soft_cap", 1.5), ("multiply", -0.37), ("clamp", 7.0)]
)
def test_an_operation_with_a_number_equals_the_oracle(library: native.Library, name: str, number: float) -> None:
    for width in WIDTHS:
        values = ordinary(width) * np.float32(20.0)
        builder = Builder(max_tokens=MAX_TOKENS)
        program = builder.finish(getattr(builder, name)(x := builder.input("x", width), number))
        machine = Machine(program)
        machine.write(x, values)
        expected = machine.run(MAX_TOKENS)
        for n, found in zip(N_TOKENS, outputs(program, library, {x: values}), strict=True):
            np.testing.assert_allclose(found, expected[:n], rtol=1e-6, atol=1e-30)


def test_the_last_row_is_the_last_tokens(library: native.Library) -> None:
    for width in WIDTHS:
        x = ordinary(width)
        builder = Builder(max_tokens=MAX_TOKENS)
        buffer, out = builder.input("x", width), builder.input("last", width)
        program = of_steps(builder, out, Step("last_row", {"out": out, "x": buffer, "width": width}, True))
        session = Session(program, native.Team(1, library))
        for n in N_TOKENS:
            np.asarray(session.view(buffer, n))[:] = x[:n].ravel()
            session.run(n)
            assert np.array_equal(session.view(program.output, 1), x[n - 1])


CHOICES = [
    # values, index of the first largest
    ([0.0, 1.0, 1.0, 0.5], 1),
    ([-INF, -3e38, -INF, -INF], 1),
    ([-INF, -INF, -INF, -INF], 0),
    ([1.0, INF, INF, 2.0], 1),
    ([NAN, 1.0, 2.0, 3.0], -1),
    ([3.0, 1.0, 2.0, NAN], -1),
    ([-0.0, 0.0, 0.0, 0.0], 0),
    ([-4.0, -3.0, -2.0, -1.0], 3),
]


def test_argmax_is_the_first_largest_and_no_index_at_all_where_there_is_a_nan(library: native.Library) -> None:
    builder = Builder(max_tokens=MAX_TOKENS)
    x, out = builder.input("x", 4), builder.input("index", 1, "i32")
    program = of_steps(builder, out, Step("argmax", {"out": out, "x": x, "width": 4}, True))
    rows = np.array([row for row, _ in CHOICES], "f4")
    (found,) = outputs(program, library, {x: rows}, (len(rows),))
    assert found[:, 0].tolist() == [index for _, index in CHOICES]
    machine = Machine(program)
    machine.write(x, rows)
    assert np.array_equal(machine.run(len(rows)), found)


@pytest.mark.parametrize("element", ["u8", "f32"])
@pytest.mark.parametrize(("width", "n_channels", "padded"), [
    (1, 1, 1), (3, 3, 32), (4, 1, 4), (9, 1, 32), (27, 3, 32), (33, 33, 64), (50, 2, 64), (784, 1, 800), (48, 3, 48),
])  # fmt: skip
def test_inputs_are_scaled_by_channel_and_padded_with_zeros(
    library: native.Library, element: str, width: int, n_channels: int, padded: int
) -> None:
    random = np.random.default_rng(width)
    x = random.integers(0, 256, (MAX_TOKENS, width)).astype("u1" if element == "u8" else "f4")
    if element == "f32":
        x = (x + random.normal(size=x.shape)).astype("f4")
    multiplier, shift = random.normal(size=(2, n_channels)) / 255.0
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer = builder.input("x", width, element)
    constants = builder.constant(multiplier), builder.constant(shift)
    program = builder.finish(builder.normalise_input(buffer, *constants, out_width=padded))
    machine = Machine(program)
    machine.write(buffer, x)
    expected = machine.run(MAX_TOKENS)
    for n, scaled in zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True):
        np.testing.assert_allclose(scaled, expected[:n], rtol=1e-6, atol=1e-6)
        assert (scaled[:, width:] == 0.0).all()


@pytest.mark.parametrize(("width", "n_channels", "padded"), [
    (1, 1, 1), (3, 3, 32), (9, 1, 32), (27, 3, 32), (33, 33, 40), (34, 2, 34), (40, 1, 40),
])  # fmt: skip
def test_inputs_of_many_tokens_are_scaled_as_those_of_few_where_a_matmul_finds_them_interleaved(
    library: native.Library, width: int, n_channels: int, padded: int
) -> None:
    """The matmul's weights are the identity, so that it gives what it found."""
    random = np.random.default_rng(width)
    x = random.normal(size=(MAX_TOKENS, width)).astype("f4")
    multiplier, shift = random.normal(size=(2, n_channels))
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer = builder.input("x", width)
    constants = builder.constant(multiplier), builder.constant(shift)
    scaled = builder.normalise_input(buffer, *constants, out_width=padded, for_dense=True)
    identity = tensor("identity", np.eye(padded))
    program = builder.finish(builder.matmul(scaled, identity))
    assert [step.op for step in program.steps] == ["normalise_f32", "matmul_F32"]
    machine = Machine(program)
    machine.write(buffer, x)
    expected = machine.run(MAX_TOKENS)
    for n, found in zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True):
        np.testing.assert_allclose(found, expected[:n], rtol=1e-6, atol=1e-6)
        assert (found[:, width:] == 0.0).all()


@pytest.mark.parametrize("for_dense", [False, True])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_an_input_that_is_not_finite_is_told_by_its_row_alone_wherever_it_stands(
    library: native.Library, value: float, for_dense: bool
) -> None:
    """34 columns in two channels: each has vectors and a tail. 34 tokens, then the rest, move the value."""
    width = 34
    builder = Builder(max_tokens=width)
    buffer = builder.input("x", width)
    constants = builder.constant([0.5, 2.0]), builder.constant([0.0, 1.0])
    scaled = builder.normalise_input(buffer, *constants, for_dense=for_dense)
    first = np.zeros((1, width))
    first[0, 0] = 1.0
    program = builder.finish(builder.matmul(scaled, tensor("first", first)) if for_dense else scaled)
    x = np.full((width, width), -3e38, "f4")
    np.fill_diagonal(x, value)
    (found,) = outputs(program, library, {buffer: x}, (width,))
    assert np.isnan(found[:, 0]).all()
    for n, bad in ((3, 1), (20, 11)):
        for column in range(width):
            only = np.ones((n, width), "f4")
            only[bad, column] = value
            (found,) = outputs(program, library, {buffer: only}, (n,))
            assert np.array_equal(np.isnan(found[:, 0]), np.arange(n) == bad)
            assert np.isfinite(np.delete(found, bad, axis=0)).all()
