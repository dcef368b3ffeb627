"""Byte-level BPE vocabularies: training one from words and their counts, and encoding with it. It knows no files.

Merges are chosen by count, the highest first, of equals the pair that sorts first, so the same words give the same
vocabulary everywhere.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import pairwise

from realizar_lambda.tokenizers.byte_level import raw_bytes, written_bytes

PRE_TOKENIZER = "gpt-2"
WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)
"""GPT-2's pre-tokenizer, for text whose characters beyond ASCII have an ASCII one of their kind in their place."""
END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 0
FIRST_PIECES = (b"", *(bytes((byte,)) for byte in range(256)))


class _Kinds(dict[int, str]):
    """For `str.translate`: each character beyond ASCII as a letter, a digit, a space or a sign."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        category = unicodedata.category(character)[0]
        if point < 128:
            kind = character
        elif category in "LN":
            kind = "A" if category == "L" else "0"
        else:
            kind = "\t" if character.isspace() else "#"
        self[point] = kind
        return kind


_kinds = _Kinds()


def split(text: str) -> list[str]:
    """The words of `text` that merges may not cross; joined they are `text`."""
    return [text[found.start() : found.end()] for found in WORD.finditer(text.translate(_kinds))]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`pieces` by id as bytes (id 0, the end of text, is empty), `merges` as pairs in their order of rank."""

    pieces: list[bytes]
    merges: list[tuple[bytes, bytes]]
    _ranks: dict[tuple[bytes, bytes], int] = field(init=False, default_factory=dict)
    _ids: dict[bytes, int] = field(init=False, default_factory=dict)
    _words: dict[str, list[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._ranks.update((pair, rank) for rank, pair in enumerate(self.merges))
        self._ids.update((piece, id) for id, piece in enumerate(self.pieces) if id != END_OF_TEXT_ID)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without beginning and end."""
        ids: list[int] = []
        for word in split(text):
            if word not in self._words:
                self._words[word] = self._encode_word(word.encode())
            ids += self._words[word]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        return b"".join(self.pieces[id] for id in ids).decode(errors="replace")

    def _encode_word(self, word: bytes) -> list[int]:
        symbols = [bytes((byte,)) for byte in word]
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self.merges)))
            if best not in self._ranks:
                break
            symbols = _merged(symbols, best)
        return [self._ids[symbol] for symbol in symbols]

    def gguf_metadata(self) -> dict[str, object]:
        """The `tokenizer.ggml.*` keys that llama.cpp reads; token types are 3 control, 1 normal."""
        tokens = [END_OF_TEXT if id == END_OF_TEXT_ID else written_bytes(piece) for id, piece in enumerate(self.pieces)]
        return {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": PRE_TOKENIZER,
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [3 if id == END_OF_TEXT_ID else 1 for id in range(len(tokens))],
            "tokenizer.ggml.merges": [f"{written_bytes(left)} {written_bytes(right)}" for left, right in self.merges],
            "tokenizer.ggml.bos_token_id": END_OF_TEXT_ID,
            "tokenizer.ggml.eos_token_id": END_OF_TEXT_ID,
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_eos_token": False,
        }


def count_words(documents: Iterable[str], weight: int) -> Counter[bytes]:
    """The pre-tokenizer's pieces with their counts times `weight`."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(split(document))
    return Counter({word.encode(): count * weight for word, count in counts.items()})


def train(words: Counter[bytes], n_pieces: int) -> Vocabulary:
    """The vocabulary of `n_pieces`: the end of text, 256 bytes, and merges until it is full."""
    spelled = [[bytes((byte,)) for byte in word] for word in words]
    counts = list(words.values())
    pairs: Counter[tuple[bytes, bytes]] = Counter()
    where: defaultdict[tuple[bytes, bytes], set[int]] = defaultdict(set)
    for index, symbols in enumerate(spelled):
        for pair in pairwise(symbols):
            pairs[pair] += counts[index]
            where[pair].add(index)
    pieces = dict.fromkeys(FIRST_PIECES)
    merges: list[tuple[bytes, bytes]] = []
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapify(queue)
    while len(pieces) < n_pieces and queue:
        negative_count, best = heappop(queue)
        if -negative_count != pairs[best] or not pairs[best]:
            continue
        merges.append(best)
        pieces[best[0] + best[1]] = None
        changed: Counter[tuple[bytes, bytes]] = Counter()
        for index in where.pop(best):
            for pair in pairwise(spelled[index]):
                changed[pair] -= counts[index]
            spelled[index] = _merged(spelled[index], best)
            for pair in pairwise(spelled[index]):
                changed[pair] += counts[index]
                where[pair].add(index)
        for pair, difference in changed.items():
            if difference:
                pairs[pair] += difference
                heappush(queue, (-pairs[pair], pair))
    return Vocabulary(list(pieces), merges)


def _merged(symbols: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    found, index = [], 0
    while index < len(symbols):
        if index + 1 < len(symbols) and (symbols[index], symbols[index + 1]) == pair:
            found.append(symbols[index] + symbols[index + 1])
            index += 2
        else:
            found.append(symbols[index])
            index += 1
    return found


def to_json(vocabulary: Vocabulary) -> str:
    """The merges, from which the rest follows, as printable text."""
    return json.dumps([[written_bytes(piece) for piece in pair] for pair in vocabulary.merges], ensure_ascii=False)


def from_json(text: str) -> Vocabulary:
    merges = [(raw_bytes(left), raw_bytes(right)) for left, right in json.loads(text)]
    pieces = dict.fromkeys((*FIRST_PIECES, *(left + right for left, right in merges)))
    return Vocabulary(list(pieces), merges)
