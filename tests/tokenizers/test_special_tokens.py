"""Special tokens in text, BOS and EOS, stop ids, and what control tokens write."""

from __future__ import annotations

from pathlib import Path

import pytest
from vocabularies import by_score, gguf

from realizar_lambda.tokenizers.special_tokens import ASCII_SPACES, SpecialToken, SpecialTokens
from realizar_lambda.tokenizers.stop_tokens import stop_ids, types_by_name
from realizar_lambda.tokenizers.vocabulary import CONTROL, NORMAL, USER_DEFINED


def test_control_tokens_are_parsed_only_when_asked_for(data_dir: Path) -> None:
    tokenizer = gguf(data_dir, "llama-bpe")
    text = "a<|eot_id|>b"
    assert 128009 not in tokenizer.encode(text)
    ids = tokenizer.encode(text, parse_special=True)
    assert ids == [128000, 64, 128009, 65]
    assert tokenizer.decode(ids) == "ab"
    assert tokenizer.decode(ids, skip_special=False) == "<|begin_of_text|>a<|eot_id|>b"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.is_control(128009)
    assert not tokenizer.is_control(64)
    assert tokenizer.find("<|eot_id|>") == 128009
    assert tokenizer.find("no such token") is None


def test_tokens_of_the_users_own_are_always_parsed(data_dir: Path) -> None:
    tokenizer = gguf(data_dir, "deepseek-llm")
    assert tokenizer.find("ø") is not None
    assert tokenizer.encode("ø", add_special=False) == [tokenizer.find("ø")]
    assert tokenizer.decode(tokenizer.encode("ø")) == "ø"


def test_phi_3_takes_the_white_space_after_its_turns_along(data_dir: Path) -> None:
    tokenizer = gguf(data_dir, "phi-3")
    with_spaces = tokenizer.encode("<|user|> \n hi<|end|>\n", parse_special=True)
    assert with_spaces == tokenizer.encode("<|user|>hi<|end|>", parse_special=True)


def test_the_longest_token_at_the_leftmost_place_is_taken() -> None:
    names = ("<a>", "<a>b", "b<", "<|x|>")
    tokens = SpecialTokens(SpecialToken.plain(i, name, is_always=False) for i, name in enumerate(names))
    assert tokens.split("q<a>b<a>b<|x|><|x|", parse_special=True) == ["q", 1, 1, 3, "<|x|"]
    assert tokens.split("q<a>b", parse_special=False) == ["q<a>b"]
    assert tokens.split("", parse_special=True) == []


def test_tokens_take_white_space_along_and_stand_alone_where_they_must() -> None:
    plain = SpecialToken.plain(7, "[M]", is_always=True)
    both = SpecialTokens([plain._replace(strips_left=ASCII_SPACES, strips_right=ASCII_SPACES)])
    assert both.split("a \n[M] \u3000b", parse_special=False) == ["a", 7, "\u3000b"]
    word = SpecialTokens([plain._replace(text="ing", is_word=True)])
    assert word.split("going ing, ing_", parse_special=False) == ["going ", 7, ", ing_"]


def test_a_space_is_put_before_text_after_a_special_token() -> None:
    tokenizer = by_score([("▁a", -1.0), ("a", -2.0), ("▁", -3.0)])
    assert tokenizer.encode("a</s>a", parse_special=True) == [1, 259, 2, 259]
    assert by_score([("▁a", -1.0), ("a", -2.0), ("▁", -3.0)], add_space_prefix=False).encode("a a") == [1, 260, 259]


@pytest.mark.parametrize(("keys", "expected"), [
    ({}, [1, 260]),
    ({"add_bos_token": False}, [260]),
    ({"add_eos_token": True}, [1, 260, 2]),
    ({"add_bos_token": False, "add_eos_token": True, "eos_token_id": 259}, [260, 259]),
])  # fmt: skip
def test_bos_and_eos_follow_the_metadata(keys: dict[str, object], expected: list[int]) -> None:
    tokenizer = by_score([("<end>", -9.0), ("▁a", -1.0), ("a", -2.0), ("▁", -3.0)], **keys)
    assert tokenizer.encode("a") == expected
    assert tokenizer.encode("a", add_special=False) == [260]


def test_stop_ids_are_the_named_tokens_and_those_of_the_file() -> None:
    def finder(*names: str):
        return lambda name: names.index(name) if name in names else None

    assert stop_ids(finder("x", "<|im_end|>", "</s>"), (0, None)) == {0, 1, 2}
    assert stop_ids(finder("<|return|>", "<|call|>", "<|end|>"), ()) == {0, 1}
    assert types_by_name(finder("<|return|>", "<|call|>", "<|end|>"))[2] == USER_DEFINED
    assert types_by_name(finder("<|tool_response>", "</s>", "<fim_prefix>")) == {0: CONTROL, 1: NORMAL, 2: CONTROL}
    assert stop_ids(finder("[PAD]", "<|file_sep|>", "<reponame>"), ()) == {0, 1, 2}
