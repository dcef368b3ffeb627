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
