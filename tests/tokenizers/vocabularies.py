"""Vocabularies and texts for the tests: small ones made by hand, and the reference data's. No tests here."""

from __future__ import annotations

import json
from array import array
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from realizar_lambda.tokenizers import load
from realizar_lambda.tokenizers.from_gguf import from_metadata
from realizar_lambda.tokenizers.strings import PackedStrings
from realizar_lambda.tokenizers.tokenizer import Tokenizer
from realizar_lambda.tokenizers.unicode_classes import CATEGORIES, category
from realizar_lambda.tokenizers.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN

FOLDER = Path(__file__).resolve().parent
GGUF_NAMES = ("llama-bpe", "gpt-2", "falcon", "starcoder", "deepseek-llm", "llama-spm", "phi-3", "bert-bge")
SEPARATOR = "\n__ggml_vocab_test__\n"


@cache
def gguf(data_dir: Path, name: str) -> Tokenizer:
    """The tokenizer of one of the reference vocabularies."""
    return load(data_dir / "tokenizers" / f"ggml-vocab-{name}.gguf")


def reference_cases(data_dir: Path, name: str) -> list[tuple[str, list[int]]]:
    """Texts and the ids that llama.cpp gives for them, without special tokens."""
    path = data_dir / "tokenizers" / f"ggml-vocab-{name}.gguf"
    texts = Path(f"{path}.inp").read_bytes().decode().split(SEPARATOR)
    lines = Path(f"{path}.out").read_text().splitlines()
    return [(text, list(map(int, line.split()))) for text, line in zip(texts, lines, strict=False)]


@cache
def mixed_texts(data_dir: Path) -> tuple[str, ...]:
    """A few hundred short texts of many scripts, code and noise."""
    corpus = data_dir / "gguf" / "malformed-1"
    texts = [json.loads((FOLDER / "splits.json").read_text())["text"]]
    for name in ("mixed-corpus.txt", "tokenizer-corpus.txt"):
        text = (corpus / name).read_text(encoding="utf-8")
        texts += [text[i : i + 400] for i in range(0, len(text), 400)]
    texts += [text for text, _ in reference_cases(data_dir, "gpt-2")]
    texts.append((data_dir / "corpora" / "alice29.txt").read_text()[:12_000])
    return tuple(text for text in texts if is_assigned(text))


def is_assigned(text: str) -> bool:
    """Whether every character has been in Unicode since 15.1: libraries differ about the newer ones."""
    return all(category(ord(character)) != CATEGORIES["Cn"] for character in text)


_SPECIAL = "aAsStTlLdDmM'\n\r\t\v\f .,!?-_/()$^~<=>|`\"019éÉßİſK中龥ア한กÃĠ▁\u0301\u3000\u00a0\x85²½Ⅷ٣😀\u200d\ufe0f𐐀ǅª"

unicode_text = st.text(
    st.one_of(
        st.sampled_from(_SPECIAL),
        st.characters(exclude_categories=("Cs", "Cn")).filter(is_assigned),
    ),
    max_size=40,
)
"""Text of assigned characters, with many of those that tokenizers treat specially."""


def by_score(tokens: list[tuple[str, float]], **keys: object) -> Tokenizer:
    """A SentencePiece vocabulary: <unk>, <s>, </s>, the 256 byte tokens, then `tokens` with their scores."""
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256)), *(text for text, _ in tokens)]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(tokens)]
    scores = [0.0] * 259 + [score for _, score in tokens]
    return from_metadata("by-score", metadata(texts, "llama", types=types, scores=scores, **keys))


def metadata(
    texts: list[str],
    model: str,
    *,
    types: list[int] | None = None,
    scores: list[float] | None = None,
    merges: list[str] | None = None,
    **keys: object,
) -> dict[str, object]:
    """GGUF metadata of a vocabulary; `keys` are more of them, without `tokenizer.ggml.`."""
    values: dict[str, object] = {
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.tokens": PackedStrings.from_bytes(text.encode() for text in texts),
        **{f"tokenizer.ggml.{key}": value for key, value in keys.items()},
    }
    if types is not None:
        values["tokenizer.ggml.token_type"] = memoryview(array("i", types))
    if scores is not None:
        values["tokenizer.ggml.scores"] = memoryview(array("f", scores))
    if merges is not None:
        values["tokenizer.ggml.merges"] = PackedStrings.from_bytes(merge.encode() for merge in merges)
    return values
