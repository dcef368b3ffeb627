"""Files with one thing changed: each is read or refused with one of our errors, and what is read can be used."""

from __future__ import annotations

import copy
import json
import random
from array import array
from pathlib import Path

import pytest
from vocabularies import metadata

from realizar_lambda.errors import RealizarError
from realizar_lambda.tokenizers import load
from realizar_lambda.tokenizers.from_gguf import from_metadata
from realizar_lambda.tokenizers.strings import PackedStrings
from realizar_lambda.tokenizers.tokenizer import Tokenizer

ODD = (None, True, -1, 1 << 40, 1.5, "x", [["a"]], {"type": "x"})
TEXTS = ("a b ab", "<unk>é😀\n\0▁ \u3000x1" + "a" * 50)

BPE = {
    "version": "1.0",
    "added_tokens": [
        {"id": 4, "content": "<unk>", "special": True, "lstrip": True, "rstrip": False, "single_word": False},
        {"id": 5, "content": "ab ", "special": False, "lstrip": False, "rstrip": True, "single_word": True},
    ],
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"String": "q"}, "content": "a"},
        {"type": "Strip", "strip_left": False, "strip_right": False},
    ]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "[ab]+|\\p{N}"}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    ]},
    "post_processor": {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<unk>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
    ], "special_tokens": {}},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
              "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120": 3}, "merges": [["a", "b"]]},
}  # fmt: skip

UNIGRAM = {
    "added_tokens": [{"id": 0, "content": "<unk>", "special": True}],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    "post_processor": {"type": "BertProcessing", "sep": ["▁a", 2], "cls": ["a", 1]},
    "decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": True,
              "vocab": [["<unk>", 0.0], ["a", -1.0], ["▁a", -2.0], ["▁", -1.5], ["<0x62>", -3.0]]},
}  # fmt: skip

WORD_PIECE = {
    "added_tokens": [{"id": 0, "content": "[UNK]", "special": True}],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                   "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "##b": 2}},
}  # fmt: skip


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The path of every value inside `value`."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def use(tokenizer: Tokenizer) -> None:
    """Encode and decode; only our errors may come of it."""
    for text in TEXTS:
        for parse_special in (False, True):
            try:
                ids = tokenizer.encode(text, parse_special=parse_special)
                assert all(0 <= token < tokenizer.n_tokens for token in ids)
                tokenizer.decode(ids)
            except RealizarError:
                continue


@pytest.mark.parametrize("original", [BPE, UNIGRAM, WORD_PIECE], ids=["bpe", "unigram", "wordpiece"])
def test_a_tokenizer_json_with_one_value_changed_is_read_or_refused(
    tmp_path: Path, original: dict[str, object]
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(original))
    use(load(path))
    n_read = n_refused = 0
    for place in places(original):
        for odd in ODD:
            changed = copy.deepcopy(original)
            target: object = changed
            for key in place[:-1]:
                target = target[key]  # type: ignore[index]
            target[place[-1]] = odd  # type: ignore[index]
            path.write_text(json.dumps(changed))
            try:
                tokenizer = load(path)
            except RealizarError:
                n_refused += 1
                continue
            n_read += 1
            use(tokenizer)
    assert n_read > 40
    assert n_refused > 40


def test_random_bytes_as_tokens_and_merges_are_read_or_refused() -> None:
    random_bytes = random.Random(3)
    n_read = 0
    for _ in range(120):
        texts = sorted(
            {random_bytes.randbytes(random_bytes.randrange(5)) for _ in range(random_bytes.randrange(1, 40))}
        )
        values = metadata([], "gpt2")
        values["tokenizer.ggml.tokens"] = PackedStrings.from_bytes(texts)
        pairs = [(random_bytes.choice(texts), random_bytes.choice(texts)) for _ in range(20)]
        merges = [a + b" " + b for a, b in pairs if a + b in texts or random_bytes.random() < 0.02]
        values["tokenizer.ggml.merges"] = PackedStrings.from_bytes(merges)
        values["tokenizer.ggml.token_type"] = memoryview(
            array("i", [random_bytes.choice((1, 1, 1, 2, 3, 4, 5)) for _ in texts])
        )
        values["tokenizer.ggml.pre"] = random_bytes.choice(("gpt-2", "llama-bpe", "gemma4", "deepseek-llm"))
        for model in ("gpt2", "llama"):
            values["tokenizer.ggml.model"] = model
            try:
                tokenizer = from_metadata("random", values)
            except RealizarError:
                continue
            n_read += 1
            use(tokenizer)
    assert n_read > 80


def test_a_sentencepiece_model_with_one_byte_changed_is_read_or_refused(data_dir: Path, tmp_path: Path) -> None:
    whole = (data_dir / "tokenizers" / "sentencepiece" / "llama2-tokenizer.model").read_bytes()
    head, tail = whole[:6000], whole[-400:]
    path = tmp_path / "changed.model"
    source = random.Random(5)
    n_read = n_refused = 0
    for _ in range(200):
        data = bytearray(head + tail)
        data[source.randrange(len(data))] = source.randrange(256)
        path.write_bytes(data)
        try:
            tokenizer = load(path)
        except RealizarError:
            n_refused += 1
            continue
        n_read += 1
        use(tokenizer)
    assert n_read + n_refused == 200
    assert n_refused > 20
