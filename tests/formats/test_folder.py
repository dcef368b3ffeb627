from __future__ import annotations

import json
from pathlib import Path

import pytest

from realizar_lambda.errors import FormatError
from realizar_lambda.formats import apr_v2, open_model, safetensors
from realizar_lambda.formats.folder import INDEX_NAME

A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def put_shards(folder: Path, *, total_size: object = 3, **weight_map: object) -> Path:
    safetensors.write(folder / A, {"a": ((1,), "U8", b"1")}, {"format": "pt"})
    safetensors.write(folder / B, {"b": ((1,), "U8", b"2"), "c": ((1,), "I8", b"3")}, {})
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map or {"a": A, "b": B, "c": B}}
    (folder / INDEX_NAME).write_text(json.dumps(index))
    return folder / INDEX_NAME


@pytest.mark.parametrize("by_folder", [True, False])
def test_shards_open_as_one_model(tmp_path: Path, by_folder: bool) -> None:
    index = put_shards(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    model = open_model(tmp_path if by_folder else index)
    assert model.format == "safetensors"
    assert {name: tensor.data.tobytes() for name, tensor in model.tensors.items()} == {"a": b"1", "b": b"2", "c": b"3"}
    assert model.metadata == {"format": "pt", "config": {"model_type": "llama"}}
    assert model.checks == {"shards": "2, total size ok"}
    assert model.n_bytes == (tmp_path / A).stat().st_size + (tmp_path / B).stat().st_size


def test_a_wrong_total_size_is_said(tmp_path: Path) -> None:
    assert "3 bytes of tensors, 9 declared" in open_model(put_shards(tmp_path, total_size=9)).checks["shards"]


def test_a_tensor_that_its_shard_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="'b', which the index maps here"):
        open_model(put_shards(tmp_path, a=A, b=A))


@pytest.mark.parametrize("shard", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin", 3, "\0.safetensors"])
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, shard: object) -> None:
    with pytest.raises(FormatError, match="not to a safetensors file"):
        open_model(put_shards(tmp_path, a=shard))


def test_a_missing_shard_is_the_systems_error(tmp_path: Path) -> None:
    index = put_shards(tmp_path)
    (tmp_path / B).unlink()
    with pytest.raises(FileNotFoundError):
        open_model(index)


@pytest.mark.parametrize("text", ["{}", "[]", '{"weight_map": {}}', '{"weight_map": []}', "nothing"])
def test_an_index_without_a_weight_map_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX_NAME).write_text(text)
    with pytest.raises(FormatError):
        open_model(tmp_path)


def test_a_config_beside_a_single_file_is_read(tmp_path: Path) -> None:
    safetensors.write(tmp_path / "model.safetensors", {}, {})
    (tmp_path / "config.json").write_text('{"hidden_size": 64}')
    assert open_model(tmp_path).metadata == {"config": {"hidden_size": 64}}


def test_a_broken_config_is_refused_under_its_own_name(tmp_path: Path) -> None:
    safetensors.write(tmp_path / "model.safetensors", {}, {})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config\.json, byte 1"):
        open_model(tmp_path)


def test_a_folders_only_model_file_is_opened(tmp_path: Path) -> None:
    apr_v2.write(tmp_path / "iris.apr", {}, {"name": "iris"})
    (tmp_path / "README.md").write_text("a model")
    assert open_model(tmp_path).metadata == {"name": "iris"}


def test_a_folder_without_one_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no model file"):
        open_model(tmp_path)
    for name in ("a.apr", "b.apr"):
        apr_v2.write(tmp_path / name, {}, {})
    with pytest.raises(FormatError, match=r"2 model files \(a.apr, b.apr"):
        open_model(tmp_path)


def test_the_real_hugging_face_folder_is_opened(data_dir: Path) -> None:
    model = open_model(data_dir / "models" / "stories260K" / "derived" / "hf")
    assert model.format == "safetensors"
    assert model.metadata["config"]["hidden_size"] == 64
    assert model.tensors["model.embed_tokens.weight"].shape == (512, 64)
