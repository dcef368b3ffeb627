from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.formats import ModelFile, apr_v2, gguf_writer, open_model, safetensors
from realizar_lambda.formats.conversion import WRITERS, convert

TENSORS = {"layers.0.weight": ((2, 32), "F16", bytes(range(128))), "layers.0.bias": ((2,), "F32", b"abcdefgh")}
METADATA = {
    "architecture": "mlp",
    "name": "größe",
    "layer_sizes": [32, 2],
    "normalization": {"scale": 0.1, "mean": [0.5]},
    "labels": ["a", "b"],
    "license": None,
    "seed": -3,
    "mixed": [1, "a"],
    "none": [],
    "exact": 0.1,
}


def contents(model: ModelFile) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    return {t.name: (t.shape, t.block.name, t.data.tobytes()) for t in model.tensors.values()}


def plain(model: ModelFile) -> dict[str, object]:
    return {key: list(v) if hasattr(v, "__getitem__") and not isinstance(v, str | dict) else v
            for key, v in model.metadata.items()}  # fmt: skip


@pytest.mark.parametrize(("middle", "last"), list(permutations(WRITERS, 2)))
def test_an_mlp_survives_every_way_round(tmp_path: Path, middle: str, last: str) -> None:
    apr_v2.write(tmp_path / "first.apr", TENSORS, METADATA)
    convert(open_model(tmp_path / "first.apr"), tmp_path / f"middle{middle}")
    convert(open_model(tmp_path / f"middle{middle}"), tmp_path / f"last{last}")
    convert(open_model(tmp_path / f"last{last}"), tmp_path / "back.apr")
    back = open_model(tmp_path / "back.apr")
    assert contents(back) == contents(open_model(tmp_path / "first.apr"))
    exact = {key: value for key, value in METADATA.items() if key != "exact"}
    assert {key: back.metadata[key] for key in exact} == exact
    assert back.metadata["exact"] == pytest.approx(0.1, rel=1e-7)


@pytest.mark.parametrize("suffix", [".apr", ".safetensors", ".gguf"])
def test_a_gguf_files_metadata_come_back_with_their_types_and_order(
    data_dir: Path, tmp_path: Path, suffix: str
) -> None:
    source = open_model(data_dir / "models" / "stories260K" / "derived" / "stories260K-f32.gguf")
    convert(source, tmp_path / f"middle{suffix}")
    convert(open_model(tmp_path / f"middle{suffix}"), tmp_path / "back.gguf")
    back = open_model(tmp_path / "back.gguf")
    assert list(back.metadata) == list(source.metadata)
    assert back.metadata.types == source.metadata.types
    assert plain(back) == plain(source)
    assert contents(back) == contents(source)


def test_quantised_tensors_go_into_apr_as_they_are(data_dir: Path, tmp_path: Path) -> None:
    source = open_model(data_dir / "models" / "random-256" / "llama-Q4_K_S.gguf")
    convert(source, tmp_path / "m.apr")
    apr = open_model(tmp_path / "m.apr")
    assert contents(apr) == contents(source)
    assert apr.metadata["architecture"] == apr.metadata["model_type"] == "llama"
    assert apr.metadata["original_format"] == "gguf"
    assert apr.metadata["hidden_size"] == source.metadata["llama.embedding_length"]
    assert apr.metadata["num_layers"] == source.metadata["llama.block_count"]
    assert apr.metadata["tokenizer.vocabulary"] == list(source.metadata["tokenizer.ggml.tokens"])


def test_a_hugging_face_folder_keeps_its_names_and_its_config(data_dir: Path, tmp_path: Path) -> None:
    source = open_model(data_dir / "models" / "stories260K" / "derived" / "hf")
    for suffix in (".apr", ".gguf"):
        convert(source, tmp_path / f"m{suffix}")
        convert(open_model(tmp_path / f"m{suffix}"), tmp_path / "back.apr")
        back = open_model(tmp_path / "back.apr")
        assert contents(back) == contents(source)
        assert back.metadata["config"] == source.metadata["config"]


def test_what_a_target_cannot_hold_is_said(tmp_path: Path) -> None:
    gguf_writer.write(tmp_path / "q.gguf", {}, {"t": ((1, 32), "Q8_0", bytes(34))})
    with pytest.raises(UnsupportedError, match=r"type Q8_0 in safetensors"):
        convert(open_model(tmp_path / "q.gguf"), tmp_path / "q.safetensors")
    safetensors.write(tmp_path / "b.safetensors", {"t": ((1,), "BOOL", b"\1")}, {})
    for suffix in (".apr", ".gguf"):
        with pytest.raises(UnsupportedError, match="type BOOL"):
            convert(open_model(tmp_path / "b.safetensors"), tmp_path / f"b{suffix}")
    safetensors.write(tmp_path / "n.safetensors", {"n" * 64: ((1,), "F32", bytes(4))}, {})
    with pytest.raises(RequestError, match="64 bytes long"):
        convert(open_model(tmp_path / "n.safetensors"), tmp_path / "n.gguf")
    with pytest.raises(UnsupportedError, match=r"writing \.onnx is not supported; supported: \.apr, \.gguf"):
        convert(open_model(tmp_path / "n.safetensors"), tmp_path / "n.onnx")
    gguf_writer.write(tmp_path / "f.gguf", {"limit": float("inf")}, {})
    with pytest.raises(RequestError, match="JSON"):
        convert(open_model(tmp_path / "f.gguf"), tmp_path / "f.apr")


@pytest.mark.parametrize(
    "metadata",
    [
        {"gguf_types": {"k": "u8"}, "k": 300},
        {"gguf_types": {"k": "[u8]"}, "k": 3},
        {"gguf_types": {"k": "[u8]"}, "k": {"a": 1}},
        {"gguf_types": {"k": "nonsense"}, "k": 3},
        {"gguf_types": {"k": "[string]"}, "k": [1]},
    ],
)
def test_types_that_contradict_their_values_are_refused(tmp_path: Path, metadata: dict[str, object]) -> None:
    apr_v2.write(tmp_path / "m.apr", {}, metadata)
    with pytest.raises(RequestError):
        convert(open_model(tmp_path / "m.apr"), tmp_path / "m.gguf")


def test_marks_that_mean_nothing_are_left_alone(tmp_path: Path) -> None:
    metadata = {"gguf_types": ["not", "types"], "realizar.json": ["absent", "text"], "text": "not json {"}
    apr_v2.write(tmp_path / "m.apr", {}, metadata)
    convert(open_model(tmp_path / "m.apr"), tmp_path / "m.gguf")
    assert open_model(tmp_path / "m.gguf").metadata["text"] == "not json {"
    for broken in (3, "3", "{", {"a": 1}, None, [["a"], {}]):
        apr_v2.write(tmp_path / "m.apr", {}, {"realizar.json": broken})
        convert(open_model(tmp_path / "m.apr"), tmp_path / "m.gguf")
