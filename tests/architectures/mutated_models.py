"""Runs mutants of tiny models and says what became of them: a process of its own, since a fault would end it.

    python mutated_models.py FOLDER N_EXAMPLES

Each mutant has some keys and tensors changed, is opened, and reads a prompt and a token more. What is not answered
must be refused with an error of the package. Prints `answered refused peak_kilobytes`.
"""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_decoders import ARCHITECTURES, make

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import RealizarError
from realizar_lambda.formats import gguf_writer
from realizar_lambda.language_model import LanguageModel
from realizar_lambda.quantize import encode

MODELS = {architecture: make(architecture, context=40, has_biases=True) for architecture in ARCHITECTURES}
KEYS = (
    "block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size", "expert_count",
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "attention.sliding_window",
    "attention.max_alibi_bias", "attention.clamp_kqv", "attention.scale", "attention.causal",
    "attn_logit_softcapping", "final_logit_softcapping", "rope.dimension_count", "rope.freq_base",
    "rope.scale_linear", "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length",
    "rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
)  # fmt: skip
COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 64, 255, 256, 1024, 1 << 16, 1 << 21, (1 << 31) - 1, (1 << 32) - 1]
NUMBERS = [0.0, -0.0, 1e-45, 1e-6, 0.5, 1.0, 4.0, 8.0, 1e3, 1e12, 3.4e38, -1.0, math.inf, -math.inf, math.nan]
KINDS = ["none", "linear", "ntk", "dynamic", "yarn", "llama3", "longrope", "su", ""]
VALUES = st.one_of(
    st.none(), st.sampled_from(COUNTS), st.sampled_from(NUMBERS), st.booleans(), st.sampled_from(KINDS),
    st.lists(st.integers(0, 64), min_size=1, max_size=3),
)  # fmt: skip
BLOCK_NAMES = [name for name, block in BLOCKS.items() if block.id >= 0]
SIZES = st.sampled_from([1, 2, 7, 8, 16, 31, 32, 33, 50, 64, 96, 128, 256])

edits_of_keys = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=3)
edits_of_tensors = st.lists(
    st.one_of(
        st.tuples(st.just("drop"), st.integers(0, 99), st.none()),
        st.tuples(st.just("reshape"), st.integers(0, 99), st.lists(SIZES, max_size=3)),
        st.tuples(st.just("store"), st.integers(0, 99), st.sampled_from(BLOCK_NAMES)),
        st.tuples(st.just("swap"), st.integers(0, 99), st.integers(0, 99)),
        st.tuples(st.just("fill"), st.integers(0, 99), st.sampled_from(NUMBERS)),
        st.tuples(st.just("add"), st.sampled_from(["rope_freqs.weight", "rope_factors_long.weight", "x"]), SIZES),
    ),
    max_size=3,
)


def stored(values: np.ndarray, block: str) -> tuple[tuple[int, ...], str, bytes]:
    """The tensor in another type where its rows allow it; types that nothing encodes get bytes of 1."""
    columns = values.shape[-1] if values.ndim else 1
    if columns % BLOCKS[block].n_elements:
        block = "F32"
    try:
        with np.errstate(all="ignore"):
            return values.shape, block, encode(block, values)
    except RealizarError:
        return values.shape, block, b"\1" * BLOCKS[block].row_bytes(values.size)


def mutant(architecture: str, keys: list, tensors: list) -> tuple[dict, dict]:
    metadata, weights = (dict(part) for part in MODELS[architecture])
    blocks: dict[str, str] = {}
    for key, value in keys:
        name = f"{architecture}.{key}"
        metadata.pop(name, None)
        if value is not None:
            metadata[name] = value
    for kind, which, value in tensors:
        names = list(weights)
        name = names[which % len(names)] if isinstance(which, int) else which
        if kind == "drop":
            del weights[name]
        elif kind == "reshape":
            weights[name] = np.resize(weights[name], tuple(value)).astype("f4")
        elif kind == "store":
            blocks[name] = value
        elif kind == "swap":
            other = names[value % len(names)]
            weights[name], weights[other] = weights[other], weights[name]
        elif kind == "fill":
            weights[name] = np.full_like(weights[name], value)
        else:
            weights[name] = np.ones(value, "f4")
    return metadata, {name: stored(w, blocks.get(name, "F32")) for name, w in weights.items()}


def main(folder: Path, n_examples: int) -> None:
    counts = {"answered": 0, "refused": 0}
    lengths = []
    path = str(folder / "mutant.gguf")

    @settings(max_examples=n_examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        st.sampled_from(ARCHITECTURES), edits_of_keys, edits_of_tensors,
        st.lists(st.integers(0, 49), min_size=1, max_size=9), st.integers(1, 2),
    )  # fmt: skip
    def run(architecture: str, keys: list, tensors: list, ids: list[int], n_threads: int) -> None:
        try:
            gguf_writer.write(path, *mutant(architecture, keys, tensors))
            model = LanguageModel.open(path, n_threads=n_threads)
            model.logits(ids)
            context = model.context()
            context.evaluate(ids)
            context.evaluate(ids[:1])
            counts["answered"] += 1
        except RealizarError as refused:
            counts["refused"] += 1
            lengths.append(len(str(refused)))

    run()
    assert max(lengths) < 600
    print(*counts.values(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
