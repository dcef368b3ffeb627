"""Hugging Face folders made out of the architecture fixtures: names and layouts turned back. Never the package's.

The fixtures have GGUF's names and layouts; what is undone here is what llama.cpp's converter does.
"""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save_file

_LLAMA = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_qkv": "self_attn.qkv_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_PHI3 = _LLAMA | {"ffn_up": "mlp.gate_up_proj"}
_GEMMA2 = _LLAMA | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_GPT2 = {
    "token_embd": "wte",
    "position_embd": "wpe",
    "output_norm": "ln_f",
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_NAMES = {"gpt2": _GPT2, "phi3": _PHI3, "gemma2": _GEMMA2}

_CONFIG = {
    "max_position_embeddings": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 64,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_LONGROPE = {"rope_type": "longrope", "short_factor": [1.0, 1.05, 1.1, 1.2], "long_factor": [1.0, 2.0, 4.0, 6.0]}
_WIDE = {"head_dim": 16}
_GEMMA = {"tie_word_embeddings": True, "rms_norm_eps": 1e-6, "head_dim": 16}
CONFIGS = {
    "llama": {"model_type": "llama", **_CONFIG},
    "llama-linear": {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}, **_CONFIG},
    "llama-yarn": {
        "model_type": "llama",
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
        **_CONFIG,
    },
    "llama-llama3": {"model_type": "llama", "rope_parameters": _LLAMA3, **_CONFIG},
    "mistral": {"model_type": "mistral", "sliding_window": 6, **_CONFIG},
    "qwen2": {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False, **_CONFIG},
    "qwen3": {"model_type": "qwen3", **_CONFIG, **_WIDE},
    "gemma": {"model_type": "gemma", **_CONFIG, **_GEMMA},
    "gemma2": {
        "model_type": "gemma2",
        "sliding_window": 6,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 3.0,
        **_CONFIG,
        **_GEMMA,
    },
    "phi3": {"model_type": "phi3", "sliding_window": 7, **_CONFIG},
    "phi3-longrope": {
        "model_type": "phi3",
        "original_max_position_embeddings": 16,
        "rope_scaling": _LONGROPE,
        **_CONFIG,
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_positions": 64,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "layer_norm_epsilon": 1e-5,
        "vocab_size": 64,
        "tie_word_embeddings": True,
    },
}


def write(folder, name, weights, **changes):
    """The fixture's `weights` as a folder with model.safetensors and config.json; `changes` to the latter."""
    config = CONFIGS[name]
    family = config["model_type"]
    tensors = {}
    for key, w in weights.items():
        if not key.startswith("rope_f"):
            tensors[_name(family, key)] = np.ascontiguousarray(_turned_back(config, key, w))
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def _name(family, key):
    names = _NAMES.get(family, _LLAMA)
    parts = key.split(".")
    if parts[0] != "blk":
        return f"{names[parts[0]]}.{parts[1]}"
    layers = "h" if family == "gpt2" else "model.layers"
    return f"{layers}.{parts[1]}.{names[parts[2]]}.{parts[3]}"


def _turned_back(config, key, w):
    part = key.split(".")[-2]
    family = config["model_type"]
    if family in ("llama", "mistral") and part in ("attn_q", "attn_k"):
        n = config["num_attention_heads" if part == "attn_q" else "num_key_value_heads"]
        return w.reshape(n, -1, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)
    if family == "gpt2" and key.startswith("blk.") and w.ndim == 2:
        return w.T
    if family.startswith("gemma") and key.endswith("norm.weight"):
        return w - 1
    return w
