"""The story model as GGUF: written from trained weights, quantised, and read back into PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from realizar_lambda.formats import gguf_writer, open_model
from realizar_lambda.quantize import decode, rewrite, source

from .llama import Llama, Shape

if TYPE_CHECKING:
    from pathlib import Path

    from .bpe import Vocabulary

DESCRIPTION = (
    "Writes short stories in simple English. Trained from nothing on 2 MiB of TinyStories (CDLA-Sharing-1.0) and "
    "older books in the public domain; vocabulary of its own."
)


def metadata(shape: Shape, vocabulary: Vocabulary, name: str) -> dict[str, object]:
    """The keys that llama.cpp's `llama` architecture reads, and what the file says of itself."""
    return {
        "general.architecture": "llama",
        "general.name": name,
        "general.description": DESCRIPTION,
        "general.license": "MIT",
        "general.languages": ["en"],
        "general.file_type": 0,
        "llama.block_count": shape.n_layers,
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.n_embd,
        "llama.feed_forward_length": shape.n_ff,
        "llama.attention.head_count": shape.n_heads,
        "llama.attention.head_count_kv": shape.n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": shape.norm_epsilon,
        "llama.rope.dimension_count": shape.head_dim,
        "llama.rope.freq_base": shape.rope_base,
        "llama.vocab_size": shape.n_vocab,
        **vocabulary.gguf_metadata(),
    }


def write_f32(path: Path, weights: dict[str, torch.Tensor], shape: Shape, vocabulary: Vocabulary, name: str) -> None:
    """Write the weights as they are. Neighbouring pairs are how `llama` files hold rotary positions."""
    tensors = {
        key: (tuple(value.shape), "F32", value.numpy().astype("<f4").tobytes()) for key, value in weights.items()
    }
    gguf_writer.write(path, metadata(shape, vocabulary, name), tensors)


def quantize(original: Path, path: Path, recipe: str) -> None:
    """Write `original` again under a recipe of llama.cpp's, such as Q4_K_M."""
    found = source.from_gguf(open_model(str(original)))
    rewrite.rewrite(found, rewrite.plan(found, recipe), str(path), recipe_name=recipe)


def read_back(path: Path, shape: Shape) -> Llama:
    """The model with the weights that the file holds, unpacked to float32."""
    weights = {
        name: torch.from_numpy(np.array(decode(tensor.block.name, tensor.data)).reshape(tensor.shape))
        for name, tensor in open_model(str(path)).tensors.items()
    }
    model = Llama(shape)
    model.load_state_dict(weights)
    model.eval()
    return model


def block_types(path: Path) -> dict[str, int]:
    """How many tensors the file holds in each block type."""
    names = [tensor.block.name for tensor in open_model(str(path)).tensors.values()]
    return {name: names.count(name) for name in sorted(set(names))}
