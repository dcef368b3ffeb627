"""stories260K, greedy: text and ids equal to the stored reference, from text and from ids."""

from __future__ import annotations

import json

import pytest

from realizar_lambda.language_model import LanguageModel

FOLDER = ("models", "stories260K", "derived")


@pytest.fixture(scope="module")
def folder(data_dir):
    return data_dir.joinpath(*FOLDER)


@pytest.fixture(scope="module")
def cases(folder):
    return json.loads((folder / "stories260K.reference.json").read_text())["cases"]


@pytest.fixture(scope="module")
def llm(folder):
    return LanguageModel.open(str(folder / "stories260K-f32.gguf"), n_threads=1)


@pytest.mark.parametrize("number", range(4))
def test_greedy_text_equals_the_reference(llm, cases, number):
    case = cases[number]
    n = len(case["all_ids"]) - len(case["prompt_ids"])
    found = llm.generate(case["prompt"], max_tokens=n, temperature=0)
    assert found.token_ids == case["all_ids"]
    assert found.text == case["text"]
    assert found.text == case["prompt"] + found.completion
    assert found.finish_reason == "length"
    assert found.usage[:3] == (len(case["prompt_ids"]), n, len(case["all_ids"]))


@pytest.mark.parametrize("number", range(4))
def test_a_prompt_of_ids_gives_the_same_as_its_text(llm, cases, number):
    case = cases[number]
    n = len(case["all_ids"]) - len(case["prompt_ids"])
    found = llm.generate(case["prompt_ids"], max_tokens=n, temperature=0, share_key=None)
    assert found.token_ids == case["all_ids"]
    assert found.text == case["text"]
