"""Long lists of merges are indexed when a text first needs them, once, whoever comes first."""

from __future__ import annotations

import threading
from itertools import product

import pytest
from vocabularies import metadata

from realizar_lambda.errors import FormatError
from realizar_lambda.tokenizers.from_gguf import from_metadata
from realizar_lambda.tokenizers.tokenizer import Tokenizer
from realizar_lambda.tokenizers.vocabulary import LAZY_MERGES

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAIRS = [a + b for a, b in product(LETTERS, repeat=2)]
FOURS = [a + b for a, b in product(PAIRS, repeat=2)]
TOKENS = [*LETTERS, *PAIRS, *FOURS]
MERGES = [f"{pair[0]} {pair[1]}" for pair in PAIRS] + [f"{four[:2]} {four[2:]}" for four in FOURS]


def many(*more: str, pre: str = "gpt-2") -> Tokenizer:
    return from_metadata("many", metadata(TOKENS, "gpt2", merges=[*MERGES, *more], pre=pre))


def test_the_vocabulary_is_long_enough_for_this() -> None:
    assert len(MERGES) >= LAZY_MERGES


def test_merges_are_there_when_they_are_needed() -> None:
    tokenizer = many()
    assert tokenizer.encode("a") == [0]
    assert tokenizer.encode("abcdab") == [TOKENS.index("abcd"), TOKENS.index("ab")]
    assert tokenizer.encode("abcdab") == [TOKENS.index("abcd"), TOKENS.index("ab")]


def test_a_merge_that_is_none_is_named_when_merges_are_needed() -> None:
    tokenizer = many("zz qqq")
    assert tokenizer.encode("a") == [0]
    for _ in range(2):
        with pytest.raises(FormatError, match=f"merge {len(MERGES)} is b'zz qqq'"):
            tokenizer.encode("ab")


def test_whole_tokens_need_no_merges_where_those_are_ignored() -> None:
    tokenizer = many("zz qqq", pre="llama-bpe")
    assert tokenizer.encode("abcd", add_special=False) == [TOKENS.index("abcd")]


def test_threads_that_come_first_together_all_get_the_tokens() -> None:
    tokenizer = many()
    expected = [TOKENS.index("abcd"), TOKENS.index("efgh"), TOKENS.index("i")]
    found: list[list[int]] = []
    start = threading.Barrier(8)

    def encode() -> None:
        start.wait()
        found.append(tokenizer.encode("abcdefghi"))

    threads = [threading.Thread(target=encode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8
