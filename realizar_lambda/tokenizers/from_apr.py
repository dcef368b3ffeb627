"""A tokenizer out of the keys that an `.apr` v2 file's metadata may hold. It does not read files.

    tokenizer.vocabulary    the tokens, as strings          tokenizer.merges   "left right" strings
    tokenizer.scores        numbers                         tokenizer.model    or tokenizer.model_type
    tokenizer.bos_token_id, tokenizer.eos_token_id          tokenizer.pre      as in GGUF

They are read as the GGUF keys of the same meaning; types of tokens, which the format lacks, follow from their names.
"""

from __future__ import annotations

import re
from array import array

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.tokenizers.from_gguf import from_metadata as from_gguf_metadata
from realizar_lambda.tokenizers.strings import PackedStrings
from realizar_lambda.tokenizers.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.tokenizers.tokenizer import Tokenizer

MODELS = {
    "gpt2": "gpt2", "bpe": "gpt2", "byte_bpe": "gpt2", "llama": "llama", "spm": "llama", "sentencepiece": "llama",
}  # fmt: skip
"""`tokenizer.model` -> `tokenizer.ggml.model`."""

_TYPES = ((re.compile("<0x[0-9A-Fa-f]{2}>"), BYTE), (re.compile("<unk>"), UNKNOWN),
          (re.compile(r"</?s>|<\|[^|]+\|>|<(?:bos|eos|pad)>"), CONTROL))  # fmt: skip


def from_metadata(path: str, metadata: Mapping[str, object]) -> Tokenizer:
    """The tokenizer that the metadata hold. Raises FormatError, UnsupportedError."""
    tokens = _texts(path, metadata, "tokenizer.vocabulary")
    if tokens is None:
        raise FormatError(path, None, "tokenizer.vocabulary is not there: the file holds no vocabulary")
    merges = _texts(path, metadata, "tokenizer.merges")
    name = metadata.get("tokenizer.model", metadata.get("tokenizer.model_type")) or ("gpt2" if merges else "llama")
    if not isinstance(name, str) or name.lower() not in MODELS:
        raise UnsupportedError(f"{path}: tokenizer.model {name!r:.60}", MODELS)
    values: dict[str, object] = {
        "tokenizer.ggml.model": MODELS[name.lower()],
        "tokenizer.ggml.pre": metadata.get("tokenizer.pre", "gpt-2"),
        "tokenizer.ggml.tokens": PackedStrings.from_bytes(token.encode() for token in tokens),
        "tokenizer.ggml.token_type": memoryview(array("i", map(_type_of, tokens))),
        "tokenizer.chat_template": metadata.get("chat_template"),
    }
    if merges is not None:
        values["tokenizer.ggml.merges"] = PackedStrings.from_bytes(merge.encode() for merge in merges)
    scores = metadata.get("tokenizer.scores")
    if scores is not None:
        values["tokenizer.ggml.scores"] = memoryview(array("f", _numbers(path, scores)))
    for key in ("bos_token_id", "eos_token_id"):
        if metadata.get(f"tokenizer.{key}") is not None:
            values[f"tokenizer.ggml.{key}"] = metadata[f"tokenizer.{key}"]
    return from_gguf_metadata(path, values)


def _type_of(token: str) -> int:
    return next((kind for pattern, kind in _TYPES if pattern.fullmatch(token)), NORMAL)


def _texts(path: str, metadata: Mapping[str, object], key: str) -> list[str] | None:
    value = metadata.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FormatError(path, None, f"{key} is {value!r:.60}, it must be an array of strings")
    return value


def _numbers(path: str, value: object) -> list[float]:
    if not isinstance(value, list) or not all(type(item) in (int, float) and abs(item) < 1e38 for item in value):
        raise FormatError(path, None, f"tokenizer.scores is {value!r:.60}, it must be an array of numbers")
    return value
