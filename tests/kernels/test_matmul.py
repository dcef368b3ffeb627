from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import (
    MAX_TOKENS,
    N_TOKENS,
    SENTINEL,
    matmul,
    outputs,
    quantisation_bound,
    quantised,
    rounding_bound,
    run,
    tensor,
    values,
    weight,
)
from oracles.program import OPERATIONS, Machine

from realizar_lambda import native, ops
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder
from realizar_lambda.program import Buffer, Program
from realizar_lambda.tensor import Tensor

LONG = 256 * 17
QUANTIZED_BLOCKS = [name for name in ops.MATMUL_BLOCKS if name not in ops.DENSE_BLOCKS]


def shapes(block: str) -> list[tuple[int, int]]:
    """(n_rows, n_columns): rows around a tile of four, columns around vectors or of one to five blocks, and of rows so
    long that four are taken in turns."""
    if block in ops.DENSE_BLOCKS:
        few = [(1, 1), (3, 2), (4, 3), (5, 7), (1, 8), (2, 9), (7, 15), (8, 16), (9, 17), (3, 31), (6, 33), (13, 100)]
        return [*few, (8, LONG), (7, LONG + 83)]
    n = BLOCKS[block].n_elements
    long = [(8, LONG), (7, LONG + 3 * n)]
    return [(1, n), (3, 2 * n), (5, 3 * n), *([(9, 5 * n), (4, 8 * n)] if n == 32 else []), *long]


def activations(width: int, seed: int = 1) -> np.ndarray:
    """(MAX_TOKENS, width): of ordinary size, with zeros, a token of zeros and one of large values."""
    x = np.random.default_rng(seed).normal(size=(MAX_TOKENS, width)).astype("f4")
    x[:, ::7] = 0.0
    x[2] = 0.0
    x[4] *= np.float32(1e4)
    return x


def test_the_oracle_knows_every_operation() -> None:
    assert OPERATIONS.keys() >= ops.OPS.keys()


@pytest.mark.parametrize("block", sorted(ops.DENSE_BLOCKS))
def test_a_matmul_with_plain_weights_equals_the_oracle(library: native.Library, block: str) -> None:
    for n_rows, n_columns in shapes(block):
        stored, x = weight(block, n_rows, n_columns), activations(n_columns)
        program, buffer = matmul(stored)
        machine = Machine(program)
        machine.write(buffer, x)
        expected, bound = machine.run(MAX_TOKENS), rounding_bound(stored, x)
        for n, found in zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True):
            assert (np.abs(found - expected[:n]) <= bound[:n]).all(), (n_rows, n_columns, n)


@pytest.mark.parametrize("block", sorted(ops.DENSE_BLOCKS))
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_a_sparse_matmul_equals_the_oracle_wherever_the_zeros_lie(
    library: native.Library, block: str, share: float
) -> None:
    """Columns of zeros for every token, others with a zero here and there, either zero's sign."""
    for n_rows, n_columns in shapes(block):
        stored, x = weight(block, n_rows, n_columns), activations(n_columns)
        x[:, np.random.default_rng(n_columns).random(n_columns) >= share] = 0.0
        x[::2][x[::2] == 0.0] = -0.0
        builder = Builder(max_tokens=MAX_TOKENS)
        buffer = builder.input("x", n_columns)
        program = builder.finish(builder.matmul(buffer, stored, is_sparse=True))
        machine = Machine(program)
        machine.write(buffer, x)
        expected, bound = machine.run(MAX_TOKENS), rounding_bound(stored, x)
        for n, found in zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True):
            assert (np.abs(found - expected[:n]) <= bound[:n]).all(), (n_rows, n_columns, n)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
@pytest.mark.parametrize(("n_rows", "n_columns"), [(1, 1), (3, 7), (8, 16), (15, 17), (33, 40), (65, 33), (145, 100)])
def test_a_matmul_by_columns_equals_the_oracle_wherever_each_tokens_zeros_lie(
    library: native.Library, n_rows: int, n_columns: int, share: float, relu: bool
) -> None:
    """Zeros of either sign, others for each token; rows around a vector, and around four and eight of them."""
    stored, x = weight("F32", n_rows, n_columns), activations(n_columns)
    random = np.random.default_rng(n_columns)
    x[random.random(x.shape) >= share] = 0.0
    x[::2][x[::2] == 0.0] = -0.0
    bias = np.tile(random.normal(size=n_rows).astype("f4"), (MAX_TOKENS, 1))  # whose first row counts
    program, buffer, added = by_columns(stored, relu=relu)
    machine = Machine(program)
    machine.write(buffer, x)
    machine.write(added, bias)
    expected = machine.run(MAX_TOKENS)
    bound = rounding_bound(stored, x) + np.abs(bias) * 2.0**-20
    alone = outputs(program, library, {buffer: x, added: bias}, [1])[0]
    for n, found in zip(N_TOKENS, outputs(program, library, {buffer: x, added: bias}), strict=True):
        assert (np.abs(found - expected[:n]) <= bound[:n]).all(), n
        assert (found[0] == alone[0]).all(), "other tokens change a token's bits"


def by_columns(stored: Tensor, *, relu: bool) -> tuple[Program, Buffer, Buffer]:
    """The program of a matmul by columns, its input, its bias."""
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer = builder.input("x", stored.shape[1])
    added = builder.input("bias", stored.shape[0])
    columns = builder.columns(stored)
    builder.fill_columns(columns, stored, builder.constant([1.0]))
    return builder.finish(builder.add_columns(buffer, columns, added, n_rows=stored.shape[0], relu=relu)), buffer, added


@pytest.mark.parametrize("value", [3.4028235e38, -3.4028235e38, 1e-45])
def test_a_matmul_by_columns_takes_the_largest_and_the_least_number_for_finite(
    library: native.Library, value: float
) -> None:
    """Whole vectors of columns and, from column 32 on, single ones."""
    for place in (0, 31, 39):
        x, ones = np.zeros((MAX_TOKENS, 40), "f4"), tensor("ones", np.ones((5, 40)))
        x[:, place] = value
        program, buffer, added = by_columns(ones, relu=False)
        for found in outputs(program, library, {buffer: x, added: np.zeros((MAX_TOKENS, 5), "f4")}, (1, 4, 33)):
            assert (found == np.float32(value)).all()


@pytest.mark.parametrize("place", [0, 31, 39])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_matmul_by_columns_keeps_what_is_not_finite_to_its_token(
    library: native.Library, place: int, value: float
) -> None:
    x = np.zeros((MAX_TOKENS, 40), "f4")
    x[1, place] = value
    program, buffer, added = by_columns(weight("F32", 5, 40), relu=True)
    for found in outputs(program, library, {buffer: x, added: np.zeros((MAX_TOKENS, 5), "f4")}, (2, 3, 4, 33)):
        assert np.isnan(found[1]).all()
        assert (np.delete(found, 1, axis=0) == 0.0).all()


@pytest.mark.parametrize("place", [0, 16, 39])
def test_a_sparse_matmul_keeps_a_nan_among_zeros(library: native.Library, place: int) -> None:
    stored, x = weight("F32", 5, 40), np.zeros((MAX_TOKENS, 40), "f4")
    x[1, place] = np.nan
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer = builder.input("x", 40)
    program = builder.finish(builder.matmul(buffer, stored, is_sparse=True))
    for found in outputs(program, library, {buffer: x}, (2, 3, 4, 33)):
        assert np.isnan(found[1]).all()
        assert (np.delete(found, 1, axis=0) == 0.0).all()


@pytest.mark.parametrize("block", QUANTIZED_BLOCKS)
def test_a_matmul_with_quantised_weights_equals_the_oracle_on_quantised_activations(
    library: native.Library, block: str
) -> None:
    for n_rows, n_columns in shapes(block):
        stored, x = weight(block, n_rows, n_columns), activations(n_columns)
        program, buffer = matmul(stored)
        expected, bound = quantised(x, library) @ values(stored).T, rounding_bound(stored, x)
        for n, found in zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True):
            assert (np.abs(found - expected[:n]) <= bound[:n]).all(), (n_rows, n_columns, n)


@pytest.mark.parametrize("block", QUANTIZED_BLOCKS)
def test_quantised_activations_cost_no_more_than_half_a_code_each(library: native.Library, block: str) -> None:
    n_rows, n_columns = shapes(block)[-1]
    stored, x = weight(block, n_rows, n_columns), activations(n_columns)
    x[5] *= np.float32(1e-38)
    x[6, :32] *= np.float32(1e6)
    program, buffer = matmul(stored)
    machine = Machine(program)
    machine.write(buffer, x)
    expected = machine.run(MAX_TOKENS)
    bound = quantisation_bound(stored, x) + rounding_bound(stored, x)
    for n, found in zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True):
        assert (np.abs(found - expected[:n]) <= bound[:n]).all(), n


@pytest.mark.parametrize("n_rows", [6, 8])  # some are taken alone, all in fours
@pytest.mark.parametrize("n_columns", [256 * 2, LONG])
@pytest.mark.parametrize("block", ops.MATMUL_BLOCKS)
def test_a_token_gets_the_same_bits_whatever_tokens_surround_it(
    library: native.Library, block: str, n_columns: int, n_rows: int
) -> None:
    n_columns += BLOCKS[block].n_elements * 3  # whole blocks of 256, and small ones after them
    stored, x = weight(block, n_rows, n_columns), activations(n_columns)
    program, buffer = matmul(stored)
    found = dict(zip(N_TOKENS, outputs(program, library, {buffer: x}), strict=True))
    few = [n for n in N_TOKENS if n < ops.MIN_TILE_TOKENS]
    for group in (few, [n for n in N_TOKENS if n not in few]):
        longest = found[group[-1]]
        assert all(np.array_equal(found[n], longest[:n]) for n in group), group


@pytest.mark.parametrize(
    ("block", "n_columns"),
    [
        *((block, n) for block in sorted(ops.DENSE_BLOCKS) for n in (1, 15, 17, 40, 100, LONG + 83)),
        *((block, n) for block in QUANTIZED_BLOCKS for n in (256 * 3, LONG)),
    ],
)
def test_a_row_gets_the_same_bits_alone_as_among_others(library: native.Library, block: str, n_columns: int) -> None:
    n_rows = 8
    stored, x = weight(block, n_rows, n_columns), activations(n_columns)
    program, buffer = matmul(stored)
    together = outputs(program, library, {buffer: x}, (1, 3))
    n_bytes = len(stored.data) // n_rows
    for row in range(n_rows):
        data = stored.data[row * n_bytes : (row + 1) * n_bytes]
        program, buffer = matmul(stored._replace(shape=(1, n_columns), data=data))
        for alone, found in zip(outputs(program, library, {buffer: x}, (1, 3)), together, strict=True):
            assert np.array_equal(alone[:, 0], found[:, row])


@pytest.mark.parametrize("block", ops.MATMUL_BLOCKS)
def test_one_row_at_a_time_and_the_tile_agree_within_rounding(library: native.Library, block: str) -> None:
    n_columns = BLOCKS[block].n_elements * 3
    stored, x = weight(block, 7, n_columns), activations(n_columns)
    program, buffer = matmul(stored)
    rows, tile = outputs(program, library, {buffer: x}, (3, 4))
    assert (np.abs(rows - tile[:3]) <= 2.0 * rounding_bound(stored, x)[:3]).all()


@pytest.mark.parametrize("block", ops.MATMUL_BLOCKS)
def test_every_library_agrees_within_rounding(libraries: list[native.Library], block: str) -> None:
    n_columns = BLOCKS[block].n_elements * 3
    stored, x = weight(block, 7, n_columns), activations(n_columns)
    program, buffer = matmul(stored)
    answers = [outputs(program, library, {buffer: x}) for library in libraries]
    bound = 2.0 * rounding_bound(stored, x)
    for found in zip(*answers, strict=True):
        assert all((np.abs(other - found[0]) <= bound[: len(other)]).all() for other in found)


@pytest.mark.parametrize("block", ["F32", "Q8_0"])
def test_columns_between_rows_of_a_wider_output_are_left_alone(library: native.Library, block: str) -> None:
    stored, x = weight(block, 6, 64), activations(64)
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer, wide = builder.input("x", 64), builder.buffer("wide", 9)
    built = builder.finish(builder.matmul(buffer, stored))
    *before, last = built.steps
    strided = last._replace(fields={**last.fields, "out": wide, "out_stride": wide.width})
    program = built._replace(steps=(*before, strided), output=wide)
    expected = outputs(built, library, {buffer: x})
    for narrow, found in zip(expected, outputs(program, library, {buffer: x}), strict=True):
        assert np.array_equal(found[:, :6], narrow)
        assert (found[:, 6:] == SENTINEL).all()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("block", ["F32", "Q8_0"])
def test_a_bias_and_a_residual_are_added_to_the_product(
    library: native.Library, block: str, has_bias: bool, in_place: bool
) -> None:
    stored, x, rest = weight(block, 6, 64), activations(64), activations(6, seed=4)
    vector = np.linspace(-3.0, 3.0, 6).astype("f4")
    builder = Builder(max_tokens=MAX_TOKENS)
    buffer, residual = builder.input("x", 64), builder.input("residual", 6)
    bias = tensor("bias", vector) if has_bias else None
    out = residual if in_place else None
    program = builder.finish(builder.matmul(buffer, stored, bias=bias, residual=residual, out=out))
    plain, source = matmul(stored)
    for n in N_TOKENS:
        (product,) = outputs(plain, library, {source: x}, (n,))
        (found,) = outputs(program, library, {buffer: x, residual: rest}, (n,))
        expected = product.astype("f8") + (vector if has_bias else 0.0) + rest[:n]
        assert np.abs(found - expected).max() <= 2.0**-22 * (np.abs(product).max() + 3.0 + np.abs(rest).max())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("block", ops.MATMUL_BLOCKS)
def test_an_activation_that_is_not_finite_spoils_its_token_and_no_other(
    library: native.Library, block: str, value: float
) -> None:
    n_columns = BLOCKS[block].n_elements * 2
    stored, x = weight(block, 5, n_columns), activations(n_columns)
    program, buffer = matmul(stored)
    clean = outputs(program, library, {buffer: x})
    x[1, n_columns - 1] = value
    for before, after in zip(clean, outputs(program, library, {buffer: x}), strict=True):
        others = [token for token in range(len(after)) if token != 1]
        assert np.array_equal(before[others], after[others])
        assert not np.isfinite(after[1:2]).any()


@pytest.mark.parametrize("block", ops.MATMUL_BLOCKS)
def test_a_weight_that_is_nan_spoils_its_row_and_no_other(library: native.Library, block: str) -> None:
    n_columns = BLOCKS[block].n_elements * 2
    stored, x = weight(block, 6, n_columns), activations(n_columns)
    bad = np.frombuffer(stored.data, np.uint8).copy().reshape(6, -1)
    bad[4] = 0xFF
    spoilt = stored._replace(data=memoryview(bad.tobytes()))
    clean, found = (outputs(p, library, {b: x}) for p, b in (matmul(stored), matmul(spoilt)))
    others = [0, 1, 2, 3, 5]
    for before, after in zip(clean, found, strict=True):
        assert np.array_equal(before[:, others], after[:, others])
        assert np.isnan(after[:, 4]).all()


def test_matmuls_of_one_input_share_what_was_made_ready_and_take_turns_with_others(library: native.Library) -> None:
    """Quantised, dense and again quantised weights on two inputs: each must see its own input made ready anew."""
    x, y = activations(64, seed=2), activations(64, seed=3)
    builder = Builder(max_tokens=MAX_TOKENS)
    first, second = builder.input("first", 64), builder.input("second", 64)
    plan = [(first, "Q8_0"), (first, "Q4_0"), (second, "Q8_0"), (first, "F32"), (second, "F16"), (first, "Q5_1")]
    weights = [weight(block, 5, 64, seed=number) for number, (_, block) in enumerate(plan)]
    outs = [
        builder.matmul(source, stored, out=builder.buffer(f"out{number}", 5))
        for number, ((source, _), stored) in enumerate(zip(plan, weights, strict=True))
    ]
    program = builder.finish(outs[-1])
    for n, found in zip(N_TOKENS, run(program, library, {first: x, second: y}, n_tokens=N_TOKENS, read=outs),
                        strict=True):  # fmt: skip
        for (source, block), stored, answer in zip(plan, weights, found[1:], strict=True):
            rows = x if source is first else y
            seen = rows if block in ops.DENSE_BLOCKS else quantised(rows, library)
            error = np.abs(answer - (seen @ values(stored).T)[:n])
            assert (error <= rounding_bound(stored, rows)[:n]).all(), (n, block)
