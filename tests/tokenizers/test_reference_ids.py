"""Every line of the reference outputs: llama.cpp's ids for eight vocabularies, sentencepiece's for Llama 2's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vocabularies import GGUF_NAMES, gguf, mixed_texts, reference_cases

from realizar_lambda.tokenizers import load

LOSSLESS = tuple(name for name in GGUF_NAMES if name not in ("bert-bge", "falcon", "starcoder"))


@pytest.mark.parametrize("name", GGUF_NAMES)
def test_every_text_has_the_ids_of_the_reference(data_dir: Path, name: str) -> None:
    tokenizer = gguf(data_dir, name)
    cases = reference_cases(data_dir, name)
    assert len(cases) >= 46
    for text, ids in cases:
        assert tokenizer.encode(text, add_special=False) == ids, text


@pytest.mark.parametrize("name", GGUF_NAMES[:-1])
def test_decoding_gives_every_reference_text_back(data_dir: Path, name: str) -> None:
    tokenizer = gguf(data_dir, name)
    for text, ids in reference_cases(data_dir, name):
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", LOSSLESS)
def test_decoding_gives_texts_of_many_scripts_back(data_dir: Path, name: str) -> None:
    tokenizer = gguf(data_dir, name)
    for text in mixed_texts(data_dir):
        is_marked = name in ("llama-spm", "phi-3")  # U+2581 and the space are one there
        assert tokenizer.decode(tokenizer.encode(text)) == (text.replace("▁", " ") if is_marked else text)


def test_bert_gives_words_back_in_lower_case_without_accents(data_dir: Path) -> None:
    tokenizer = gguf(data_dir, "bert-bge")
    assert tokenizer.decode(tokenizer.encode("Hello, Wörld! It's 3.5 ?")) == "hello, world! it ' s 3. 5?"
    assert tokenizer.encode("x") == [101, 1060, 102]


def test_llama_2_has_the_ids_and_texts_of_sentencepiece(data_dir: Path) -> None:
    folder = data_dir / "tokenizers" / "sentencepiece"
    expected = json.loads((folder / "llama2-tokenizer.model.expected.json").read_text())
    tokenizer = load(folder / "llama2-tokenizer.model")
    assert (tokenizer.n_tokens, tokenizer.bos_id, tokenizer.eos_id) == (expected["vocab_size"], 1, 2)
    for case in expected["cases"]:
        assert tokenizer.encode(case["text"], add_special=False) == case["ids"]
        assert tokenizer.decode(case["ids"]) == case["decoded"]
        assert tokenizer.encode(case["text"]) == [1, *case["ids"]]


def test_gpt_2_from_its_own_files_is_gpt_2_from_gguf(data_dir: Path) -> None:
    from_files = load(data_dir / "tokenizers" / "gpt2")
    from_gguf = gguf(data_dir, "gpt-2")
    assert from_files.n_tokens == from_gguf.n_tokens
    assert from_files.stop_ids == from_gguf.stop_ids == {50256}
    for text in mixed_texts(data_dir):
        assert from_files.encode(text) == from_gguf.encode(text)
    assert load(data_dir / "tokenizers" / "gpt2" / "vocab.bpe").eos_id == 50256


def test_special_ids_and_what_surrounds_a_text_follow_the_metadata(data_dir: Path) -> None:
    found = {}
    for name in GGUF_NAMES:
        tokenizer = gguf(data_dir, name)
        found[name] = (tokenizer.encode(""), tokenizer.eos_id, tokenizer.eot_id, sorted(tokenizer.stop_ids))
    assert found == {
        "llama-bpe": ([128000], 128001, 128009, [128001, 128009]),
        "gpt-2": ([], 50256, 50256, [50256]),
        "falcon": ([], 11, 11, [11]),
        "starcoder": ([], 0, 0, [0, 4]),
        "deepseek-llm": ([100000], 100001, 100001, [100001]),
        "llama-spm": ([1], 2, None, [2]),
        "phi-3": ([1], 32000, 32007, [2, 32000, 32007]),
        "bert-bge": ([101, 102], None, None, [0]),
    }


def test_the_vocabularies_of_further_pre_tokenizers_cut_alike_but_for_what_they_split(data_dir: Path) -> None:
    folder = data_dir / "gguf" / "malformed-1"
    found = {}
    for name in ("gpt4o", "llama3", "qwen2", "qwen35", "smollm"):
        tokenizer = load(folder / f"vocab-bpe-{name}.gguf")
        ids = tokenizer.encode("token tokens", add_special=False)
        found[name] = [tokenizer.piece(token).decode() for token in ids]
        text = (folder / "mixed-corpus.txt").read_text(encoding="utf-8")
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len({tuple(pieces) for pieces in found.values()}) == 1


def test_gemma_4_merges_characters_and_writes_the_rest_as_bytes(data_dir: Path) -> None:
    tokenizer = load(data_dir / "gguf" / "malformed-1" / "vocab-bpe-spm-gemma4.gguf")
    assert tokenizer.encode("") == [2]
    pieces = [tokenizer.piece(token) for token in tokenizer.encode("hello é\n\n", add_special=False)]
    assert b"".join(pieces).decode() == "hello é\n\n"
    assert pieces[0] == b"hello"
    assert b"\xc3" in pieces
