"""Rotary frequencies: each way of scaling against the oracle and by hand, and how the files choose one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from oracles import transformer
from tiny_decoders import make, relative_rms, write

from realizar_lambda.architectures.config import Rope
from realizar_lambda.architectures.rope import KINDS, frequencies
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.language_model import LanguageModel

PLAIN = Rope(
    n_rotated=16, base=10000.0, kind="none", factor=4.0, original_context=64, fast=32.0, slow=1.0,
    attention_factor=1.0, low=1.0, high=4.0,
)  # fmt: skip
IDS = np.random.default_rng(4).integers(0, 50, 24).tolist()


def oracle(kind: str, n_rotated: int, factor: float = 4.0, **more: object) -> tuple[np.ndarray, float]:
    keys = {"context_length": 256, "embedding_length": n_rotated, "attention.head_count": 1}
    keys |= {"rope.scaling.type": kind, "rope.scaling.factor": factor, "rope.scaling.original_context_length": 64}
    keys |= more
    metadata = {"general.architecture": "llama", **{f"llama.{key}": value for key, value in keys.items()}}
    return transformer.rope_frequencies(transformer.Model(metadata, {}), 1)


@pytest.mark.parametrize("n_rotated", [4, 16, 64, 128])
@pytest.mark.parametrize("kind", ["none", "linear", "ntk", "yarn"])
def test_frequencies_equal_the_oracles(kind: str, n_rotated: int) -> None:
    for factor in (1.0, 2.5, 40.0):
        found, magnitude = frequencies(PLAIN._replace(kind=kind, n_rotated=n_rotated, factor=factor), capacity=256)
        expected, expected_magnitude = oracle(kind, n_rotated, factor)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert magnitude == pytest.approx(expected_magnitude, rel=1e-12)


@pytest.mark.parametrize(("fast", "slow"), [(32.0, 1.0), (8.0, 2.0), (1.0, 1.0), (64.0, 0.5)])
def test_yarns_bounds_are_the_files(fast: float, slow: float) -> None:
    more = {"rope.scaling.yarn_beta_fast": fast, "rope.scaling.yarn_beta_slow": slow}
    found, _ = frequencies(PLAIN._replace(kind="yarn", fast=fast, slow=slow), capacity=256)
    np.testing.assert_allclose(found, oracle("yarn", 16, **more)[0], rtol=1e-12)


def test_llama_3_keeps_short_waves_slows_long_ones_and_blends_between() -> None:
    found, magnitude = frequencies(PLAIN._replace(kind="llama3", factor=8.0, n_rotated=64), capacity=64)
    plain = 10000.0 ** (-np.arange(32) / 32)
    turns = 64 * plain / (2 * math.pi)  # within the original context
    kept = np.clip((turns - 1.0) / (4.0 - 1.0), 0.0, 1.0)
    assert magnitude == 1.0
    assert {0.0, 1.0} < set(kept)
    np.testing.assert_allclose(found, kept * plain + (1.0 - kept) * plain / 8, rtol=1e-12)


def test_one_pair_is_both_the_fastest_and_the_slowest() -> None:
    for kind in ("ntk", "dynamic"):
        assert frequencies(PLAIN._replace(kind=kind, n_rotated=2), capacity=256) == ([1.0], 1.0)


@pytest.mark.parametrize(("capacity", "stretch"), [(1, 1.0), (64, 1.0), (65, 4 * 65 / 64 - 3), (256, 13.0)])
def test_dynamic_scaling_begins_where_the_context_exceeds_the_original(capacity: int, stretch: float) -> None:
    found, _ = frequencies(PLAIN._replace(kind="dynamic"), capacity=capacity)
    base = 10000.0 * stretch ** (16 / 14)
    np.testing.assert_allclose(found, base ** (-np.arange(8) / 8), rtol=1e-12)


def test_a_file_may_divide_each_frequency_by_a_number_of_its_own() -> None:
    divisors = [1.0, 2.0, 4.0, 8.0, 1.0, 0.5, 3.0, 7.0]
    plain, _ = frequencies(PLAIN, capacity=64)
    found, _ = frequencies(PLAIN, divisors, capacity=64)
    np.testing.assert_allclose(np.array(found) * divisors, plain, rtol=1e-15)


def test_an_unknown_scaling_and_an_odd_number_of_values_are_refused_with_what_there_is() -> None:
    with pytest.raises(UnsupportedError, match="'su' is not supported; supported: none, linear") as refused:
        frequencies(PLAIN._replace(kind="su"), capacity=1)
    assert all(kind in str(refused.value) for kind in KINDS)
    with pytest.raises(UnsupportedError, match="rotating 7 values"):
        frequencies(PLAIN._replace(n_rotated=7), capacity=1)


SCALED = [
    {"rope__scaling__type": "linear", "rope__scaling__factor": 3.0},
    {"rope__scale_linear": 3.0},
    {"rope__scaling__type": "ntk", "rope__scaling__factor": 3.0},
    {"rope__scaling__type": "yarn", "rope__scaling__factor": 3.0, "rope__scaling__original_context_length": 8},
    {"rope__scaling__type": "yarn", "rope__scaling__factor": 3.0, "rope__scaling__original_context_length": 8,
     "rope__scaling__yarn_beta_fast": 4.0, "rope__scaling__attn_factor": 0.8},
    {"rope__freq_base": 500000.0},
    {"rope__freq_base": 1.5},
]  # fmt: skip


@pytest.mark.parametrize("keys", SCALED, ids=lambda keys: "-".join(keys))
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_file_with_scaled_positions_gives_the_oracles_logits(
    tmp_path: Path, architecture: str, keys: dict[str, object]
) -> None:
    metadata, weights = make(architecture, head_width=16, **keys)
    as_type = {key.replace("scale_linear", "scaling.factor"): value for key, value in metadata.items()}
    if as_type != metadata:
        as_type[f"{architecture}.rope.scaling.type"] = "linear"
    expected = transformer.logits(as_type, weights, IDS)
    plain = transformer.logits(make(architecture, head_width=16)[0], weights, IDS)
    found = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1).logits(IDS)
    assert relative_rms(found, expected) < 3e-6
    assert relative_rms(plain, expected) > 1e-3


def test_divisors_for_long_contexts_serve_contexts_longer_than_the_original(tmp_path: Path) -> None:
    metadata, weights = make("phi3", rope__scaling__original_context_length=10)
    weights["rope_factors_short.weight"] = np.array([1.0, 1.1, 1.2, 1.3], "f4")
    weights["rope_factors_long.weight"] = np.array([1.0, 2.0, 4.0, 8.0], "f4")
    model = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1)
    for n in (9, 10, 11, 24):
        assert relative_rms(model.logits(IDS[:n]), transformer.logits(metadata, weights, IDS[:n])) < 3e-6, n


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 1.0], r"F32 of shape \(2,\), must be F32 of shape \(4,\)"),
        ([1.0, 0.0, 1.0, 1.0], "a factor outside"),
        ([1.0, math.nan, 1.0, 1.0], "a factor outside"),
        ([1.0, math.inf, 1.0, 1.0], "a factor outside"),
        ([-1.0, 1.0, 1.0, 1.0], "a factor outside"),
    ],
)
def test_divisors_that_are_none_are_refused(tmp_path: Path, values: list[float], message: str) -> None:
    metadata, weights = make("llama")
    weights["rope_freqs.weight"] = np.array(values, "f4")
    with pytest.raises(FormatError, match=message):
        LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1)
