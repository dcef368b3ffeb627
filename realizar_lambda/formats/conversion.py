"""One model file written as another format: every tensor's bytes as they are, metadata as the target can hold it.

Names of tensors stay too: a GGUF file's `blk.0.attn_q.weight` has its rows in another order than Hugging Face's
`model.layers.0.self_attn.q_proj.weight`, so to rename it would be to lie about it.

    to .apr          GGUF keys that `.apr` has names for take them, the rest keep theirs
    to GGUF          values that GGUF cannot hold (objects, null, mixed lists) become JSON text
    to safetensors   values that are not text become JSON text

`realizar.json` lists the keys that were turned into JSON text and `gguf_types` the types GGUF had, so that a file
that is converted back has its metadata back.
"""

from __future__ import annotations

import json
import os

from realizar_lambda.errors import FormatError, RequestError, UnsupportedError
from realizar_lambda.formats import apr_v2, gguf_writer, safetensors
from realizar_lambda.formats.gguf import Metadata
from realizar_lambda.formats.gguf_strings import StringArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from realizar_lambda.formats.model_file import ModelFile

    Values = dict[str, object]
    Types = dict[str, str]
    Tensors = dict[str, tuple[tuple[int, ...], str, memoryview]]

JSON_KEYS = "realizar.json"
TYPES_KEY = "gguf_types"

_GENERAL_NAMES = {
    "general.architecture": "architecture",
    "general.name": "name",
    "general.description": "description",
    "general.author": "author",
    "general.license": "license",
    "general.version": "version",
}
_APR_NAMES = _GENERAL_NAMES | {
    "{}.embedding_length": "hidden_size",
    "{}.block_count": "num_layers",
    "{}.attention.head_count": "num_heads",
    "{}.attention.head_count_kv": "num_kv_heads",
    "{}.attention.key_length": "head_dim",
    "{}.attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "{}.feed_forward_length": "intermediate_size",
    "{}.context_length": "max_position_embeddings",
    "{}.rope.freq_base": "rope_theta",
    "{}.vocab_size": "vocab_size",
    "{}.expert_count": "num_experts",
    "{}.expert_used_count": "num_experts_per_tok",
    "{}.expert_feed_forward_length": "moe_intermediate_size",
    "tokenizer.chat_template": "chat_template",
    "tokenizer.ggml.model": "tokenizer.model_type",
    "tokenizer.ggml.tokens": "tokenizer.vocabulary",
    "tokenizer.ggml.merges": "tokenizer.merges",
    "tokenizer.ggml.scores": "tokenizer.scores",
    "tokenizer.ggml.bos_token_id": "tokenizer.bos_token_id",
    "tokenizer.ggml.eos_token_id": "tokenizer.eos_token_id",
}
"""GGUF key, with {} for the architecture -> the key that `.apr` v2 has for it."""


def convert(model: ModelFile, path: str | os.PathLike[str]) -> None:
    """Write `model` as the format that the suffix of `path` names.

    Raises UnsupportedError for another suffix and for block types that the format does not have, RequestError
    where it cannot hold a name, a shape or a value, FormatError for text that is not UTF-8, OSError.
    """
    suffix = os.path.splitext(os.fspath(path))[1]
    writer = WRITERS.get(suffix)
    if writer is None:
        raise UnsupportedError(f"writing {suffix or 'a file without suffix'}", WRITERS)
    values, types = _read_values(model)
    tensors = {tensor.name: (tensor.shape, tensor.block.name, tensor.data) for tensor in model.tensors.values()}
    writer(path, values, types, tensors)


def _read_values(model: ModelFile) -> tuple[Values, Types]:
    """The metadata as JSON values, and the GGUF types they have or had."""
    values = {key: _plain(model.path, key, value) for key, value in model.metadata.items()}
    listed = values.pop(JSON_KEYS, [])
    listed = _parsed(listed) if isinstance(listed, str) else listed
    for key in listed if isinstance(listed, list) else []:
        if isinstance(key, str) and isinstance(values.get(key), str):
            values[key] = _parsed(values[key])
    stored = values.pop(TYPES_KEY, None)
    types = dict(model.metadata.types) if isinstance(model.metadata, Metadata) else {}
    if isinstance(stored, dict):
        types |= {key: name for key, name in stored.items() if isinstance(name, str)}
    return values, types


def _parsed(text: object) -> object:
    try:
        return json.loads(str(text))
    except ValueError:
        return text


def _plain(path: str, key: str, value: object) -> object:
    if isinstance(value, memoryview):
        return value.tolist()
    if isinstance(value, StringArray):
        try:
            return [value.bytes_at(i).decode() for i in range(len(value))]
        except UnicodeDecodeError:
            raise FormatError(path, value.start, f"an item of {key} is not UTF-8, JSON cannot hold it") from None
    return value


def _names(values: Values) -> dict[str, str]:
    """GGUF key -> `.apr` key, for the architecture of these values."""
    architecture = values.get("general.architecture", values.get("architecture", ""))
    return {key.format(architecture): name for key, name in _APR_NAMES.items()}


def _write_apr(path: str | os.PathLike[str], values: Values, types: Types, tensors: Tensors) -> None:
    names = _names(values)
    named = {names.get(key, key): value for key, value in values.items()}
    if len(named) != len(values):
        named = dict(values)
    if types:
        named |= {TYPES_KEY: types}
        named = {"model_type": named.get("architecture", ""), "original_format": "gguf"} | named
    apr_v2.write(path, tensors, named)


def _write_gguf(path: str | os.PathLike[str], values: Values, types: Types, tensors: Tensors) -> None:
    names = _names(values) if types else _GENERAL_NAMES
    keys = {name: key for key, name in names.items() if key not in values and (not types or key in types)}
    named = {keys.get(key, key): value for key, value in values.items()}
    if types:
        added = {"model_type", "original_format"} - types.keys()
        order = [key for key in types if key in named]
        named = {key: named[key] for key in [*order, *(key for key in named if key not in types and key not in added)]}
    as_json = []
    for key, value in named.items():
        if key not in types and not gguf_writer.can_hold(key, value):
            named[key] = _json(key, value)
            as_json.append(key)
    if as_json:
        named[JSON_KEYS] = as_json
    known = {key: name for key, name in types.items() if key in named}
    gguf_writer.write(path, named, tensors, types=known)


def _write_safetensors(path: str | os.PathLike[str], values: Values, types: Types, tensors: Tensors) -> None:
    as_json = [key for key, value in values.items() if not isinstance(value, str)]
    named = {key: value if isinstance(value, str) else _json(key, value) for key, value in values.items()}
    if types:
        named[TYPES_KEY] = _json(TYPES_KEY, types)
        as_json.append(TYPES_KEY)
    if as_json:
        named[JSON_KEYS] = _json(JSON_KEYS, as_json)
    safetensors.write(path, tensors, named)


def _json(key: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as fault:
        raise RequestError(400, f"the metadata {key!r} cannot be JSON: {fault}", field=key) from None


WRITERS: dict[str, Callable[[str | os.PathLike[str], Values, Types, Tensors], None]] = {
    ".apr": _write_apr,
    ".gguf": _write_gguf,
    ".safetensors": _write_safetensors,
}
"""Suffix -> what writes it."""
