"""Decoders of every shape against the float64 oracle: heads, widths, windows, biases, ties, rotated parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracles import gguf_model, transformer
from tiny_decoders import ARCHITECTURES, make, relative_rms, write

from realizar_lambda import native
from realizar_lambda.language_model import DEFAULT_CHUNK, LanguageModel

EXACT = 3e-6
CONTEXT = 96
N_TOKENS = 37  # more than a tile of two vectors of 16 tokens
IDS = np.random.default_rng(3).integers(0, 50, N_TOKENS).tolist()


def check(tmp_path: Path, library: native.Library | None, architecture: str, **shape: object) -> np.ndarray:
    """The oracle's logits, once the model's own, prefilled, in uneven chunks and token by token, are as exact."""
    metadata, weights = make(architecture, **shape)
    expected = transformer.logits(metadata, weights, IDS)
    model = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=2, library=library)
    assert relative_rms(model.logits(IDS), expected) < EXACT
    context = model.context(N_TOKENS, chunk=9)
    assert relative_rms(context.evaluate(IDS[:30]), expected[29]) < EXACT
    for position in range(30, N_TOKENS):
        assert relative_rms(context.evaluate(IDS[position : position + 1]), expected[position]) < EXACT
    return expected


HEADS = [
    # n_heads, n_kv_heads, head_width
    (1, 1, 8), (4, 1, 8), (6, 2, 8), (6, 3, 12), (5, 5, 4), (3, 1, 20), (2, 1, 64), (2, 2, 80), (1, 1, 96), (3, 3, 2),
    (2, 1, 128), (16, 16, 2), (7, 1, 6), (1, 1, 256),
]  # fmt: skip


@pytest.mark.parametrize(("n_heads", "n_kv_heads", "head_width"), HEADS)
def test_any_heads_are_as_exact(
    tmp_path: Path, library: native.Library, n_heads: int, n_kv_heads: int, head_width: int
) -> None:
    check(tmp_path, library, "llama", n_heads=n_heads, n_kv_heads=n_kv_heads, head_width=head_width)


@pytest.mark.parametrize(("n_heads", "n_kv_heads", "head_width"), HEADS[1:6])
@pytest.mark.parametrize("architecture", ["qwen3", "gemma", "phi3"])
def test_grouped_heads_are_as_exact_in_other_families(
    tmp_path: Path, architecture: str, n_heads: int, n_kv_heads: int, head_width: int
) -> None:
    check(tmp_path, None, architecture, n_heads=n_heads, n_kv_heads=n_kv_heads, head_width=head_width)


@pytest.mark.parametrize(("n_heads", "head_width"), [(1, 5), (3, 7), (2, 33), (5, 1)])
def test_heads_without_rotation_may_be_odd(
    tmp_path: Path, library: native.Library, n_heads: int, head_width: int
) -> None:
    check(tmp_path, library, "gpt2", n_heads=n_heads, head_width=head_width, width=n_heads * head_width)


@pytest.mark.parametrize("n_heads", [1, 2, 3, 5, 6, 7, 8, 12])
@pytest.mark.parametrize("architecture", ["bloom", "mpt"])
def test_alibi_slopes_are_right_for_any_number_of_heads(tmp_path: Path, architecture: str, n_heads: int) -> None:
    check(tmp_path, None, architecture, n_heads=n_heads, head_width=4, width=4 * n_heads)


def test_a_model_without_a_largest_alibi_bias_has_none(tmp_path: Path) -> None:
    metadata, weights = make("mpt", attention__max_alibi_bias=0.0)
    found = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1).logits(IDS)
    almost = transformer.logits(metadata | {"mpt.attention.max_alibi_bias": 900.0}, weights, IDS[:1])
    assert relative_rms(np.asarray(found)[:1], almost) < EXACT  # one token has no distance
    slight = write(tmp_path / "slight.gguf", metadata | {"mpt.attention.max_alibi_bias": 1.0}, weights)
    biased = LanguageModel.open(slight, n_threads=1).logits(IDS)
    assert relative_rms(found, np.asarray(biased)) > 0.01


@pytest.mark.parametrize("limit", [0.1, 1.0, 1e6])
def test_queries_keys_and_values_are_clipped_where_the_file_says_so(tmp_path: Path, limit: float) -> None:
    check(tmp_path, None, "mpt", attention__clamp_kqv=limit)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "bloom", "phi3"])
def test_biases_of_every_matrix_are_added(tmp_path: Path, library: native.Library, architecture: str) -> None:
    expected = check(tmp_path, library, architecture, has_biases=True)
    metadata, weights = make(architecture, has_biases=True)
    without = {name: w for name, w in weights.items() if not name.endswith("bias") or "norm" in name}
    assert relative_rms(transformer.logits(metadata, without, IDS), expected) > 0.05


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_tied_output_is_the_embedding(tmp_path: Path, architecture: str) -> None:
    check(tmp_path, None, architecture, is_tied=True)


@pytest.mark.parametrize(("width", "n_ffn", "n_vocab"), [(12, 7, 50), (33, 100, 51), (40, 1, 300), (8, 17, 1000)])
def test_widths_need_not_be_round(
    tmp_path: Path, library: native.Library, width: int, n_ffn: int, n_vocab: int
) -> None:
    for architecture in ("llama", "gemma2", "phi3"):
        check(tmp_path, library, architecture, width=width, n_ffn=n_ffn, n_vocab=n_vocab, head_width=6)


@pytest.mark.parametrize("window", [1, 2, 6, 16, 31, 36, 37, 1000])
def test_windows_of_any_size_are_as_exact(tmp_path: Path, library: native.Library, window: int) -> None:
    expected = check(tmp_path, library, "llama", n_heads=2, attention__sliding_window=window)
    metadata, weights = make("llama", n_heads=2)
    everything = transformer.logits(metadata, weights, IDS)
    bites = relative_rms(everything[window:], expected[window:]) > 1e-3 if window < N_TOKENS else False
    assert bites == (window < N_TOKENS)


def test_every_other_layer_of_gemma_2_looks_through_a_window(tmp_path: Path, library: native.Library) -> None:
    check(tmp_path, library, "gemma2", n_layers=3, attention__sliding_window=5, attn_logit_softcapping=3.0)


@pytest.mark.parametrize("n_rotated", [2, 4, 6])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "phi3"])
def test_a_part_of_each_head_may_be_rotated(tmp_path: Path, architecture: str, n_rotated: int) -> None:
    check(tmp_path, None, architecture, rope__dimension_count=n_rotated)


def test_one_layer_and_one_token_of_vocabulary_are_enough(tmp_path: Path) -> None:
    metadata, weights = make("llama", n_layers=1, n_vocab=1, context=4)
    model = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=3)
    expected = transformer.logits(metadata, weights, [0, 0, 0, 0])
    np.testing.assert_allclose(model.logits([0, 0, 0, 0]), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "block"), [("qwen3", "Q4_K"), ("gemma2", "Q6_K"), ("phi3", "Q5_K"), ("mpt", "IQ4_XS")]
)
def test_superblocks_of_256_cost_what_quantised_activations_do(
    tmp_path: Path, library: native.Library, architecture: str, block: str
) -> None:
    shape = {"width": 256, "n_heads": 4, "head_width": 64, "n_ffn": 256, "n_layers": 1, "is_tied": True}
    metadata, weights = make(architecture, **shape)
    model = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights, block=block), n_threads=2, library=library)
    expected = transformer.logits(metadata, gguf_model.read(tmp_path / "m.gguf")[1], IDS[:6])
    assert relative_rms(model.logits(IDS[:6]), expected) < 0.03
    assert relative_rms(model.context(2).evaluate(IDS[:2]), expected[1]) < 0.03


def test_a_long_prompt_in_several_chunks_behind_a_window_is_as_exact(tmp_path: Path, library: native.Library) -> None:
    ids = np.random.default_rng(5).integers(0, 50, DEFAULT_CHUNK + 90).tolist()
    metadata, weights = make("llama", n_kv_heads=2, context=400, n_layers=1, attention__sliding_window=70)
    expected = transformer.logits(metadata, weights, ids)
    model = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=2, library=library)
    assert relative_rms(model.logits(ids), expected) < EXACT
    assert relative_rms(model.context(len(ids)).evaluate(ids), expected[-1]) < EXACT


def test_no_thread_makes_activations_ready_while_another_reads_the_last_ones(tmp_path: Path) -> None:
    """A matrix of halves reads interleaved activations, a quantised one codes, in the same memory."""
    for architecture in ARCHITECTURES:
        blocks = {"attn_k.weight": "F16", "ffn_up.weight": "F16", "attn_output.weight": "F16"}
        path = write(tmp_path / "m.gguf", *make(architecture), block="Q8_0", blocks=blocks)
        program, _ = LanguageModel.open(path, n_threads=2).program(CONTEXT, 16)
        ready = [i for i, step in enumerate(program.steps) if step.op in ("quantize", "interleave")]
        assert {program.steps[i].op for i in ready} == {"quantize", "interleave"}
        assert all(program.steps[i - 1].meets and program.steps[i].meets for i in ready if i)
