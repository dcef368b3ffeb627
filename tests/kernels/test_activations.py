from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import LEAST_LEVELS, MAX_TOKENS, Quantised, of_steps, quantise, quantize_program

from realizar_lambda import native, ops
from realizar_lambda.builder import Builder
from realizar_lambda.program import Step
from realizar_lambda.session import Session

WIDTHS = (32, 64, 96, 256)


def rows(width: int) -> np.ndarray:
    """Tokens of ordinary size, of zeros, of one value, with one outlier, huge and small; every token differs."""
    x = np.random.default_rng(width).normal(size=(MAX_TOKENS, width)).astype("f4")
    x[1] = 0.0
    x[2] = -7.25
    x[3, 5] = 1000.0
    x[4] *= np.float32(1e30)
    x[5] *= np.float32(1e-30)
    x[6, 32:] = 0.0
    return x


def interleaved(library: native.Library, x: np.ndarray) -> Quantised:
    """What the quantize operation makes of all tokens at once, brought back to the layout of a token."""
    n, width = x.shape
    lanes = library.lanes()
    program, source, q = quantize_program(width, n)
    session = Session(program, native.Team(1, library))
    np.asarray(session.view(source, n))[:] = x.ravel()
    session.run(n)
    padded = -(-n // lanes) * lanes
    ends = np.cumsum([padded * n for n in (width, width // 8, width // 4, width // 8)])
    codes, *floats = np.split(np.asarray(session.view(q, q.rows))[: ends[-1]], ends[:-1])
    n_groups = padded // lanes
    quads = codes.view("i1").reshape(n_groups, width // 4, lanes, 4).transpose(0, 2, 1, 3).reshape(padded, width)
    wide = (part.view("<f4").reshape(n_groups, -1, lanes).transpose(0, 2, 1).reshape(padded, -1) for part in floats)
    return Quantised(quads, *wide)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_value_is_within_half_a_code_and_no_scale_wastes_more_than_four_codes(
    library: native.Library, width: int
) -> None:
    x = rows(width)
    found = quantise(x, library)
    greatest = np.abs(x.reshape(MAX_TOKENS, -1, 32)).max(axis=2).astype("f8")
    assert (found.scales >= greatest / 127.0 * (1.0 - 2.0**-22)).all()
    assert (found.scales <= greatest / LEAST_LEVELS * (1.0 + 2.0**-22)).all()
    scales = np.repeat(found.scales.astype("f8"), 32, axis=1)
    assert (np.abs(found.codes * scales - x) <= 0.5 * scales * (1.0 + 2.0**-12)).all()
    assert (np.abs(found.codes.astype(int)).max(axis=1)[x.any(axis=1)] >= int(LEAST_LEVELS)).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_scale_rounds_no_worse_than_the_largest_that_fits(library: native.Library, width: int) -> None:
    x = np.random.default_rng(0).normal(size=(MAX_TOKENS, width))
    found = quantise(x, library)
    groups = x.astype("f4").astype("f8").reshape(MAX_TOKENS, -1, 32)
    plain = np.abs(groups).max(axis=2, keepdims=True) / 127.0
    error = ((np.rint(groups / plain) * plain - groups) ** 2).sum(axis=2)
    ours = found.codes.reshape(groups.shape) * found.scales[:, :, None].astype("f8")
    assert (((ours - groups) ** 2).sum(axis=2) <= error * (1.0 + 1e-5)).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_sums_are_those_of_the_codes(library: native.Library, width: int) -> None:
    found = quantise(rows(width), library)
    for sums, n in ((found.sums16, 16), (found.sums32, 32)):
        scales = np.repeat(found.scales.astype("f8"), 32 // n, axis=1)
        expected = found.codes.astype("f8").reshape(MAX_TOKENS, -1, n).sum(axis=2) * scales
        size = np.abs(found.codes.astype("f8")).reshape(MAX_TOKENS, -1, n).sum(axis=2) * scales
        assert (np.abs(sums - expected) <= 2.0**-22 * size).all()


@pytest.mark.parametrize("n_tokens", [1, 2, ops.MIN_TILE_TOKENS - 1])
@pytest.mark.parametrize("width", [256, 512, 512 + 96])
def test_the_codes_of_whole_blocks_of_few_tokens_lie_there_again_in_fours(
    library: native.Library, width: int, n_tokens: int
) -> None:
    program, source, q = quantize_program(width, n_tokens)
    session = Session(program, native.Team(1, library))
    np.asarray(session.view(source, n_tokens))[:] = rows(width)[:n_tokens].ravel()
    session.run(n_tokens)
    whole = width // 256
    found = np.asarray(session.view(q, q.rows))[: whole * n_tokens * ops.SLICE_BYTES].view("i1")
    slices = found.reshape(whole, n_tokens, ops.SLICE_BYTES)
    codes = slices[:, :, :256].reshape(
        whole, n_tokens, 4, 2, 2, 16
    )  # a chunk is its place in four, odd or even; halves
    assert codes.any()
    assert (slices[:, :, 256:512] == codes.transpose(0, 1, 3, 4, 2, 5).reshape(whole, n_tokens, 256)).all()


@pytest.mark.parametrize("n", [ops.MIN_TILE_TOKENS, 7, 8, 15, 16, 17, 33])
def test_tokens_side_by_side_have_the_codes_they_have_alone_and_missing_tokens_are_zeros(
    library: native.Library, n: int
) -> None:
    for width in WIDTHS:
        x = rows(width)[:n]
        for together, alone in zip(interleaved(library, x), quantise(x, library), strict=True):
            assert np.array_equal(together[:n], alone)
            assert not together[n:].any()


@pytest.mark.parametrize("n", [ops.MIN_TILE_TOKENS, 9, 33])
def test_interleaving_puts_one_token_in_each_lane_and_zeros_where_there_is_none(
    library: native.Library, n: int
) -> None:
    lanes = library.lanes()
    for width in (1, 3, 100):
        x = np.random.default_rng(width).normal(size=(n, width)).astype("f4")
        builder = Builder(max_tokens=-(-n // ops.MAX_LANES) * ops.MAX_LANES)
        source, q = builder.input("x", width), builder.input("q", width)
        program = of_steps(builder, q, Step("interleave", {"q": q, "x": source, "width": width}, True))
        session = Session(program, native.Team(1, library))
        np.asarray(session.view(source, n))[:] = x.ravel()
        session.run(n)
        padded = -(-n // lanes) * lanes
        found = np.asarray(session.view(q, padded)).reshape(padded // lanes, width, lanes)
        tokens = found.transpose(0, 2, 1).reshape(padded, width)
        assert np.array_equal(tokens[:n], x)
        assert not tokens[n:].any()
