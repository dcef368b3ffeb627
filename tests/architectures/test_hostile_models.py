"""Model files that lie: every one is refused when it is opened, by name, and none costs more than its size."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_decoders import make, write

from realizar_lambda import native
from realizar_lambda.architectures.config import from_gguf
from realizar_lambda.errors import CapacityError, FormatError, UnsupportedError
from realizar_lambda.formats import open_model
from realizar_lambda.language_model import LanguageModel

TESTS = Path(__file__).resolve().parent.parent


def drop(name: str) -> Callable[[dict, dict], None]:
    return lambda metadata, weights: weights.pop(name)


def shape(name: str, *sizes: int) -> Callable[[dict, dict], None]:
    return lambda metadata, weights: weights.update({name: np.resize(weights[name], sizes).astype("f4")})


def key(name: str, value: object) -> Callable[[dict, dict], None]:
    def change(metadata: dict, weights: dict) -> None:
        metadata[f"{metadata['general.architecture']}.{name}"] = value

    return change


def both(*changes: Callable[[dict, dict], None]) -> Callable[[dict, dict], None]:
    def change(metadata: dict, weights: dict) -> None:
        for one in changes:
            one(metadata, weights)

    return change


def add(name: str, *sizes: int) -> Callable[[dict, dict], None]:
    return lambda metadata, weights: weights.update({name: np.ones(sizes, "f4")})


def without(name: str) -> Callable[[dict, dict], None]:
    return lambda metadata, weights: metadata.pop(f"{metadata['general.architecture']}.{name}")


TENSORS = [
    # architecture, change, part of the message
    ("llama", drop("token_embd.weight"), "no tensor 'token_embd.weight' of two dimensions"),
    ("llama", drop("output_norm.weight"), "no tensor 'output_norm.weight', which llama needs"),
    ("llama", drop("blk.1.attn_k.weight"), "no tensor 'blk.1.attn_k.weight'"),
    ("llama", drop("blk.0.ffn_gate.weight"), "no tensor 'blk.0.ffn_gate.weight'"),
    ("gemma2", drop("blk.0.post_ffw_norm.weight"), "no tensor 'blk.0.post_ffw_norm.weight'"),
    ("gpt2", drop("position_embd.weight"), "no tensor 'position_embd.weight'"),
    ("bloom", drop("token_embd_norm.weight"), "no tensor 'token_embd_norm.weight'"),
    ("llama", both(shape("token_embd.weight", 1600), without("embedding_length")), "embedding_length is None"),
    ("llama", shape("token_embd.weight", 50, 33), "token_embd.weight"),
    ("llama", shape("token_embd.weight", 49, 32), "vocab_size is 50, must be 49, the embedding's rows"),
    ("llama", both(shape("token_embd.weight", 49, 32), without("vocab_size")),
     "output.weight' is F32 of shape (50, 32), must be of shape (49, 32)"),
    ("llama", shape("output.weight", 51, 32), "must be of shape (50, 32)"),
    ("llama", shape("output.weight", 50, 31), "must be of shape (50, 32)"),
    ("llama", shape("output_norm.weight", 31), "must be F32, F16 or BF16 of shape (32,)"),
    ("llama", shape("output_norm.weight", 1, 32), "shape (1, 32), must be F32, F16 or BF16 of shape (32,)"),
    ("llama", shape("blk.0.attn_q.weight", 1024), "shape (1024,), must be of shape (32, 32)"),
    ("llama", shape("blk.0.attn_q.weight"), "shape (), must be of shape (32, 32)"),
    ("llama", shape("blk.0.attn_q.weight", 32, 1, 32), "shape (32, 1, 32)"),
    ("llama", shape("blk.0.attn_k.weight", 64, 32), "shape (64, 32), must be of shape (32, 32)"),
    ("llama", shape("blk.0.attn_v.weight", 64, 32), "shape (64, 32), must be of shape (32, 32)"),
    ("llama", shape("blk.0.attn_v.weight", 16, 32), "shape (16, 32), must be of shape (32, 32)"),
    ("llama", shape("blk.0.attn_output.weight", 33, 32), "must be of shape (32, 32)"),
    ("llama", shape("blk.0.ffn_down.weight", 32, 63), "must be of shape (32, 64)"),
    ("llama", shape("blk.0.ffn_up.weight", 63, 32), "shape (63, 32), must be of shape (64, 32)"),
    ("llama", shape("blk.1.ffn_norm.weight", 64), "must be F32, F16 or BF16 of shape (32,)"),
    ("llama", add("blk.0.attn_q.bias", 31), "must be F32, F16 or BF16 of shape (32,)"),
    ("qwen3", shape("blk.0.attn_q_norm.weight", 32), "must be F32, F16 or BF16 of shape (8,)"),
    ("phi3", shape("blk.0.attn_qkv.weight", 97, 32), "shape (97, 32), must be of shape (96, 32)"),
    ("phi3", shape("blk.0.attn_qkv.weight"), "shape (), must be"),
    ("phi3", shape("blk.0.ffn_up.weight", 127, 32), "shape (127, 32), must be of shape (126, 32)"),
    ("phi3", shape("blk.0.ffn_up.weight", 1, 32), "must be of shape (0, 32)"),
    ("phi3", shape("blk.0.ffn_up.weight"), "shape (), must be a matrix"),
    ("gpt2", add("blk.0.attn_qkv.bias", 95), "must be F32, F16 or BF16 of shape (96,)"),
    ("gpt2", shape("position_embd.weight", 95, 32), "must be (96 or more, 32)"),
    ("gpt2", shape("position_embd.weight", 96, 33), "must be (96 or more, 32)"),
    ("gpt2", shape("position_embd.weight"), "must be (96 or more, 32)"),
    ("llama", add("blk.0.ffn_gate_inp.weight", 8, 32), "tensor 'blk.0.ffn_gate_inp.weight' of shape (8, 32)"),
    ("llama", add("blk.0.attn_sub_norm.weight", 32), "tensor 'blk.0.attn_sub_norm.weight'"),
    ("gemma", add("blk.0.post_ffw_norm.weight", 32), "tensor 'blk.0.post_ffw_norm.weight'"),
    ("mpt", add("blk.0.attn_q_norm.weight", 32), "tensor 'blk.0.attn_q_norm.weight'"),
]  # fmt: skip


@pytest.mark.parametrize(("architecture", "change", "message"), TENSORS, ids=[row[2] for row in TENSORS])
def test_tensors_that_the_equations_do_not_fit_are_refused_by_name(
    tmp_path: Path, architecture: str, change: Callable[[dict, dict], None], message: str
) -> None:
    metadata, weights = make(architecture)
    change(metadata, weights)
    path = write(tmp_path / "m.gguf", metadata, weights)
    with pytest.raises((FormatError, UnsupportedError)) as refused:
        LanguageModel.open(path, n_threads=1)
    assert message in str(refused.value)


STORED = [
    # the tensor, its type, part of the message
    ("output_norm.weight", "Q8_0", "is Q8_0 of shape (32,), must be F32, F16 or BF16"),
    ("blk.0.attn_norm.weight", "Q4_0", "is Q4_0 of shape (32,), must be F32, F16 or BF16"),
]


@pytest.mark.parametrize(("name", "block", "message"), STORED)
def test_a_vector_that_is_quantised_is_refused(tmp_path: Path, name: str, block: str, message: str) -> None:
    path = write(tmp_path / "m.gguf", *make("llama"), blocks={name: block})
    with pytest.raises(FormatError) as refused:
        LanguageModel.open(path, n_threads=1)
    assert message in str(refused.value)


METADATA = [
    ("llama", key("attention.head_count", 0), "attention.head_count"),
    ("llama", key("attention.head_count", 3), "3 attention heads cannot share 4"),
    ("llama", both(key("attention.head_count", 8192), key("attention.head_count_kv", 1)),
     "attention.head_count is 8192, must be an integer from 1 to 4096"),
    ("llama", key("attention.head_count", 2.0), "attention.head_count"),
    ("llama", key("attention.head_count", [4, 4]), "attention.head_count"),
    ("llama", key("attention.head_count_kv", 0), "attention.head_count_kv"),
    ("llama", key("attention.head_count_kv", 3), "4 attention heads cannot share 3"),
    ("llama", key("attention.head_count_kv", 2), "must be of shape (16, 32)"),
    ("llama", key("attention.key_length", 16), "value heads of another width"),
    ("llama", both(key("attention.key_length", 2048), key("attention.value_length", 2048)), "2048 wide, at most 1024"),
    ("llama", key("embedding_length", 64), "embedding_length"),
    ("llama", key("block_count", 0), "block_count"),
    ("llama", key("block_count", 1), "is beyond llama.block_count, 1"),
    ("llama", key("block_count", 3), "no tensor 'blk.2.attn_norm.weight'"),
    ("llama", key("block_count", 1 << 20), "block_count is 1048576"),
    ("llama", key("context_length", 0), "context_length"),
    ("llama", key("context_length", 1 << 31), "context_length"),
    ("llama", key("context_length", (1 << 21) + 1), "context_length is 2097153, must be an integer from 1 to 2097152"),
    ("llama", key("vocab_size", 51), "vocab_size is 51, must be 50"),
    ("llama", key("rope.dimension_count", 7), "rotating 7 values"),
    ("llama", key("rope.dimension_count", 10), "10 values of a head are rotated, it has 8"),
    ("llama", key("rope.freq_base", 0.0), "rotary base is 0.0"),
    ("llama", key("rope.freq_base", 1.0), "rotary base is 1.0, must be greater than 1"),
    ("llama", key("rope.freq_base", float("nan")), "rope.freq_base is nan, must be a number from 0"),
    ("llama", key("rope.freq_base", float("inf")), "rope.freq_base is inf"),
    ("llama", key("rope.freq_base", "10000"), "rope.freq_base is '10000'"),
    ("llama", key("rope.scaling.type", "su"), "rotary scaling 'su'"),
    ("llama", key("rope.scaling.type", 1), "rope.scaling.type is 1, must be text"),
    ("llama", key("rope.scaling.factor", 0.0), "scaling factor is 0.0"),
    ("llama", key("rope.scaling.factor", -1.0), "rope.scaling.factor is -1.0"),
    ("llama", both(key("rope.scaling.type", "yarn"), key("rope.scaling.yarn_beta_fast", 0.0)), "YaRN's bounds are 0.0"),
    ("llama", key("rope.scaling.original_context_length", 0), "rope.scaling.original_context_length is 0"),
    ("llama", key("attention.layer_norm_rms_epsilon", -1e-5), "layer_norm_rms_epsilon is -"),
    ("llama", key("attention.layer_norm_rms_epsilon", 2.0), "must be a number from 0 to 1"),
    ("llama", key("attention.sliding_window", -1), "attention.sliding_window is -1"),
    ("llama", key("attention.scale", float("inf")), "attention.scale is inf"),
    ("llama", key("attention.causal", False), "attention that is not causal"),
    ("llama", key("expert_count", 8), "a mixture of experts"),
    ("gemma2", key("attn_logit_softcapping", -1.0), "attn_logit_softcapping is -1.0"),
    ("gemma2", key("final_logit_softcapping", float("nan")), "final_logit_softcapping is nan"),
    ("mpt", key("attention.max_alibi_bias", -8.0), "max_alibi_bias is -8.0"),
    ("mpt", key("attention.max_alibi_bias", 1e9), "must be a number from 0 to 64"),
    ("mpt", key("attention.clamp_kqv", -1.0), "clamp_kqv is -1.0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "change", "message"), METADATA, ids=[f"{i}-{row[2]}" for i, row in enumerate(METADATA)]
)
def test_numbers_that_make_no_model_are_refused_by_key(
    tmp_path: Path, architecture: str, change: Callable[[dict, dict], None], message: str
) -> None:
    metadata, weights = make(architecture)
    change(metadata, weights)
    with pytest.raises((FormatError, UnsupportedError)) as refused:
        LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1)
    assert message in str(refused.value)


@pytest.mark.parametrize("value", ["mamba", "clip", "", 3, 1.5, True, [1, 2], ["llama"]])
def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path, value: object) -> None:
    metadata, weights = make("llama")
    path = write(tmp_path / "m.gguf", metadata | {"general.architecture": value}, weights)
    with pytest.raises(UnsupportedError, match="supported: bloom, gemma, gemma2, gpt2, llama"):
        LanguageModel.open(path, n_threads=1)


def test_a_file_without_an_architecture_or_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="architecture None"):
        LanguageModel.open(write(tmp_path / "m.gguf", {}, {}), n_threads=1)
    with pytest.raises(FormatError, match="this file holds no language model"):
        LanguageModel.open(write(tmp_path / "m.gguf", make("llama")[0], {}), n_threads=1)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = Path(write(tmp_path / "m.gguf", *make("llama"))).read_bytes()
    for n in (len(whole) - 40, len(whole) // 2, 100, 10):
        (tmp_path / "cut.gguf").write_bytes(whole[:n])
        with pytest.raises(FormatError):
            LanguageModel.open(str(tmp_path / "cut.gguf"), n_threads=1)


def test_a_matrix_of_plain_integers_is_refused(tmp_path: Path) -> None:
    from realizar_lambda.formats import gguf_writer

    metadata, weights = make("llama")
    for block, size in (("I8", 1), ("I16", 2), ("I32", 4), ("I64", 8), ("F64", 8)):
        for name in ("token_embd.weight", "blk.0.attn_v.weight", "output.weight"):
            tensors = {key: (w.shape, "F32", w.tobytes()) for key, w in weights.items()}
            n_elements = weights[name].size
            tensors[name] = (weights[name].shape, block, bytes(n_elements * size))
            gguf_writer.write(tmp_path / "m.gguf", metadata, tensors)
            with pytest.raises(UnsupportedError, match=f"{name}' of type {block} in a matmul"):
                LanguageModel.open(str(tmp_path / "m.gguf"), n_threads=1)


def test_a_declared_context_costs_nothing_until_it_is_used(tmp_path: Path) -> None:
    """2**21 positions of two layers are 2 GiB of cache: reserved where the machine has it, and not touched."""
    metadata, weights = make("llama", context=1 << 21)
    model = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1)
    before = resident_bytes()
    context = model.context(1 << 20)
    context.evaluate([1, 2, 3])
    assert context.n_cache_bytes == 1 << 29
    assert context.n_arena_bytes < 4 << 20
    assert resident_bytes() - before < 64 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_context_larger_than_the_machine_is_refused_with_its_size(tmp_path: Path) -> None:
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    n_layers = limit // (2 * 4 * 64 * 8 * (1 << 21)) + 1
    shape_of_head = {"n_heads": 64, "head_width": 8, "n_ffn": 2, "width": 2, "n_vocab": 2}
    metadata, weights = make("llama", n_layers=n_layers, context=1 << 21, **shape_of_head)
    model = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1)
    with pytest.raises(CapacityError, match=f"working memory needs [0-9]+ bytes, there are {limit}"):
        model.context()
    assert len(model.context(16).evaluate([1])) == 2
    with pytest.raises(CapacityError, match="working memory"):
        native.allocate(limit + 1)


def test_gemma_2_has_its_own_defaults_and_the_27b_its_scale(tmp_path: Path) -> None:
    metadata, weights = make("gemma2", n_layers=1, n_heads=4, head_width=8, width=48)
    for name in ("attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping"):
        del metadata[f"gemma2.{name}"]
    config = from_gguf(open_model(write(tmp_path / "m.gguf", metadata, weights)))
    assert (config.window, config.attention_cap, config.logit_cap) == (4096, 50.0, 30.0)
    assert config.query_scale == 8**-0.5
    as_27b = from_gguf(open_model(write(tmp_path / "m.gguf", metadata | {"gemma2.block_count": 46}, weights)))
    assert as_27b.query_scale == 12**-0.5
    scaled = from_gguf(open_model(write(tmp_path / "m.gguf", metadata | {"gemma2.attention.scale": 0.25}, weights)))
    assert scaled.query_scale == 0.25


def mutate(folder: Path, n_examples: int) -> tuple[int, int, int]:
    """(answered, refused, peak in KB) of a child that runs so many mutants."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    command = [sys.executable, str(Path(__file__).with_name("mutated_models.py")), str(folder), str(n_examples)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=3000)
    assert done.returncode == 0, done.stderr[-4000:]
    answered, refused, peak = map(int, done.stdout.split())
    return answered, refused, peak


def check_mutants(folder: Path, n_examples: int) -> None:
    answered, refused, peak = mutate(folder, n_examples)
    assert answered > n_examples // 10
    assert refused > n_examples // 10
    assert peak < 1 << 20


def test_mutants_are_answered_or_refused_and_never_crash(tmp_path: Path) -> None:
    check_mutants(tmp_path, 200)


@pytest.mark.slow
def test_many_mutants_are_answered_or_refused_and_never_crash(tmp_path: Path) -> None:
    check_mutants(tmp_path, 10_000)
