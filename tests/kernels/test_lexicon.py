"""The tokenizers' kernels on every library: nothing is written beyond what a call was given, and all agree."""

from __future__ import annotations

import random
from itertools import product

import pytest

from realizar_lambda import ops
from realizar_lambda.native import Library, address
from realizar_lambda.tokenizers.pretokenizer import PreTokenizer
from realizar_lambda.tokenizers.pretokenizer_table import FAMILIES
from realizar_lambda.tokenizers.strings import PackedStrings
from realizar_lambda.tokenizers.vocabulary import Vocabulary

GUARD = 0x5A
ROOM = 4096
LETTERS = "abcd"
PAIRS = [a + b for a, b in product(LETTERS, repeat=2)]
TOKENS = [*(f"<0x{value:02X}>" for value in range(256)), *LETTERS, *PAIRS, "abcd", "é", "▁", "▁a", " "]
MERGES = [*(f"{pair[0]} {pair[1]}" for pair in PAIRS), "ab cd"]
SOURCE = random.Random(11)
TEXTS = [
    "",
    "a",
    "é",
    "abcd" * 500,
    "a" * 49,
    "😀" * 300,
    "▁a▁▁a" * 100,
    *(
        "".join(SOURCE.choices(["a", "b", "c", "d", " ", "é", "中", "😀", "\n", "1"], k=n))
        for n in (1, 30, 47, 48, 49, 999)
    ),
]


def vocabulary(kind: str) -> Vocabulary:
    made = Vocabulary(kind, PackedStrings.from_bytes(token.encode() for token in TOKENS), None)
    made.use_byte_tokens(made.find_byte_tokens())
    made.use_splitter(PreTokenizer(FAMILIES["llama-bpe"].stages))
    if kind == "scores":
        made.use_scores([-float(i) for i in range(len(TOKENS))])
        made.use_flags("by_character", "by_score")
    elif kind == "merges":
        made.use_merges(PackedStrings.from_bytes(merge.encode() for merge in MERGES))
        made.use_flags("by_character")
    else:
        made.use_weights([-1.0 - i / 8 for i in range(len(TOKENS))])
        made.use_flags("by_character", "fuses_unknown")
    return made


def guarded(n_bytes: int) -> bytearray:
    return bytearray([GUARD]) * (n_bytes + ROOM)


@pytest.mark.parametrize("kind", ["scores", "merges", "weights", "words"])
def test_encoding_writes_only_what_it_may(library: Library, kind: str) -> None:
    made = vocabulary(kind)
    for text in TEXTS:
        data = text.encode()
        n = len(data)
        out, scratch = guarded(4 * n), guarded(ops.encode_scratch_bytes(n))
        arguments = (made._address, data, n)
        if kind == "weights":
            count = library.encode_unigram(*arguments, -20.0, address(out), address(scratch))
            expected = made.encode_unigram(data, -20.0)
        elif kind == "words":
            count = library.encode_words(*arguments, 10, address(out))
            expected = made.encode_words(data, 10)
        else:
            count = library.encode(*arguments, address(out), address(scratch))
            expected = made.encode(data)
        assert 0 <= count <= n
        assert memoryview(out)[: 4 * n].cast("i")[:count].tolist() == expected
        assert out[4 * n :] == bytes([GUARD]) * ROOM
        assert scratch[ops.encode_scratch_bytes(n) :] == bytes([GUARD]) * ROOM


@pytest.mark.parametrize("name", ["llama-bpe", "deepseek-llm", "falcon"])
def test_splitting_writes_only_what_it_may(library: Library, name: str) -> None:
    made = vocabulary("merges")
    made.use_splitter(PreTokenizer(FAMILIES[name].stages))
    for text in TEXTS:
        data = text.encode()
        n = len(data)
        classes, first, second = guarded(n), guarded(8 * n), guarded(8 * n)
        count = library.split(made._address, data, n, *map(address, (classes, first, second)))
        assert count == len(made.split(data))
        for memory, size in ((classes, n), (first, 8 * n), (second, 8 * n)):
            assert memory[size:] == bytes([GUARD]) * ROOM


def test_gathering_and_indexing_write_only_what_they_may(library: Library) -> None:
    strings = PackedStrings.from_bytes(token.encode() for token in TOKENS)
    n = strings.n_strings
    tokens, starts, plain = guarded(len(strings.data)), guarded(4 * (n + 1)), guarded(n)
    longest = library.gather(address(strings.data), n, 0, *map(address, (tokens, starts, plain)))
    assert longest == max(len(token.encode()) for token in TOKENS)
    for memory, size in ((tokens, len(strings.data)), (starts, 4 * (n + 1)), (plain, n)):
        assert memory[size:] == bytes([GUARD]) * ROOM
    made = vocabulary("merges")
    hashes = guarded(8 * ops.LEXICON_BATCH)
    assert library.index_tokens(made._address, n, address(hashes)) == 0, "each token is there already"
    assert hashes[8 * ops.LEXICON_BATCH :] == bytes([GUARD]) * ROOM
    scratch = guarded(24 * ops.LEXICON_BATCH)
    merges = PackedStrings.from_bytes(merge.encode() for merge in MERGES)
    assert library.index_merges(made._address, address(merges.data), merges.n_strings, 0, address(scratch)) == -1
    assert scratch[24 * ops.LEXICON_BATCH :] == bytes([GUARD]) * ROOM


def test_a_table_whose_slots_are_crowded_or_ambiguous_is_said_to_be_so(library: Library) -> None:
    made = vocabulary("merges")
    scratch = bytearray(24 * ops.LEXICON_BATCH)
    slots = bytearray(8 * made._record[ops.LEXICON["n_slots"]])
    full = memoryview(slots).cast("i")
    for slot in range(len(full) // 2):
        full[2 * slot] = 1
    record = made._record[:]
    record[ops.LEXICON["slots"]] = address(slots)
    assert library.index_tokens(address(record), len(TOKENS), address(scratch)) == ops.CROWDED
    assert ops.CROWDED != ops.AMBIGUOUS
