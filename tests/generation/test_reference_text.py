"""stories260K, greedy: text and ids equal to the stored reference, from text and from ids."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("number", range(4))
def test_greedy_text_equals_the_reference(llm, cases, number):
    case = cases[number]
    n = len(case["all_ids"]) - len(case["prompt_ids"])
    found = llm.generate(case["prompt"], max_tokens=n, temperature=0)
    assert found.token_ids == case["all_ids"]
    assert found.text == case["text"]
    assert found.text == case["prompt"] + found.completion
    assert found.finish_reason == "length"
    assert found.usage == (len(case["prompt_ids"]), n, len(case["all_ids"]), 0)


@pytest.mark.parametrize("number", range(4))
def test_a_prompt_of_ids_gives_the_same_as_its_text(llm, cases, number):
    case = cases[number]
    n = len(case["all_ids"]) - len(case["prompt_ids"])
    found = llm.generate(case["prompt_ids"], max_tokens=n, temperature=0)
    assert found.token_ids == case["all_ids"]
    assert found.text == case["text"]
