"""Hugging Face models (safetensors and config.json) as GGUF sources: names, metadata, orders of rows.

    Llama and Mistral rotate elements i and i + n/2 of a head there, 2i and 2i + 1 in GGUF: rows of Q and K move.
    GPT-2 keeps its matrices as (inputs, outputs): they are transposed.
    Gemma's norms multiply by 1 + weight there, by the weight in GGUF: 1 is added.

The keys, names and changes are facts of GGUF as llama.cpp's converter writes it. It knows no recipe; the
vocabulary is `vocabulary`'s matter.
"""

from __future__ import annotations

import math
import os
import re
from collections import namedtuple

import numpy as np

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.gguf import Metadata
from realizar_lambda.quantize.source import Source, SourceTensor, computed, reordered, stored, transposed
from realizar_lambda.quantize.vocabulary import read_vocabulary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.formats import ModelFile
    from realizar_lambda.quantize.bits import Floats
    from realizar_lambda.tensor import Tensor


class Family(namedtuple("Family", "architecture names keys defaults")):
    """GGUF's architecture, tensor names, keys of config.json -> GGUF's, and values GGUF has when there are none."""

    __slots__ = ()


_LLAMA_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
}
_GEMMA2_NAMES = _LLAMA_NAMES | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_GPT2_NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "lm_head": "output",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_LLAMA_KEYS = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "vocab_size": "vocab_size",
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
_GPT2_KEYS = {
    "n_positions": "context_length",
    "n_embd": "embedding_length",
    "n_inner": "feed_forward_length",
    "n_layer": "block_count",
    "n_head": "attention.head_count",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
    "vocab_size": "vocab_size",
}

FAMILIES = {
    "llama": Family("llama", _LLAMA_NAMES, _LLAMA_KEYS, {}),
    "mistral": Family("llama", _LLAMA_NAMES, _LLAMA_KEYS, {}),
    "qwen2": Family("qwen2", _LLAMA_NAMES, _LLAMA_KEYS, {}),
    "qwen3": Family("qwen3", _LLAMA_NAMES, _LLAMA_KEYS, {"head_dim": 128}),
    "gemma": Family("gemma", _LLAMA_NAMES, _LLAMA_KEYS, {"head_dim": 256}),
    "gemma2": Family("gemma2", _GEMMA2_NAMES, _LLAMA_KEYS, {"head_dim": 256}),
    "phi3": Family("phi3", _LLAMA_NAMES, _LLAMA_KEYS, {}),
    "gpt2": Family("gpt2", _GPT2_NAMES, _GPT2_KEYS, {}),
}
"""`model_type` of config.json -> how its files become GGUF."""

_LAYER = re.compile(r"(?:layers|h)\.(\d+)\.(.+)")
_IGNORED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def from_huggingface(model: ModelFile, *, pre_tokenizer: str | None = None) -> Source:
    """The source that safetensors with a config.json beside them are.

    `pre_tokenizer` names the pre-tokenizer (`tokenizer.ggml.pre`) where tokenizer.json does not tell which it is.
    Raises UnsupportedError for other families and features, FormatError for a config.json or tensors that do not
    fit each other.
    """
    config = model.metadata.get("config")
    if not isinstance(config, dict):
        raise UnsupportedError(f"{model.path}: safetensors without a config.json beside them", "Hugging Face folders")
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise UnsupportedError(f"model_type {config.get('model_type')!r}", FAMILIES)
    folder = os.path.dirname(model.path)
    reader = _Config(os.path.join(folder, "config.json"), {**family.defaults, **config})
    metadata = Metadata()
    metadata["general.architecture"] = family.architecture
    metadata["general.name"] = str(config.get("_name_or_path") or os.path.basename(os.path.abspath(folder)))
    extra = _write_metadata(metadata, reader, family)
    tensors = {source.name: source for source in extra}
    for name, tensor in model.tensors.items():
        if 0 in tensor.shape:
            raise FormatError(model.path, tensor.offset, f"tensor {name!r} has shape {list(tensor.shape)}: it is empty")
        if not name.endswith(_IGNORED):
            renamed = _gguf_name(family, name)
            tensors[renamed] = _changed(reader, family, renamed, tensor)
    if config.get("tie_word_embeddings") and "token_embd.weight" in tensors:
        tensors.pop("output.weight", None)
    if "token_embd.weight" not in tensors:
        raise FormatError(model.path, None, "there is no embedding matrix among the tensors")
    n_vocabulary = tensors["token_embd.weight"].shape[0]
    metadata[f"{family.architecture}.vocab_size"] = n_vocabulary
    for key, value, type_name in read_vocabulary(folder, config, n_vocabulary, pre_tokenizer=pre_tokenizer):
        metadata[key] = value
        metadata.types[key] = type_name
    return Source(model.path, metadata, tensors)


class _Config:
    """Typed access to a config.json."""

    def __init__(self, path: str, values: dict[str, object]) -> None:
        self.path = path
        self.values = values

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 1 << 31:
            raise FormatError(self.path, None, f"{key} must be an integer in [1, 2**31), it is {value!r:.40}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise FormatError(self.path, None, f"{key} must be a finite number, it is {value!r:.40}")
        return float(value)

    def positive(self, key: str, default: float | None = None) -> float:
        value = self.number(key, default)
        if value <= 0:
            raise FormatError(self.path, None, f"{key} must be positive, it is {value}")
        return value

    @property
    def rope(self) -> _Config:
        """`rope_parameters`, or `rope_scaling` with `rope_theta` beside it as older files have it."""
        inner = self.values.get("rope_parameters") or self.values.get("rope_scaling") or {}
        if not isinstance(inner, dict):
            raise FormatError(self.path, None, f"rope parameters must be an object, they are {inner!r:.40}")
        return _Config(self.path, {"rope_theta": self.values.get("rope_theta", 10000.0), **inner})


def _write_metadata(metadata: Metadata, config: _Config, family: Family) -> list[SourceTensor]:
    """Fill in the architecture's keys; the tensors that GGUF has and Hugging Face computes."""
    prefix = family.architecture
    for key, gguf_key in family.keys.items():
        value = config.values.get(key)
        if value is None or (key == "sliding_window" and config.values.get("use_sliding_window") is False):
            continue
        is_integer = not key.endswith(("eps", "epsilon", "softcapping"))
        metadata[f"{prefix}.{gguf_key}"] = config.integer(key) if is_integer else config.number(key)
    if prefix == "gpt2":
        metadata.setdefault("gpt2.feed_forward_length", 4 * config.integer("n_embd"))
        return []
    n_heads = config.integer("num_attention_heads")
    metadata.setdefault(f"{prefix}.attention.head_count_kv", n_heads)
    head_dim = config.integer("head_dim", config.integer("hidden_size") // n_heads)
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        metadata[f"{prefix}.{key}"] = head_dim
    metadata[f"{prefix}.rope.freq_base"] = config.rope.positive("rope_theta")
    return _rope_scaling(metadata, config, prefix, head_dim)


def _rope_scaling(metadata: Metadata, config: _Config, prefix: str, head_dim: int) -> list[SourceTensor]:
    rope = config.rope
    kind = str(rope.values.get("rope_type", rope.values.get("type", "default")))
    if kind not in ROPE_SCALINGS:
        raise UnsupportedError(f"rope scaling {kind!r}", ROPE_SCALINGS)
    if kind == "default":
        return []
    if kind == "llama3":
        return [computed("rope_freqs.weight", _llama3_divisors(rope, head_dim))]
    context = config.integer("max_position_embeddings")
    original = config.values.get("original_max_position_embeddings", context)
    original = rope.integer("original_max_position_embeddings", original if isinstance(original, int) else context)
    if kind in ("longrope", "su"):
        stretch = context / original
        metadata[f"{prefix}.rope.scaling.original_context_length"] = original
        metadata[f"{prefix}.rope.scaling.attn_factor"] = (
            math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 < original else 1.0
        )
        return [
            computed(f"rope_factors_{length}.weight", _factors(rope, f"{length}_factor", head_dim))
            for length in ("long", "short")
        ]
    metadata[f"{prefix}.rope.scaling.type"] = kind
    metadata[f"{prefix}.rope.scaling.factor"] = rope.positive("factor")
    if kind == "yarn":
        metadata[f"{prefix}.rope.scaling.original_context_length"] = original
    return []


ROPE_SCALINGS = ("default", "linear", "yarn", "llama3", "longrope", "su")


def _llama3_divisors(rope: _Config, head_dim: int) -> Floats:
    """What each frequency is divided by: 1 for short wavelengths, `factor` for long ones, blended between."""
    wavelengths = 2 * math.pi * rope.positive("rope_theta") ** (np.arange(0, head_dim, 2) / head_dim)
    old, factor = rope.integer("original_max_position_embeddings", 8192), rope.positive("factor", 8.0)
    low, high = rope.positive("low_freq_factor", 1.0), rope.positive("high_freq_factor", 4.0)
    if low >= high:
        raise FormatError(rope.path, None, f"low_freq_factor {low} must be below high_freq_factor {high}")
    smooth = np.clip((old / wavelengths - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def _factors(rope: _Config, key: str, head_dim: int) -> Floats:
    values = rope.values.get(key)
    if not isinstance(values, list) or len(values) != head_dim // 2:
        raise FormatError(rope.path, None, f"{key} must be a list of {head_dim // 2} numbers, got {values!r:.60}")
    return np.array([_Config(rope.path, {key: value}).number(key) for value in values], np.float32)


def _gguf_name(family: Family, name: str) -> str:
    stem, _, kind = name.removeprefix("transformer.").rpartition(".")
    layer = _LAYER.search(stem)
    part = layer[2] if layer else stem
    if part not in family.names or kind not in ("weight", "bias"):
        raise UnsupportedError(f"tensor {name!r} of a {family.architecture} model", family.names)
    return f"blk.{layer[1]}.{family.names[part]}.{kind}" if layer else f"{family.names[part]}.{kind}"


def _changed(config: _Config, family: Family, name: str, tensor: Tensor) -> SourceTensor:
    """`tensor` under the GGUF name `name`, as GGUF wants it."""
    part = name.split(".")[-2]
    if family.architecture == "llama" and part in ("attn_q", "attn_k"):
        n_heads = config.integer("num_attention_heads")
        n = n_heads if part == "attn_q" else config.integer("num_key_value_heads", n_heads)
        if not tensor.shape or tensor.shape[0] % (2 * n):
            raise FormatError(config.path, None, f"{name} has shape {list(tensor.shape)}, not rows for {n} heads")
        order = np.arange(tensor.shape[0]).reshape(n, 2, -1).swapaxes(1, 2).reshape(-1)
        return reordered(name, tensor, order)
    if family.architecture == "gpt2" and name.startswith("blk.") and len(tensor.shape) == 2:
        return transposed(name, tensor)
    source = stored(name, tensor)
    if family.architecture.startswith("gemma") and name.endswith("norm.weight"):
        return source._replace(added=1.0)
    return source
