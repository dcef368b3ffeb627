"""Vocabularies that break the rules, and what is said about each."""

from __future__ import annotations

from array import array

import pytest
from vocabularies import metadata

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.tokenizers.from_gguf import from_metadata
from realizar_lambda.tokenizers.strings import PackedStrings, strings_by_id
from realizar_lambda.tokenizers.vocabulary import MAX_TOKEN_BYTES

BYTES = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
LETTERS = [chr(code) for code in range(33, 127)]

BAD = {
    "no tokens": (metadata([], "llama"), "has 0 tokens, it must have 1 to"),
    "two equal tokens": (metadata(["a", "b", "a"], "llama"), "tokens 0 and 2 are both b'a'"),
    "an escaped byte token": (metadata(["a", "<0x-1>"], "llama", types=[1, 6]), "byte token 1 is b'<0x-1>'"),
    "a long byte token": (metadata(["<0x0A>x"], "llama", types=[6]), "byte token 0"),
    "too few types": (metadata(["a", "b"], "llama", types=[1]), "token_type has 1 numbers, the vocabulary 2 tokens"),
    "too many types": (metadata(["a"], "llama", types=[1, 1]), "token_type has 2 numbers"),
    "a type that is none": (metadata(["a", "b"], "llama", types=[1, 9]), "type of token 1 is 9, types are 1 to 6"),
    "a huge type": (metadata(["a", "b"], "llama", types=[1, 257]), "type of token 1 is 257"),
    "a negative type": (metadata(["a", "b"], "llama", types=[1, -1]), "type of token 1 is -1"),
    "too few scores": (metadata(["a", "b"], "llama", scores=[0.0]), "scores has 1 numbers"),
    "a score that is NaN": (metadata(["a", "b"], "llama", scores=[0.0, float("nan")]), "score 1 is nan"),
    "an endless score": (metadata(["a"], "llama", scores=[float("inf")]), "score 0 is inf"),
    "an id beyond": (metadata(BYTES, "llama", bos_token_id=259), "bos_token_id is 259, ids are 0 to 258"),
    "a negative id": (metadata(BYTES, "llama", eos_token_id=-1), "eos_token_id is -1"),
    "an id that is text": (metadata(BYTES, "llama", eos_token_id="2"), "eos_token_id is '2'"),
    "a flag that is text": (metadata(BYTES, "llama", add_bos_token="yes"), "add_bos_token is 'yes', it must be a bool"),
    "no merges": (metadata(LETTERS, "gpt2"), "merges is None, it must be an array of strings"),
    "a merge of an unknown part": (metadata(LETTERS, "gpt2", merges=["a b"]), "merge 0 is b'a b'; a merge is two"),
    "a merge of unknown parts": (metadata([*LETTERS, "ab"], "gpt2", merges=["a b", "xy z"]), "merge 1 is b'xy z'"),
    "a merge without a space": (metadata([*LETTERS, "ab"], "gpt2", merges=["ab"]), "merge 0 is b'ab'"),
    "a merge that ends in a space": (metadata([*LETTERS, "ab"], "gpt2", merges=["a "]), "merge 0"),
    "an empty merge": (metadata(LETTERS, "gpt2", merges=[""]), "merge 0 is b''"),
    "a merge of characters that are no bytes": (metadata(LETTERS, "gpt2", merges=["中 a"]), "merge 0"),
    "a token that is far too long": (metadata(["a", "b" * (MAX_TOKEN_BYTES + 1)], "llama"), "a token is 8193 bytes"),
    "no BOS to add": (metadata(["a"], "gpt2", merges=[], add_bos_token=True), "has no such token"),
    "unigrams without scores": (metadata(["a", "b", "c"], "t5"), "scores is not there"),
    "a model that is no text": ({"tokenizer.ggml.model": 3}, "tokenizer.ggml.model is 3, it must be a string"),
    "no model": ({}, "tokenizer.ggml.model is not there"),
    "tokens that are numbers": (
        {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": memoryview(array("i", [1]))},
        "must be an array of strings",
    ),
    "a charsmap that leads nowhere": (
        metadata(["a", "b", "c"], "t5", scores=[0.0] * 3, precompiled_charsmap=memoryview(b"\xff\xff\xff\x7f1234")),
        "a charsmap of 8 bytes declares 2147483647 bytes of nodes",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_vocabulary_that_breaks_a_rule_is_refused(what: str) -> None:
    values, message = BAD[what]
    with pytest.raises(FormatError) as caught:
        from_metadata("file.gguf", values)
    assert message in str(caught.value)
    assert str(caught.value).startswith("file.gguf: ")


def test_models_and_pre_tokenizers_that_we_do_not_have_are_named_with_those_we_have() -> None:
    with pytest.raises(UnsupportedError, match="tokenizer model 'rwkv' is not supported; supported: gpt2, gemma4"):
        from_metadata("f", metadata(["a"], "rwkv"))
    with pytest.raises(UnsupportedError, match="pre-tokenizer 'superbpe' is not supported; supported: gpt-2, phi-2"):
        from_metadata("f", metadata(["a"], "gpt2", pre="superbpe", merges=[]))


def test_empty_tokens_keep_their_ids_and_write_nothing() -> None:
    tokenizer = from_metadata("f", metadata(["", "a", "", "b"], "gpt2", merges=[]))
    assert tokenizer.encode("ab") == [1, 3]
    assert tokenizer.piece(0) == b""
    assert tokenizer.decode([0, 1, 2]) == "a"


def test_bytes_without_a_token_are_left_out_where_there_is_no_unknown_token() -> None:
    tokenizer = from_metadata("f", metadata(["a", "b"], "gpt2", merges=[]))
    assert tokenizer.encode("axbé") == [0, 1]


def test_a_merge_that_comes_twice_keeps_its_first_rank() -> None:
    tokens = [*LETTERS, "ab", "bc"]
    first = from_metadata("f", metadata(tokens, "gpt2", merges=["a b", "b c", "a b"]))
    last = from_metadata("f", metadata(tokens, "gpt2", merges=["b c", "a b"]))
    assert [first.piece(token) for token in first.encode("abc")] == [b"ab", b"c"]
    assert [last.piece(token) for token in last.encode("abc")] == [b"a", b"bc"]


def test_a_plain_token_is_not_mistaken_for_the_bytes_that_another_writes() -> None:
    written = "".join({0xE4: "ä", 0xBD: "½", 0xA0: "ł"}[byte] for byte in "你".encode())
    tokenizer = from_metadata("f", metadata(["a", "你", written], "gpt2", merges=[], types=[1, 4, 1]))
    assert tokenizer.decode([1]) == tokenizer.decode([2]) == "你"
    assert tokenizer.encode("你") == [1]


def test_ids_in_json_are_checked_one_by_one() -> None:
    for ids, message in (
        ({"a": -1}, "token 'a' has id -1"),
        ({"a": 1.5}, "has id 1.5"),
        ({"a": True}, "has id True"),
        ({"a": 0, "b": 0}, "tokens 'a' and 'b' both have id 0"),
        ({"a": 1 << 40}, "has id 1099511627776"),
    ):
        with pytest.raises(FormatError, match="token") as caught:
            strings_by_id("vocab.json", ids)
        assert message in str(caught.value)
    packed = strings_by_id("vocab.json", {"b": 2, "a": 0})
    assert [packed.at(i) for i in range(packed.n_strings)] == [b"a", b"", b"b"]


def test_a_vocabulary_whose_hashes_are_alike_is_indexed_all_the_same() -> None:
    texts = [f"{a}{b}" for a in "abcdefgh" * 40 for b in range(50)]
    unique = sorted(set(texts)) + [f"token{i:06d}" for i in range(30_000)]
    tokenizer = from_metadata("f", metadata(unique, "llama"))
    vocabulary = tokenizer.vocabulary
    assert all(vocabulary.find(text.encode()) == i for i, text in enumerate(unique))
    assert vocabulary.find(b"token30001x") == -1
    assert PackedStrings.from_bytes([]).n_strings == 0
