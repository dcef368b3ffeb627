from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from manifest import ManifestError, main, unlisted_models, verified_models

from realizar_lambda.loading import SUFFIXES

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entries = {}
    for name in ("b", "a"):
        content = name.encode() * 100
        (tmp_path / f"{name}.apr").write_bytes(content)
        entries[name] = {"file": f"{name}.apr", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps({"models": entries}))
    return tmp_path


def test_every_checked_in_model_is_as_the_manifest_says() -> None:
    assert "mnist_mlp.apr" in [path.name for path in verified_models(ROOT / "models")]


def test_listed_models_come_in_the_order_of_their_names(folder: Path) -> None:
    assert [path.name for path in verified_models(folder)] == ["a.apr", "b.apr"]


def test_a_model_with_one_other_byte_is_refused_with_both_checksums(folder: Path) -> None:
    expected = hashlib.sha256(b"a" * 100).hexdigest()
    (folder / "a.apr").write_bytes(b"a" * 99 + b"b")
    found = hashlib.sha256(b"a" * 99 + b"b").hexdigest()
    with pytest.raises(ManifestError, match=f"a.apr has the sha256 {found}, manifest.json says {expected}"):
        verified_models(folder)


def test_a_listed_model_that_is_missing_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.apr").unlink()
    assert main([str(folder)]) == 1
    assert "b.apr: No such file or directory; manifest.json lists it" in capsys.readouterr().err


def test_a_model_that_is_not_listed_is_left_out_and_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "half_trained.gguf").write_bytes(b"GGUF")
    assert [path.name for path in unlisted_models(folder)] == ["half_trained.gguf"]
    assert main([str(folder)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("2 models in ")
    assert "half_trained.gguf, which manifest.json does not list" in said.err


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"models": 1}', '{"models": {"a": {}}}', '{"models": {"a": "a.apr"}}', '{"models": []}']
)
def test_a_manifest_that_names_no_files_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match="must map each model to its file and sha256"):
        verified_models(tmp_path)


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "a/b.apr", "", "..", 3])
def test_a_manifest_reaches_no_other_folder(tmp_path: Path, file: object) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"models": {"a": {"file": file, "sha256": "0"}}}))
    with pytest.raises(ManifestError, match="must be a name in this folder"):
        verified_models(tmp_path)


def test_the_suffixes_are_the_packages() -> None:
    from manifest import SUFFIXES as packaged

    assert packaged == SUFFIXES
