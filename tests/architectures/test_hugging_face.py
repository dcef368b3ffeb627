"""Hugging Face folders run as they are: names, layouts, types and configurations, and what is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from oracles import architecture_fixtures, transformer
from quantize.huggingface_folders import CONFIGS
from quantize.huggingface_folders import write as write_folder
from safetensors.numpy import load_file
from tiny_decoders import relative_rms, write

from realizar_lambda.architectures.families import HUGGING_FACE
from realizar_lambda.errors import FormatError, RealizarError, UnsupportedError
from realizar_lambda.language_model import LanguageModel

EXACT = 2e-6
NAMES = [name for name, config in CONFIGS.items() if config["model_type"] in HUGGING_FACE]
SCALED = {"llama-linear", "llama-yarn", "llama-llama3"}


def folder_of(tmp_path: Path, name: str, **changes: object) -> Path:
    return write_folder(tmp_path, name, architecture_fixtures.read(name)[1], **changes)


def opened(folder: Path) -> LanguageModel:
    return LanguageModel.open(str(folder), n_threads=1)


def save(path: Path, tensors: Mapping[str, np.ndarray], dtype: str = "F32") -> None:
    """A safetensors file of one type; BF16 by cutting off the low half of each value."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = {
            "F32": lambda v: v.astype("<f4").tobytes(),
            "F16": lambda v: v.astype("<f2").tobytes(),
            "BF16": lambda v: (np.ascontiguousarray(v, "<f4").view("<u4") >> 16).astype("<u2").tobytes(),
        }[dtype](values)
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return (np.ascontiguousarray(values, "<f4").view("<u4") & 0xFFFF0000).view("<f4")
    return values.astype({"F16": "<f2", "F32": "<f4"}[dtype]).astype("<f4")


def test_every_family_has_a_folder() -> None:
    assert {CONFIGS[name]["model_type"] for name in NAMES} == set(HUGGING_FACE)
    assert set(NAMES) >= SCALED


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_gives_the_logits_of_transformers_and_of_its_gguf(tmp_path: Path, name: str) -> None:
    metadata, weights, ids, expected = architecture_fixtures.read(name)
    found = opened(folder_of(tmp_path, name)).logits(ids)
    assert relative_rms(found, expected) < EXACT
    gguf = LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights), n_threads=1)
    assert relative_rms(found, np.asarray(gguf.logits(ids))) < EXACT


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("name", NAMES)
def test_all_tensors_may_be_of_any_plain_type(tmp_path: Path, name: str, dtype: str) -> None:
    metadata, weights, ids, _ = architecture_fixtures.read(name)
    folder = folder_of(tmp_path, name)
    save(folder / "model.safetensors", load_file(folder / "model.safetensors"), dtype)
    stored = {key: w if key.startswith("rope_f") else rounded(w, dtype) for key, w in weights.items()}
    model = opened(folder)
    assert {tensor.block.name for tensor in model.tensors.values()} == {dtype}
    assert relative_rms(model.logits(ids), transformer.logits(metadata, stored, ids)) < EXACT


def sharded(folder: Path, n_shards: int) -> None:
    """model.safetensors in several files with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number in range(n_shards):
        shard = f"model-{number + 1:05}-of-{n_shards:05}.safetensors"
        own = names[number::n_shards]
        save(folder / shard, {name: tensors[name] for name in own})
        weight_map |= dict.fromkeys(own, shard)
    index = {"metadata": {"total_size": sum(w.nbytes for w in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_model_in_shards_gives_the_same_bits(tmp_path: Path, name: str) -> None:
    ids = architecture_fixtures.read(name)[2]
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = opened(folder_of(tmp_path / "whole", name))
    folder = folder_of(tmp_path / "parts", name)
    sharded(folder, 3)
    assert bytes(opened(folder).logits(ids)) == bytes(whole.logits(ids))


def test_gpt2_may_have_a_prefix_an_output_of_its_own_and_the_mask_of_old_checkpoints(tmp_path: Path) -> None:
    *_, ids, expected = architecture_fixtures.read("gpt2")
    folder = folder_of(tmp_path, "gpt2")
    plain = load_file(folder / "model.safetensors")
    tensors = {f"transformer.{name}": w for name, w in plain.items()} | {"lm_head.weight": plain["wte.weight"]}
    tensors |= {f"transformer.h.{i}.attn.bias": np.tril(np.ones((1, 1, 64, 64), "f4")) for i in range(2)}
    tensors |= {f"transformer.h.{i}.attn.masked_bias": np.full((1,), -1e4, "f4") for i in range(2)}
    save(folder / "model.safetensors", tensors)
    assert relative_rms(opened(folder).logits(ids), expected) < EXACT


@pytest.mark.parametrize("is_tied", [True, False])
def test_an_output_matrix_counts_unless_it_is_tied(tmp_path: Path, is_tied: bool) -> None:
    metadata, weights, ids, _ = architecture_fixtures.read("llama")
    folder = folder_of(tmp_path, "llama", tie_word_embeddings=is_tied)
    counted = {key: w for key, w in weights.items() if not is_tied or key != "output.weight"}
    assert relative_rms(opened(folder).logits(ids), transformer.logits(metadata, counted, ids)) < EXACT


def test_stories260k_is_the_same_from_its_folder_as_from_gguf(data_dir: Path) -> None:
    derived = data_dir / "models" / "stories260K" / "derived"
    ids = json.loads((derived / "stories260K.reference.json").read_text())["cases"][2]["all_ids"][:64]
    from_folder, from_gguf = (opened(derived / name).logits(ids) for name in ("hf", "stories260K-f32.gguf"))
    assert relative_rms(from_folder, np.asarray(from_gguf)) < EXACT
    np.testing.assert_array_equal(np.asarray(from_folder).argmax(axis=1), np.asarray(from_gguf).argmax(axis=1))


def test_dynamic_scaling_is_that_of_the_sequences_length(tmp_path: Path) -> None:
    """Within max_position_embeddings transformers leaves the base alone; a longer sequence of n stretches it by
    factor * n / length - (factor - 1)."""
    metadata, weights, ids, _ = architecture_fixtures.read("llama")
    scaling = {"rope_type": "dynamic", "factor": 3.0}
    model = opened(folder_of(tmp_path, "llama", rope_scaling=scaling, max_position_embeddings=16))
    assert model.config.context_length == 48
    for n in (16, 24):
        stretch = max(3.0 * n / 16 - 2.0, 1.0)
        expected = metadata | {"llama.rope.freq_base": 10000.0 * stretch ** (8 / 6)}
        assert relative_rms(model.logits(ids[:n]), transformer.logits(expected, weights, ids[:n])) < EXACT


@pytest.mark.parametrize("attention_factor", [1.0, 1.3])
def test_yarn_raises_scores_by_the_factor_that_the_configuration_gives(tmp_path: Path, attention_factor: float) -> None:
    metadata, weights, ids, _ = architecture_fixtures.read("llama-yarn")
    scaling = CONFIGS["llama-yarn"]["rope_scaling"] | {"attention_factor": attention_factor, "beta_fast": 8}
    model = opened(folder_of(tmp_path, "llama-yarn", rope_scaling=scaling))
    keys = {"rope.scaling.attn_factor": attention_factor / (1 + 0.1 * np.log(4.0)), "rope.scaling.yarn_beta_fast": 8.0}
    expected = metadata | {f"llama.{key}": value for key, value in keys.items()}
    assert relative_rms(model.logits(ids), transformer.logits(expected, weights, ids)) < EXACT


WINDOWS = [
    # changes to the configuration of qwen2, the window
    ({}, 0),
    ({"use_sliding_window": False, "sliding_window": 5}, 0),
    ({"use_sliding_window": True, "sliding_window": 5}, 5),
    ({"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0}, 5),
    ({"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}, 0),
    ({"use_sliding_window": True, "sliding_window": None}, 0),
    ({"use_sliding_window": True, "sliding_window": 5, "layer_types": ["sliding_attention"] * 2}, 5),
    ({"use_sliding_window": True, "sliding_window": 5, "layer_types": ["full_attention"] * 2}, 0),
]


@pytest.mark.parametrize(("changes", "window"), WINDOWS)
def test_a_window_is_used_where_the_configuration_says_so(
    tmp_path: Path, changes: dict[str, object], window: int
) -> None:
    metadata, weights, ids, _ = architecture_fixtures.read("qwen2")
    model = opened(folder_of(tmp_path, "qwen2", **changes))
    expected = transformer.logits(metadata | {"qwen2.attention.sliding_window": window}, weights, ids)
    assert model.config.window == window
    assert relative_rms(model.logits(ids), expected) < EXACT


UNSUPPORTED = [
    # name, changes to config.json, part of the message
    ("llama", {"model_type": "mamba"}, "model_type 'mamba' in safetensors"),
    ("llama", {"model_type": 7}, "model_type 7"),
    ("llama", {"model_type": ["llama"]}, "model_type"),
    ("llama", {"model_type": None}, "model_type None"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act 'gelu'"),
    ("llama", {"rope_scaling": {"type": "su"}}, "rope_scaling of type 'su'"),
    ("llama", {"rope_scaling": {"type": {"a": 1}, "factor": 2.0}}, "must be an object of plain values"),
    ("llama", {"rope_scaling": "linear"}, "rope_scaling is 'linear', must be an object"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 0.0}}, "scaling factor is 0.0"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": "4"}}, "factor is '4', must be a number"),
    ("llama", {"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "must be an object of plain values"),
    ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": 0}}, "YaRN's bounds"),
    ("llama", {"rope_scaling": {"type": "llama3", "factor": 2.0, "low_freq_factor": 4}}, "must rise"),
    ("llama", {"rope_theta": 1}, "rotary base is 1.0"),
    ("llama", {"rope_theta": -1e4}, "rope_theta is -10000.0"),
    ("llama", {"rope_theta": 10**400}, "must be a number"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    ("llama", {"num_attention_heads": 0}, "n_heads is 0"),
    ("llama", {"num_attention_heads": 3}, "3 heads share 2"),
    ("llama", {"num_attention_heads": True}, "n_heads is True"),
    ("llama", {"num_attention_heads": 4.0}, "n_heads is 4.0"),
    ("llama", {"num_key_value_heads": 4}, "k_proj.weight' is F16 of shape (16, 32), must be of shape (32, 32)"),
    ("llama", {"num_hidden_layers": 3}, "no tensor 'model.layers.2.input_layernorm.weight', which llama needs"),
    ("llama", {"num_hidden_layers": 1}, "tensor 'model.layers.1."),
    ("llama", {"num_hidden_layers": 10**9}, "n_layers is 1000000000, must be an integer from 1 to 1024"),
    ("llama", {"hidden_size": 64}, "must be of shape (64, 64)"),
    ("llama", {"vocab_size": 65}, "embed_tokens.weight' is F16 of shape (64, 32), must be of shape (65, 32)"),
    ("llama", {"vocab_size": 2**31}, "n_vocab is 2147483648"),
    ("llama", {"max_position_embeddings": 0}, "context_length is 0"),
    ("llama", {"max_position_embeddings": 2**40}, "context_length is 1099511627776"),
    ("llama", {"rms_norm_eps": -1.0}, "norm_epsilon is -1.0"),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}, "some layers only"),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": "1"}, "some layers only"),
    ("qwen2", {"use_sliding_window": True, "layer_types": ["full_attention", "sliding_attention"]}, "some layers"),
    ("gpt2", {"activation_function": "relu"}, "activation_function 'relu'"),
    ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights False"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True"),
    ("gpt2", {"n_positions": 65}, "wpe.weight"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "message"), UNSUPPORTED)
def test_a_configuration_that_we_would_answer_wrongly_is_refused_by_name(
    tmp_path: Path, name: str, changes: dict[str, object], message: str
) -> None:
    folder = folder_of(tmp_path, name, **changes)
    with pytest.raises((FormatError, UnsupportedError)) as refused:
        opened(folder)
    assert message in str(refused.value)
    assert len(str(refused.value).replace(str(folder), "")) < 400


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "llama")
    (folder / "config.json").unlink()
    with pytest.raises(FormatError, match=r"no config\.json beside"):
        opened(folder)


@pytest.mark.parametrize("dtype", ["I64", "U8", "F64", "F8_E4M3"])
def test_a_matrix_of_a_type_that_is_not_multiplied_is_refused(tmp_path: Path, dtype: str) -> None:
    for name, tensor in (("llama", "model.layers.0.mlp.up_proj.weight"), ("gpt2", "h.0.mlp.c_fc.weight")):
        folder = folder_of(tmp_path, name)
        path = folder / "model.safetensors"
        raw = path.read_bytes()
        (n,) = struct.unpack_from("<Q", raw)
        header = json.loads(raw[8 : 8 + n])
        size = {"I64": 8, "U8": 1, "F64": 8, "F8_E4M3": 1}[dtype]
        shape = header[tensor]["shape"]
        end = max(entry["data_offsets"][1] for entry in header.values())
        header[tensor] |= {"dtype": dtype, "data_offsets": [end, end + size * shape[0] * shape[1]]}
        data = raw[8 + n :] + bytes(size * shape[0] * shape[1])
        old = sorted((entry["data_offsets"], key) for key, entry in header.items())
        begin, packed = 0, b""
        for offsets, key in old:  # the format allows no holes
            packed += data[offsets[0] : offsets[1]]
            header[key]["data_offsets"] = [begin, begin + offsets[1] - offsets[0]]
            begin = header[key]["data_offsets"][1]
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + packed)
        with pytest.raises(RealizarError, match=dtype):
            opened(folder)
