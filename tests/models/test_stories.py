"""The story models answer as PyTorch does on the same weights, and reach the perplexity that the manifest says."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from realizar_lambda import tokenizers
from realizar_lambda.formats import open_model
from realizar_lambda.language_model import LanguageModel

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models"
FIXTURE = json.loads((ROOT / "tests" / "fixtures" / "stories.json").read_text())
ENTRIES = {
    name: entry
    for name, entry in json.loads((FOLDER / "manifest.json").read_text())["models"].items()
    if entry["kind"] == "language model"
}
NAMES = ("stories", "stories-q4_k")
MAX_BYTES = 8_000_000
CLEAR_LEAD = 0.05
"""Logits by which the most probable token must lead for two arithmetics to be expected to choose alike."""


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str) -> LanguageModel:
    return LanguageModel.open(str(FOLDER / f"{name}.gguf"))


def perplexity(model: LanguageModel, rows: list[list[int]]) -> float:
    losses: list[float] = []
    for row in rows:
        logits = np.asarray(model.logits(row[:-1]), dtype=np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        losses += list(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), row[1:]])
    return math.exp(sum(losses) / len(losses))


def greedy(model: LanguageModel, prompt: list[int], n_new: int) -> list[int]:
    context = model.context(len(prompt) + n_new)
    logits = context.evaluate(prompt)
    found: list[int] = []
    for _ in range(n_new):
        found.append(int(np.argmax(np.asarray(logits))))
        logits = context.evaluate(found[-1:])
    return found


def test_the_manifest_says_how_each_story_model_came_about(name: str) -> None:
    entry = ENTRIES[name]
    assert entry["n_bytes"] < MAX_BYTES
    assert 2_000_000 <= entry["n_parameters"] <= 5_000_000
    assert {"seed", "parameters", "training", "command", "versions", "data", "split", "licence"} <= entry.keys()
    assert all({"file", "title", "licence", "sha256"} <= source.keys() for source in entry["data"])


def test_the_texts_the_model_learnt_from_are_those_at_hand(name: str, data_dir: Path) -> None:
    for source in ENTRIES[name]["data"]:
        assert hashlib.sha256((data_dir / source["file"]).read_bytes()).hexdigest() == source["sha256"]


def test_the_file_holds_the_block_types_the_manifest_names(name: str) -> None:
    types = [tensor.block.name for tensor in open_model(str(FOLDER / f"{name}.gguf")).tensors.values()]
    assert {block: types.count(block) for block in types} == ENTRIES[name]["quantization"]["tensors"]


def test_a_width_of_256_lets_every_matrix_of_the_small_file_be_a_k_quant() -> None:
    tensors = open_model(str(FOLDER / "stories-q4_k.gguf")).tensors.values()
    assert {tensor.block.name for tensor in tensors if len(tensor.shape) == 2} == {"Q4_K", "Q6_K"}


def test_perplexity_of_the_excerpt_is_what_the_manifest_says(name: str, model: LanguageModel) -> None:
    assert perplexity(model, FIXTURE["excerpt"]) == pytest.approx(
        ENTRIES[name]["perplexity"]["excerpt"]["value"], rel=0.01
    )


def test_the_engine_and_pytorch_measured_the_same_perplexity(name: str) -> None:
    measured = ENTRIES[name]["perplexity"]
    assert measured["value"] == pytest.approx(measured["pytorch_float32"], rel=0.005)
    assert measured["unquantized"]["value"] == pytest.approx(measured["unquantized"]["pytorch_float32"], rel=1e-4)


def test_quantising_costs_little(name: str) -> None:
    measured = ENTRIES[name]["perplexity"]
    allowed = {"stories": 1.002, "stories-q4_k": 1.03}[name]
    assert measured["value"] / measured["unquantized"]["value"] < allowed


def test_after_each_token_of_pytorchs_text_the_engine_chooses_the_next(name: str, model: LanguageModel) -> None:
    for expected in FIXTURE["continuations"][name]:
        ids = expected["prompt_ids"] + expected["ids"]
        logits = np.asarray(model.logits(ids[:-1]))[len(expected["prompt_ids"]) - 1 :]
        is_clear = np.array(expected["leads"]) >= CLEAR_LEAD
        assert is_clear.mean() > 0.8
        assert (logits.argmax(axis=1) == expected["ids"])[is_clear].all()
        chosen = np.take_along_axis(logits, np.array(expected["ids"])[:, None], axis=1)[:, 0]
        assert (logits.max(axis=1) - chosen).max() < CLEAR_LEAD


def test_greedy_text_is_pytorchs_until_two_tokens_are_about_as_probable(name: str, model: LanguageModel) -> None:
    for expected in FIXTURE["continuations"][name]:
        n_clear = next((i for i, lead in enumerate(expected["leads"]) if lead < CLEAR_LEAD), len(expected["leads"]))
        assert greedy(model, expected["prompt_ids"], n_clear) == expected["ids"][:n_clear]


def test_texts_differ_between_prompts_and_have_many_different_words(name: str) -> None:
    texts = [row["text"] for row in FIXTURE["continuations"][name]]
    assert len({*texts}) == len(texts)
    assert all(len({*text.split()}) >= 12 for text in texts)


def test_prompts_have_the_ids_that_the_vocabulary_in_the_file_gives(name: str) -> None:
    tokenizer = tokenizers.load(str(FOLDER / f"{name}.gguf"))
    for row in FIXTURE["continuations"][name]:
        assert list(tokenizer.encode(row["prompt"])) == row["prompt_ids"]
        assert tokenizer.decode(row["prompt_ids"] + row["ids"]) == row["prompt"] + row["text"]
