"""Small decoders with random weights, as GGUF files: any family, shape and block type, for tests and their oracle.

metadata, weights = make("llama", n_heads=6, n_kv_heads=1)
path = write(tmp_path / "tiny.gguf", metadata, weights, block="Q8_0")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from realizar_lambda.formats import gguf_writer
from realizar_lambda.quantize import encode

Weights = dict[str, np.ndarray]

SEPARATE = ("llama", "qwen2", "qwen3", "gemma", "gemma2")
"""Families with a matrix each for queries, keys and values; the others have one for all."""
ARCHITECTURES = (*SEPARATE, "phi3", "gpt2", "bloom", "mpt")
WITH_LAYER_NORM = ("gpt2", "bloom", "mpt")


def make(
    architecture: str = "llama",
    *,
    n_layers: int = 2,
    n_heads: int = 4,
    n_kv_heads: int | None = None,
    head_width: int = 8,
    width: int = 32,
    n_ffn: int = 64,
    n_vocab: int = 50,
    context: int = 96,
    is_tied: bool = False,
    has_biases: bool = False,
    seed: int = 0,
    **keys: object,
) -> tuple[dict[str, object], Weights]:
    """(metadata, weights) by GGUF's names; `keys` are added, with dots for the double underscores in their names."""
    n_kv_heads = n_kv_heads or n_heads
    random = np.random.default_rng(seed)
    weights: Weights = {}

    def matrix(name: str, n_rows: int, n_columns: int, scale: float, bias: bool = has_biases) -> None:
        weights[f"{name}.weight"] = (random.normal(size=(n_rows, n_columns)) * scale).astype("f4")
        if bias:
            weights[f"{name}.bias"] = (random.normal(size=n_rows) * 0.2).astype("f4")

    def norm(name: str, size: int = width) -> None:
        weights[f"{name}.weight"] = (1.0 + 0.2 * random.normal(size=size)).astype("f4")
        if architecture in ("gpt2", "bloom"):
            weights[f"{name}.bias"] = (random.normal(size=size) * 0.2).astype("f4")

    matrix("token_embd", n_vocab, width, 1.0, bias=False)
    if architecture == "gpt2":
        matrix("position_embd", context, width, 0.5, bias=False)
    if architecture == "bloom":
        norm("token_embd_norm")
    n_q, n_kv = n_heads * head_width, n_kv_heads * head_width
    for number in range(n_layers):
        layer = f"blk.{number}."
        norm(layer + "attn_norm")
        if architecture in SEPARATE:
            for part, n in (("q", n_q), ("k", n_kv), ("v", n_kv)):
                matrix(f"{layer}attn_{part}", n, width, 1.5 * width**-0.5)
        else:
            matrix(layer + "attn_qkv", n_q + 2 * n_kv, width, 1.5 * width**-0.5)
        if architecture == "qwen3":
            norm(layer + "attn_q_norm", head_width)
            norm(layer + "attn_k_norm", head_width)
        matrix(layer + "attn_output", width, n_q, n_q**-0.5)
        if architecture == "gemma2":
            norm(layer + "post_attention_norm")
            norm(layer + "post_ffw_norm")
        norm(layer + "ffn_norm")
        if architecture in SEPARATE:
            matrix(layer + "ffn_gate", n_ffn, width, 1.5 * width**-0.5)
        matrix(layer + "ffn_up", 2 * n_ffn if architecture == "phi3" else n_ffn, width, 1.5 * width**-0.5)
        matrix(layer + "ffn_down", width, n_ffn, n_ffn**-0.5)
    norm("output_norm")
    if not is_tied:
        matrix("output", n_vocab, width, width**-0.5, bias=False)
    declared: dict[str, object] = {
        "block_count": n_layers,
        "context_length": context,
        "embedding_length": width,
        "feed_forward_length": n_ffn,
        "attention.head_count": n_heads,
        "attention.head_count_kv": n_kv_heads,
        "attention.key_length": head_width,
        "attention.value_length": head_width,
        "vocab_size": n_vocab,
    }
    if architecture in WITH_LAYER_NORM:
        declared |= {"attention.layer_norm_epsilon": 1e-5}
    else:
        declared |= {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0}
        declared |= {"rope.dimension_count": head_width}
    if architecture == "gemma2":
        declared |= {"attention.sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    if architecture == "mpt":
        declared |= {"attention.max_alibi_bias": 8.0}
    declared |= {key.replace("__", "."): value for key, value in keys.items()}
    metadata = {"general.architecture": architecture}
    return metadata | {f"{architecture}.{key}": value for key, value in declared.items()}, weights


def write(
    path: Path,
    metadata: Mapping[str, object],
    weights: Mapping[str, np.ndarray],
    *,
    block: str = "F32",
    blocks: Mapping[str, str] | None = None,
) -> str:
    """A GGUF file; its path. Matrices are of type `block`, or of the one that `blocks` has for their name's end."""
    tensors = {}
    for name, values in weights.items():
        chosen = block if values.ndim == 2 and name != "position_embd.weight" else "F32"
        chosen = next((other for end, other in (blocks or {}).items() if name.endswith(end)), chosen)
        tensors[name] = (values.shape, chosen, encode(chosen, np.ascontiguousarray(values, "f4")))
    gguf_writer.write(path, metadata, tensors)
    return str(path)


def relative_rms(found: object, expected: np.ndarray) -> float:
    """rms(found - expected) over the standard deviation of what is expected."""
    return float(np.sqrt(((np.asarray(found) - expected) ** 2).mean()) / expected.std())
