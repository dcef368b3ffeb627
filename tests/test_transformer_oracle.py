"""The float64 transformer oracle itself, against logits that others computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from oracles import architecture_fixtures, gguf_model, transformer

RANDOM_256 = [
    "gpt2-f32",
    "qwen2-f32",
    "llama-f32",
    "llama-F16",
    "llama-BF16",
    "llama-Q8_0",
    "llama-Q6_K",
    "llama-Q5_K_S",
    "llama-Q5_1",
    "llama-Q5_0",
    "llama-Q4_K_S",
    "llama-Q4_1",
    "llama-Q4_0",
    "llama-Q3_K_S",
    "llama-Q2_K",
]


@pytest.mark.parametrize("case", range(4))
def test_stories260k_gives_the_stored_logits_and_greedy_ids(case, data_dir):
    folder = data_dir / "models" / "stories260K" / "derived"
    reference = json.loads((folder / "stories260K.reference.json").read_text())["cases"][case]
    ids, n_prompt = reference["all_ids"], len(reference["prompt_ids"])
    expected = np.fromfile(folder / reference["logits_file"], "<f4").reshape(reference["logits_shape"])
    metadata, weights = gguf_model.read(folder / "stories260K-f32.gguf")
    got = transformer.logits(metadata, weights, ids[: len(expected)])
    np.testing.assert_allclose(got, expected, atol=2e-6)
    assert got.argmax(axis=1)[n_prompt - 1 :].tolist() == ids[n_prompt : len(expected) + 1]


@pytest.mark.parametrize("name", RANDOM_256)
def test_the_random_models_give_the_stored_float64_logits(name, data_dir):
    folder = data_dir / "models" / "random-256"
    reference = json.loads((folder / "reference.json").read_text())["files"][f"{name}.gguf"]
    expected = np.fromfile(folder / reference["f64_logits_file"], "<f4").reshape(reference["logits_shape"])
    metadata, weights = gguf_model.read(folder / f"{name}.gguf")
    got = transformer.logits(metadata, weights, reference["prompt_ids"])
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("name", architecture_fixtures.NAMES)
def test_every_family_gives_the_logits_of_transformers(name):
    metadata, weights, token_ids, expected = architecture_fixtures.read(name)
    np.testing.assert_allclose(transformer.logits(metadata, weights, token_ids), expected, atol=1e-5)


def test_there_is_a_fixture_for_every_family():
    families = {architecture_fixtures.read(name)[0]["general.architecture"] for name in architecture_fixtures.NAMES}
    assert families == set(transformer.FAMILIES)


def test_ntk_scaling_divides_the_slowest_frequency_and_keeps_the_fastest():
    metadata, weights, _, _ = architecture_fixtures.read("llama")
    plain, _ = transformer.rope_frequencies(transformer.Model(metadata, weights), 1)
    scaled = metadata | {"llama.rope.scaling.type": "ntk", "llama.rope.scaling.factor": 4.0}
    stretched, _ = transformer.rope_frequencies(transformer.Model(scaled, weights), 1)
    assert stretched[0] == plain[0]
    np.testing.assert_allclose(stretched[-1], plain[-1] / 4)
