"""Llamas with random weights, as GGUF of any block type: the models on which speed is compared.

    python -m bench.random_llama OUT.gguf --size 1.1B --type Q4_K

Every matrix has the one block type. A matrix's blocks are drawn, with repetition, from 256 Ki encoded elements
of its own, so that a model of a billion weights takes seconds. Speed does not depend on it;
what such a model says means nothing anyway. Written a tensor at a time; the same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import itertools
import string
from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.formats import gguf_writer
from realizar_lambda.quantize import CODECS, encode

N_VOCABULARY = 32000
CONTEXT_LENGTH = 4096
_N_DRAWN = 1 << 18


class Size(namedtuple("Size", "dim n_layers n_heads n_kv_heads n_ffn is_tied")):
    """The shape of a Llama; tied: the output matrix is the embedding."""

    __slots__ = ()


SIZES = {
    "2M": Size(64, 2, 4, 2, 192, True),
    "110M": Size(768, 12, 12, 12, 2048, True),
    "1.1B": Size(2048, 22, 32, 4, 5632, False),
}


def write(path: str, size_name: str, block_name: str, *, seed: int = 1) -> None:
    """Write the model `size_name` of SIZES with matrices of type `block_name` to `path`.

    Matrices are normal with variance 1 / columns, those that add to the residual stream smaller by the root of
    twice the layers, so that logits have about unit variance. Raises UnsupportedError for an unknown size, and
    for a type whose blocks the rows are not made of.
    """
    if size_name not in SIZES:
        raise UnsupportedError(f"size {size_name!r}", SIZES)
    size = SIZES[size_name]
    widths = {size.dim, size.n_ffn}
    fitting = [name for name, codec in CODECS.items() if not any(width % codec.block.n_elements for width in widths)]
    if block_name not in fitting or BLOCKS[block_name].id < 0:
        raise UnsupportedError(f"type {block_name!r} for rows of {sorted(widths)} elements", fitting)
    tensors: dict[str, tuple[Sequence[int], str, bytes | Callable[[], bytes]]] = {}
    for number, (name, shape) in enumerate(_shapes(size).items()):
        if len(shape) == 1:
            tensors[name] = (shape, "F32", np.ones(shape, "<f4").tobytes())
            continue
        adds_to_stream = name.endswith(("attn_output.weight", "ffn_down.weight"))
        deviation = 1.0 if name == "token_embd.weight" and not size.is_tied else shape[1] ** -0.5
        deviation *= (2 * size.n_layers) ** -0.5 if adds_to_stream else 1.0
        tensors[name] = (shape, block_name, partial(_matrix, shape, block_name, deviation, (seed, number)))
    gguf_writer.write(path, _metadata(size_name, size), tensors)


def _shapes(size: Size) -> dict[str, tuple[int, ...]]:
    n_kv = size.dim // size.n_heads * size.n_kv_heads
    shapes = {"token_embd.weight": (N_VOCABULARY, size.dim), "output_norm.weight": (size.dim,)}
    if not size.is_tied:
        shapes["output.weight"] = (N_VOCABULARY, size.dim)
    for layer in range(size.n_layers):
        block = {
            "attn_norm": (size.dim,),
            "attn_q": (size.dim, size.dim),
            "attn_k": (n_kv, size.dim),
            "attn_v": (n_kv, size.dim),
            "attn_output": (size.dim, size.dim),
            "ffn_norm": (size.dim,),
            "ffn_gate": (size.n_ffn, size.dim),
            "ffn_up": (size.n_ffn, size.dim),
            "ffn_down": (size.dim, size.n_ffn),
        }
        shapes |= {f"blk.{layer}.{part}.weight": shape for part, shape in block.items()}
    return shapes


def _matrix(shape: Sequence[int], block_name: str, deviation: float, seed: Sequence[int]) -> bytes:
    """The blocks of a random matrix, row after row."""
    rng = np.random.default_rng(seed)
    block = BLOCKS[block_name]
    n_group = max(block.n_elements, 32)  # plain types: a block of one element would be drawn one at a time
    n_needed = shape[0] * shape[1] // n_group
    values = rng.standard_normal((min(_N_DRAWN // n_group, n_needed), n_group), np.float32) * np.float32(deviation)
    drawn = np.frombuffer(encode(block_name, values), np.uint8).reshape(len(values), -1)
    matrix: bytes = drawn[rng.integers(0, len(drawn), n_needed)].tobytes()
    return matrix


def _metadata(size_name: str, size: Size) -> dict[str, object]:
    tokens, types = _vocabulary()
    return {
        "general.architecture": "llama",
        "general.name": f"random-llama-{size_name}",
        "llama.context_length": CONTEXT_LENGTH,
        "llama.embedding_length": size.dim,
        "llama.block_count": size.n_layers,
        "llama.feed_forward_length": size.n_ffn,
        "llama.attention.head_count": size.n_heads,
        "llama.attention.head_count_kv": size.n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": size.dim // size.n_heads,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": N_VOCABULARY,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(id) for id in range(N_VOCABULARY)],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def _vocabulary() -> tuple[list[str], list[int]]:
    """A SentencePiece vocabulary: three special tokens, the bytes, then letters and short words."""
    special = ["<unk>", "<s>", "</s>"]
    as_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    words = ("".join(letters) for n in (1, 2, 3) for letters in itertools.product(string.ascii_lowercase, repeat=n))
    pieces = ["▁", *(piece for word in words for piece in (f"▁{word}", word))]
    tokens = (special + as_bytes + pieces)[:N_VOCABULARY]
    return tokens, [2, 3, 3] + [6] * 256 + [1] * (N_VOCABULARY - 259)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output")
    parser.add_argument("--size", choices=SIZES, default="110M")
    parser.add_argument("--type", default="Q4_K", metavar="BLOCK_TYPE")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    write(arguments.output, arguments.size, arguments.type, seed=arguments.seed)


if __name__ == "__main__":
    main()
