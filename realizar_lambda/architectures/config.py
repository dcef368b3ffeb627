"""What a decoder's file declares, under one set of names, checked. It knows keys, not equations.

Sources: GGUF metadata (`{architecture}.attention.head_count`, ...) and Hugging Face's `config.json`.
"""

from __future__ import annotations

from collections import namedtuple
from math import isfinite

from realizar_lambda.errors import FormatError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.formats.model_file import ModelFile

MAX_CONTEXT = 1 << 21
MAX_LAYERS = 1024

Rope = namedtuple("Rope", "n_rotated base kind factor original_context fast slow attention_factor low high")
"""Rotary positions: `kind` is none, linear, ntk, yarn or llama3; see rope.py for what the rest means."""


class Config(
    namedtuple(
        "Config",
        "architecture n_layers n_heads n_kv_heads head_width width n_vocab context_length norm_epsilon window "
        "attention_cap logit_cap query_scale max_alibi_bias clamp_qkv rope",
    )
):
    """A decoder's numbers.

    `window` 0 is none; `attention_cap` and `logit_cap` 0 are none; `query_scale` is what scores are multiplied by.
    """

    __slots__ = ()


class _Keys:
    """Typed access to metadata; every complaint names the key."""

    def __init__(self, path: str, values: Mapping[str, object], prefix: str) -> None:
        self.path = path
        self.values = values
        self.prefix = prefix

    def count(self, key: str, default: int | None = None, *, least: int = 1, most: int = 1 << 24) -> int:
        value = self.values.get(self.prefix + key)
        if value is None and default is not None:
            return default
        if type(value) is not int or not least <= value <= most:
            raise FormatError(self.path, None, f"{self.prefix}{key} is {value!r:.60}, must be {least} to {most}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(self.prefix + key)
        if value is None and default is not None:
            return default
        if type(value) not in (int, float) or not isfinite(value) or abs(value) > 1e18:  # type: ignore[arg-type]
            raise FormatError(self.path, None, f"{self.prefix}{key} is {value!r:.60}, must be a finite number")
        return float(value)  # type: ignore[arg-type]

    def text(self, key: str, default: str) -> str:
        value = self.values.get(self.prefix + key)
        return value if isinstance(value, str) else default


def from_gguf(file: ModelFile) -> Config:
    """The config of a GGUF file."""
    architecture = file.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise FormatError(file.path, None, f"general.architecture is {architecture!r:.60}, must be a string")
    keys = _Keys(file.path, file.metadata, f"{architecture}.")
    n_heads = keys.count("attention.head_count")
    width = keys.count("embedding_length")
    head_width = keys.count("attention.key_length", _divided(file, width, n_heads))
    if keys.count("attention.value_length", head_width) != head_width:
        raise UnsupportedError(
            "a value head wider or narrower than its key head", "attention.value_length = key_length"
        )
    rope = Rope(
        n_rotated=keys.count("rope.dimension_count", head_width),
        base=keys.number("rope.freq_base", 10000.0),
        kind=keys.text(
            "rope.scaling.type", "linear" if f"{architecture}.rope.scale_linear" in file.metadata else "none"
        ),
        factor=keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1.0)),
        original_context=keys.count("rope.scaling.original_context_length", keys.count("context_length", 2048)),
        fast=keys.number("rope.scaling.yarn_beta_fast", 32.0),
        slow=keys.number("rope.scaling.yarn_beta_slow", 1.0),
        attention_factor=keys.number("rope.scaling.attn_factor", 1.0),
        low=1.0,
        high=4.0,
    )
    epsilon = keys.number("attention.layer_norm_rms_epsilon", keys.number("attention.layer_norm_epsilon", 1e-5))
    return _checked(
        file,
        Config(
            architecture=architecture,
            n_layers=keys.count("block_count", most=MAX_LAYERS),
            n_heads=n_heads,
            n_kv_heads=keys.count("attention.head_count_kv", n_heads),
            head_width=head_width,
            width=width,
            n_vocab=_vocabulary(file, "token_embd.weight"),
            context_length=keys.count("context_length", 2048, most=MAX_CONTEXT),
            norm_epsilon=epsilon,
            window=keys.count("attention.sliding_window", 0, least=0),
            attention_cap=keys.number("attn_logit_softcapping", 0.0),
            logit_cap=keys.number("final_logit_softcapping", 0.0),
            query_scale=head_width**-0.5,
            max_alibi_bias=keys.number("attention.max_alibi_bias", 8.0),
            clamp_qkv=keys.number("attention.clamp_kqv", 0.0),
            rope=rope,
        ),
    )


def from_hugging_face(file: ModelFile) -> Config:
    """The config of a safetensors file with `config.json` beside it: llama, mistral, qwen2, gpt2."""
    values = file.metadata.get("config")
    if not isinstance(values, dict):
        raise FormatError(file.path, None, "no config.json beside the safetensors file: it says what the tensors mean")
    architecture = str(values.get("model_type"))
    names = HUGGING_FACE_KEYS.get(architecture)
    if names is None:
        raise UnsupportedError(f"model_type {architecture!r} in safetensors", sorted(HUGGING_FACE_KEYS))
    keys = _Keys(file.path, {name: values.get(key) for name, key in names.items()}, "")
    n_heads, width = keys.count("n_heads"), keys.count("width")
    head_width = keys.count("head_width", _divided(file, width, n_heads))
    uses_window = values.get("use_sliding_window", architecture == "mistral")
    context_length = keys.count("context_length", 2048, most=MAX_CONTEXT)
    return _checked(
        file,
        Config(
            architecture=architecture,
            n_layers=keys.count("n_layers", most=MAX_LAYERS),
            n_heads=n_heads,
            n_kv_heads=keys.count("n_kv_heads", n_heads),
            head_width=head_width,
            width=width,
            n_vocab=keys.count("n_vocab"),
            context_length=context_length,
            norm_epsilon=keys.number("norm_epsilon", 1e-5),
            window=keys.count("window", 0, least=0) if uses_window else 0,
            attention_cap=0.0,
            logit_cap=0.0,
            query_scale=head_width**-0.5,
            max_alibi_bias=8.0,
            clamp_qkv=0.0,
            rope=_hugging_face_rope(file, values, head_width, context_length),
        ),
    )


_LLAMA_KEYS = {
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_width": "head_dim",
    "width": "hidden_size",
    "n_vocab": "vocab_size",
    "context_length": "max_position_embeddings",
    "norm_epsilon": "rms_norm_eps",
    "window": "sliding_window",
}
HUGGING_FACE_KEYS = {
    "llama": _LLAMA_KEYS,
    "mistral": _LLAMA_KEYS,
    "qwen2": _LLAMA_KEYS,
    "gpt2": {
        "n_layers": "n_layer",
        "n_heads": "n_head",
        "width": "n_embd",
        "n_vocab": "vocab_size",
        "context_length": "n_positions",
        "norm_epsilon": "layer_norm_epsilon",
    },
}
"""Our names to the keys of `config.json`, by model_type."""

_SCALINGS = {"default": "none", "linear": "linear", "dynamic": "ntk", "yarn": "yarn", "llama3": "llama3"}


def _hugging_face_rope(file: ModelFile, values: Mapping[str, object], head_width: int, context_length: int) -> Rope:
    scaling = values.get("rope_scaling") or values.get("rope_parameters") or {}
    if not isinstance(scaling, dict):
        raise FormatError(file.path, None, f"rope_scaling is {scaling!r:.60}, must be an object")
    kind = str(scaling.get("rope_type", scaling.get("type", "default")))
    if kind not in _SCALINGS:
        raise UnsupportedError(f"rope_scaling of type {kind!r}", sorted(_SCALINGS))
    keys = _Keys(file.path, {**values, **scaling}, "")
    return Rope(
        n_rotated=head_width,
        base=keys.number("rope_theta", 10000.0),
        kind=_SCALINGS[kind],
        factor=keys.number("factor", 1.0),
        original_context=keys.count("original_max_position_embeddings", context_length),
        fast=keys.number("beta_fast", 32.0),
        slow=keys.number("beta_slow", 1.0),
        attention_factor=1.0,
        low=keys.number("low_freq_factor", 1.0),
        high=keys.number("high_freq_factor", 4.0),
    )


def _divided(file: ModelFile, width: int, n_heads: int) -> int:
    return max(width // n_heads, 1)


def _vocabulary(file: ModelFile, name: str) -> int:
    embedding = file.tensors.get(name)
    if embedding is None or len(embedding.shape) != 2:
        raise FormatError(file.path, None, f"no tensor {name!r} of two dimensions: this file holds no language model")
    return int(embedding.shape[0])


def _checked(file: ModelFile, config: Config) -> Config:
    rope = config.rope
    faults = (
        (config.n_heads % config.n_kv_heads, f"{config.n_heads} heads share {config.n_kv_heads} key heads unevenly"),
        (config.head_width > 1024, f"a head is {config.head_width} wide, at most 1024"),
        (rope.n_rotated > config.head_width or rope.n_rotated % 2, f"{rope.n_rotated} values of a head are rotated"),
        (not 0.0 < rope.base <= 1e12, f"the rotary base is {rope.base}, must be in (0, 1e12]"),
        (not 0.0 < rope.factor <= 1e6, f"the rotary scaling factor is {rope.factor}, must be in (0, 1e6]"),
        (not 0.0 <= config.norm_epsilon < 1.0, f"the norm's epsilon is {config.norm_epsilon}, must be in [0, 1)"),
        (config.attention_cap < 0.0 or config.logit_cap < 0.0, "a soft cap is negative"),
    )
    for is_wrong, message in faults:
        if is_wrong:
            raise FormatError(file.path, None, message)
    return config
