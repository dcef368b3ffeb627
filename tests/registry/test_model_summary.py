"""What /models says of a file: read from real files of the reference data, and of files that are none."""

from __future__ import annotations

from realizar_lambda.registry.summary import summarise_file


def test_a_logistic_regression_is_summarised_from_its_header(data_dir):
    summary = summarise_file(str(data_dir / "apr" / "mnist_784x2.apr"))
    assert summary == {
        "name": None,
        "description": None,
        "kind": "classify",
        "format": "apr-v1",
        "architecture": "logistic_regression",
        "quantization": "F32",
        "parameters": 784,
        "context_length": None,
        "size_bytes": 3248,
    }


def test_language_models_are_summarised_from_gguf_and_from_a_hugging_face_folder(data_dir):
    folder = data_dir / "models" / "stories260K" / "derived"
    assert summarise_file(str(folder / "stories260K-q8_0.gguf")) == {
        "name": "stories260K",
        "description": None,
        "kind": "generate",
        "format": "gguf-v3",
        "architecture": "llama",
        "quantization": "Q8_0",
        "parameters": 260032,
        "context_length": 512,
        "size_bytes": 344192,
    }
    from_hugging_face = summarise_file(str(folder / "hf"))
    assert from_hugging_face["architecture"] == "llama"
    assert (from_hugging_face["parameters"], from_hugging_face["context_length"]) == (260032, 512)


def test_a_file_of_the_wrong_byte_order_has_its_error(data_dir):
    folder = data_dir / "models" / "stories260K" / "derived"
    summary = summarise_file(str(folder / "stories260K-f32-bigendian.gguf"))
    assert "big-endian" in summary["error"]
    assert str(folder) not in summary["error"]


def test_a_file_that_is_no_model_has_its_error_and_no_folder(tmp_path):
    path = tmp_path / "broken.apr"
    path.write_bytes(b"hello, world")
    summary = summarise_file(str(path))
    assert summary["size_bytes"] == 12
    assert summary["error"].startswith("broken.apr, byte 0")
    assert set(summary) == {"size_bytes", "error"}


def test_an_empty_file_has_its_error(tmp_path):
    path = tmp_path / "empty.gguf"
    path.write_bytes(b"")
    assert "the file is empty" in summarise_file(str(path))["error"]
