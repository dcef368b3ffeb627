"""Hugging Face folders become the GGUF that the fixtures are: every name, every row, every key."""

from __future__ import annotations

import json

import numpy as np
import pytest
from oracles import architecture_fixtures, gguf_model, transformer
from quantize.huggingface_folders import CONFIGS, write
from safetensors.numpy import load_file, save_file

from realizar_lambda import cli
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats import open_model
from realizar_lambda.quantize.huggingface import FAMILIES, from_huggingface


def quantised(folder, output, type_name="F32"):
    assert cli.main(["quantize", str(folder), str(output), "--type", type_name]) == cli.OK
    return gguf_model.read(output)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_becomes_the_gguf_of_the_fixture(name, tmp_path):
    expected_metadata, expected_weights, token_ids, expected_logits = architecture_fixtures.read(name)
    metadata, weights = quantised(write(tmp_path, name, expected_weights), tmp_path / "out.gguf")
    assert weights.keys() == expected_weights.keys()
    for key, w in expected_weights.items():
        np.testing.assert_allclose(weights[key], w, rtol=2e-7, err_msg=key)
    for key, value in expected_metadata.items():
        assert metadata[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key
    assert metadata["general.file_type"] == 0
    np.testing.assert_allclose(transformer.logits(metadata, weights, token_ids), expected_logits, atol=2e-5)


def test_there_is_a_folder_for_every_family():
    assert {config["model_type"] for config in CONFIGS.values()} == set(FAMILIES)


def test_a_tied_output_matrix_is_not_written_twice(tmp_path):
    weights = architecture_fixtures.read("llama")[1]
    folder = write(tmp_path, "llama", weights, tie_word_embeddings=True)
    assert "output.weight" not in quantised(folder, tmp_path / "out.gguf")[1]


def test_biases_of_q_and_k_move_with_their_rows(tmp_path):
    weights = architecture_fixtures.read("llama")[1]
    bias = np.arange(32, dtype=np.float32)
    weights["blk.0.attn_q.bias"] = bias
    folder = write(tmp_path, "llama", weights)
    turned = bias.reshape(4, -1, 2).swapaxes(1, 2).reshape(-1)
    tensors = load_file(folder / "model.safetensors")
    assert tensors["model.layers.0.self_attn.q_proj.bias"].tolist() == turned.tolist()
    np.testing.assert_array_equal(quantised(folder, tmp_path / "out.gguf")[1]["blk.0.attn_q.bias"], bias)


def test_the_real_model_gives_its_reference_logits(data_dir, tmp_path):
    folder = data_dir / "models" / "stories260K" / "derived"
    reference = json.loads((folder / "stories260K.reference.json").read_text())["cases"][0]
    expected = np.fromfile(folder / reference["logits_file"], "<f4").reshape(reference["logits_shape"])[:40]
    got = transformer.logits(*quantised(folder / "hf", tmp_path / "out.gguf"), reference["all_ids"][:40])
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model_type": "mamba"}, UnsupportedError, "model_type 'mamba' .* llama"),
        ({"num_attention_heads": 0}, FormatError, r"num_attention_heads must be an integer in \[1, 2\*\*31\), it is 0"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 8}, FormatError, "not rows for 5 heads"),
        ({"rms_norm_eps": "small"}, FormatError, "rms_norm_eps must be a finite number"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, UnsupportedError, "rope scaling 'dynamic'"),
        ({"rope_theta": -1.0}, FormatError, "rope_theta must be positive"),
        ({"rope_scaling": {"type": "llama3", "factor": 0}}, FormatError, "factor must be positive"),
        ({"rope_scaling": {"type": "llama3", "high_freq_factor": 0.5}}, FormatError, "must be below high_freq_factor"),
        ({"rope_scaling": [1]}, FormatError, "must be an object"),
        ({"rope_scaling": {"type": "longrope", "long_factor": [1.0]}}, FormatError, "long_factor must be a list of 4"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes, error, message, tmp_path):
    weights = architecture_fixtures.read("llama")[1]
    folder = write(tmp_path, "llama", weights, **changes)
    with pytest.raises(error, match=message):
        from_huggingface(open_model(folder))


def test_a_tensor_of_no_known_name_is_refused(tmp_path):
    folder = write(tmp_path, "llama", architecture_fixtures.read("llama")[1])
    save_file({"model.layers.0.mlp.router.weight": np.zeros((2, 2), np.float32)}, folder / "model.safetensors")
    with pytest.raises(UnsupportedError, match=r"tensor 'model.layers.0.mlp.router.weight' of a llama model"):
        from_huggingface(open_model(folder))


def test_an_empty_tensor_is_refused(tmp_path):
    folder = write(tmp_path, "llama", architecture_fixtures.read("llama")[1])
    save_file({"lm_head.weight": np.zeros((4, 0), np.float32)}, folder / "model.safetensors")
    with pytest.raises(FormatError, match=r"'lm_head.weight' has shape \[4, 0\]: it is empty"):
        from_huggingface(open_model(folder))


def test_safetensors_without_a_configuration_are_refused(tmp_path):
    save_file({"a.weight": np.zeros((2, 2), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedError, match=r"without a config.json"):
        from_huggingface(open_model(tmp_path / "model.safetensors"))
