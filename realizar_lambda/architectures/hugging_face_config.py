"""The config of a Hugging Face folder, from its `config.json`: llama, mistral, qwen2, qwen3 and gpt2.

It knows keys, not tensors. A feature that changes the answer and that we do not have is refused by name.
"""

from __future__ import annotations

from math import log

from realizar_lambda.architectures.config import MAX_CONTEXT, MAX_HEADS, MAX_LAYERS, Config, Keys, Rope, checked
from realizar_lambda.errors import FormatError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.formats.model_file import ModelFile

_LLAMA = {
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
_GPT2 = {
    "n_layers": "n_layer",
    "n_heads": "n_head",
    "width": "n_embd",
    "n_vocab": "vocab_size",
    "context_length": "n_positions",
    "norm_epsilon": "layer_norm_epsilon",
}
KEYS = {"llama": _LLAMA, "mistral": _LLAMA, "qwen2": _LLAMA, "qwen3": _LLAMA, "gpt2": _GPT2}
"""Our names to the keys of `config.json`, by model_type."""

_MUST_BE = {
    "hidden_act": ("silu", "swish"),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "partial_rotary_factor": (1, None),
}
"""Keys that change the equations: the values that leave them as they are, the first where the key is absent."""


def from_hugging_face(file: ModelFile) -> Config:
    """The config of a safetensors file with `config.json` beside it."""
    values = file.metadata.get("config")
    if not isinstance(values, dict):
        raise FormatError(file.path, None, "no config.json beside the safetensors file: it says what the tensors mean")
    architecture = values.get("model_type")
    if not isinstance(architecture, str) or architecture not in KEYS:
        raise UnsupportedError(f"model_type {architecture!r:.60} in safetensors", sorted(KEYS))
    for key, allowed in _MUST_BE.items():
        if values.get(key, allowed[0]) not in allowed:
            raise UnsupportedError(f"{key} {values[key]!r:.60} in {architecture}", f"{key} {allowed[0]}")
    keys = Keys(file.path, {name: values.get(key) for name, key in KEYS[architecture].items()})
    n_heads, width = keys.count("n_heads", most=MAX_HEADS), keys.count("width")
    head_width = keys.count("head_width", max(width // n_heads, 1))
    n_layers = keys.count("n_layers", most=MAX_LAYERS)
    context_length = keys.count("context_length", 2048, most=MAX_CONTEXT)
    rope = _rope(file, values, head_width, context_length)
    if rope.kind in ("dynamic", "yarn"):  # the key has the length before scaling, or after it
        context_length = min(max(context_length, int(rope.original_context * rope.factor)), MAX_CONTEXT)
    return checked(
        file,
        Config(
            architecture=architecture,
            n_layers=n_layers,
            n_heads=n_heads,
            n_kv_heads=keys.count("n_kv_heads", n_heads, most=MAX_HEADS),
            head_width=head_width,
            width=width,
            n_vocab=keys.count("n_vocab"),
            context_length=context_length,
            norm_epsilon=keys.number("norm_epsilon", 1e-5, most=1.0),
            window=keys.count("window", 0, least=0, most=1 << 31) if _has_window(values, n_layers) else 0,
            attention_cap=0.0,
            logit_cap=0.0,
            query_scale=head_width**-0.5,
            max_alibi_bias=0.0,
            clamp_qkv=0.0,
            rope=rope,
        ),
    )


def _has_window(values: Mapping[str, object], n_layers: int) -> bool:
    """Whether every layer looks through the window; some alone is not supported."""
    if not values.get("use_sliding_window", values["model_type"] == "mistral"):
        return False
    kinds = values.get("layer_types")
    if isinstance(kinds, list):
        found = set(map(str, kinds))
    else:
        first = values.get("max_window_layers", 0)
        is_number = isinstance(first, int)
        found = {"sliding_attention"} if is_number and first <= 0 else {"full_attention"}  # type: ignore[operator]
        if not is_number or 0 < first < n_layers:  # type: ignore[operator]
            found = {"both"}
    if found not in ({"sliding_attention"}, {"full_attention"}):
        raise UnsupportedError("a sliding window in some layers only", "layer_types that are all alike")
    return found == {"sliding_attention"}


_SCALINGS = {"default": "none", "linear": "linear", "dynamic": "dynamic", "yarn": "yarn", "llama3": "llama3"}


def _rope(file: ModelFile, values: Mapping[str, object], head_width: int, context_length: int) -> Rope:
    scaling = values.get("rope_scaling") or values.get("rope_parameters") or {}
    if not isinstance(scaling, dict) or any(isinstance(value, dict) for value in scaling.values()):
        raise FormatError(file.path, None, f"rope_scaling is {scaling!r:.60}, must be an object of plain values")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if not isinstance(kind, str) or kind not in _SCALINGS:
        raise UnsupportedError(f"rope_scaling of type {kind!r:.60}", sorted(_SCALINGS))
    keys = Keys(file.path, {**values, **scaling})
    factor = keys.number("factor", 1.0)
    attention_factor = keys.number("attention_factor", 0.0) if kind == "yarn" else 0.0
    return Rope(
        n_rotated=head_width,
        base=keys.number("rope_theta", 10000.0, most=1e12),
        kind=_SCALINGS[kind],
        factor=factor,
        original_context=keys.count("original_max_position_embeddings", context_length),
        fast=keys.number("beta_fast", 32.0),
        slow=keys.number("beta_slow", 1.0),
        attention_factor=attention_factor / (1.0 + 0.1 * log(factor)) if attention_factor and factor >= 1.0 else 1.0,
        low=keys.number("low_freq_factor", 1.0),
        high=keys.number("high_freq_factor", 4.0),
    )
