"""The story model's vocabulary comes from counts alone, and its texts are split without overlap."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
try:
    from models.train import bpe, story_text
finally:
    sys.path.remove(str(ROOT))

FIRST = len(bpe.FIRST_PIECES)


@pytest.fixture(scope="module")
def vocabulary() -> bpe.Vocabulary:
    text = "the cat sat on the mat. the cat saw the rat. they sat there, that cat and the rat."
    return bpe.train(bpe.count_words([text], 1), FIRST + 30)


def test_the_first_merge_is_the_pair_that_occurs_most() -> None:
    found = bpe.train(Counter({b"abab": 3, b"bc": 5}), FIRST + 1)
    assert found.merges == [(b"a", b"b")]
    assert found.pieces[-1] == b"ab"


def test_equal_counts_merge_the_pair_that_sorts_first() -> None:
    assert bpe.train(Counter({b"xy": 2, b"ab": 2}), FIRST + 2).merges == [(b"a", b"b"), (b"x", b"y")]


def test_a_piece_that_two_pairs_make_has_one_id() -> None:
    found = bpe.train(Counter({b"abc": 1, b"ab": 9, b"xbc": 8, b"bc": 8}), FIRST + 50)
    assert len(set(found.pieces)) == len(found.pieces)


def test_counts_after_merges_are_those_of_counting_anew() -> None:
    words = Counter({b"banana": 4, b"ananas": 3, b"nab": 5, b"aaaa": 6})
    spelled = {word: [bytes((byte,)) for byte in word] for word in words}
    for merge in bpe.train(words, FIRST + 8).merges:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, symbols in spelled.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        assert merge == min(pairs, key=lambda pair: (-pairs[pair], pair))
        for word, symbols in spelled.items():
            joined: list[bytes] = []
            while symbols:
                size = 2 if tuple(symbols[:2]) == merge else 1
                joined.append(b"".join(symbols[:size]))
                symbols = symbols[size:]
            spelled[word] = joined


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=st.text())
def test_decoding_what_was_encoded_gives_the_text(text: str, vocabulary: bpe.Vocabulary) -> None:
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert bpe.END_OF_TEXT_ID not in ids


def test_a_vocabulary_is_restored_from_its_merges(vocabulary: bpe.Vocabulary) -> None:
    restored = bpe.from_json(bpe.to_json(vocabulary))
    assert (restored.pieces, restored.merges) == (vocabulary.pieces, vocabulary.merges)


def test_stories_are_what_lies_between_separators_and_the_cut_one_is_left_out() -> None:
    text = "\nOne  day.\n\n“Hi,” said Tom’s cat. \n<|endoftext|>\n<|endoftext|>\nTwo.\n<|endoftext|>\nThr"
    assert story_text.stories(text) == ['One day.\n"Hi," said Tom\'s cat.', "Two."]


def test_passages_hold_every_paragraph_once() -> None:
    paragraphs = [f"{number} " + "word " * 60 for number in range(20)]
    found = story_text.passages("\n\n\n".join(paragraphs))
    assert all(len(passage) >= story_text.PASSAGE_CHARACTERS for passage in found[:-1])
    assert "\n".join(found) == "\n".join(paragraph.strip() for paragraph in paragraphs)


def test_held_out_stories_are_the_last_and_none_is_trained_on(data_dir: Path) -> None:
    texts = story_text.read(data_dir)
    assert len(texts.held_out) == round(0.05 * (len(texts.train) + len(texts.validation) + len(texts.held_out)))
    assert not {*texts.held_out} & {*texts.train, *texts.validation}
