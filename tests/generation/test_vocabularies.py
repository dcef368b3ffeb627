"""Models whose file has no tokenizer, or one of fewer tokens than the embedding has rows."""

from __future__ import annotations

import json
import shutil

import pytest

from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.language_model import LanguageModel


@pytest.fixture
def folder(stories, tmp_path):
    """stories260K as Hugging Face has it; there is no tokenizer in it."""
    shutil.copytree(stories / "hf", tmp_path / "hf")
    return tmp_path / "hf"


def test_a_model_without_a_tokenizer_goes_on_from_ids(folder, cases):
    model = LanguageModel.open(str(folder), n_threads=1)
    found = model.generate(cases[0]["prompt_ids"], max_tokens=20, temperature=0)
    assert found.token_ids == cases[0]["all_ids"][:25]
    assert (found.text, found.completion) == ("", "")
    for ask in (lambda: model.generate("text"), lambda: model.generate([1], stop="x"), lambda: model.tokenizer):
        with pytest.raises(UnsupportedError, match="without a tokenizer"):
            ask()


def test_ids_that_the_tokenizer_does_not_know_are_never_drawn(folder):
    """Embeddings are often padded: 300 tokens for 512 rows."""
    more = ["<|endoftext|>", *(f"token{n}" for n in range(43))]
    (folder / "vocab.json").write_text(json.dumps(_byte_level() | {text: 256 + n for n, text in enumerate(more)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    model = LanguageModel.open(str(folder), n_threads=1)
    assert (model.n_vocab, model.tokenizer.n_tokens) == (512, 300)
    found = model.generate([1, 2, 3], max_tokens=200, temperature=2.0, seed=1, ignore_eos=True)
    assert max(found.token_ids) < 300
    assert found.usage.completion_tokens == 200
    with pytest.raises(RequestError, match=r"logit_bias must hold ids in \[0, 300\), got 300"):
        model.stream([1], logit_bias={300: 1.0})
    with pytest.raises(RequestError, match=r"stop_token_ids must be in \[0, 300\), got 301"):
        model.stream([1], stop_token_ids=[301])


def _byte_level() -> dict[str, int]:
    """GPT-2's characters for the 256 bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
