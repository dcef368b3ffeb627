from __future__ import annotations

from pathlib import Path

import pytest

from realizar_lambda import cli
from realizar_lambda.formats import apr_v2, open_model


def test_a_model_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apr_v2.write(tmp_path / "m.apr", {"w": ((2,), "F32", bytes(8))}, {"architecture": "mlp"})
    assert cli.main(["convert", str(tmp_path / "m.apr"), str(tmp_path / "m.gguf")]) == cli.OK
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{tmp_path}/m.apr: apr-v2, 1 tensors, 260 B",
        f"{tmp_path}/m.gguf: {(tmp_path / 'm.gguf').stat().st_size} B",
    ]
    model = open_model(tmp_path / "m.gguf")
    assert model.metadata["general.architecture"] == "mlp"
    assert model.tensors["w"].data == bytes(8)


def test_a_model_may_be_converted_onto_itself(tmp_path: Path) -> None:
    apr_v2.write(tmp_path / "m.apr", {"w": ((2,), "F32", b"abcdefgh")}, {"name": "m"})
    before = (tmp_path / "m.apr").read_bytes()
    assert cli.main(["convert", str(tmp_path / "m.apr"), str(tmp_path / "m.apr")]) == cli.OK
    assert (tmp_path / "m.apr").read_bytes() == before


def test_a_corrupt_file_is_not_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apr_v2.write(tmp_path / "m.apr", {"w": ((2 << 20,), "U8", bytes(2 << 20))}, {})
    data = bytearray((tmp_path / "m.apr").read_bytes())
    data[1 << 20] ^= 1
    (tmp_path / "m.apr").write_bytes(data)
    assert cli.main(["convert", str(tmp_path / "m.apr"), str(tmp_path / "m.safetensors")]) == cli.FAILED
    assert "the file's CRC-32" in capsys.readouterr().err
    assert not (tmp_path / "m.safetensors").exists()


def test_an_unknown_target_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apr_v2.write(tmp_path / "m.apr", {}, {})
    assert cli.main(["convert", str(tmp_path / "m.apr"), str(tmp_path / "m.bin")]) == cli.FAILED
    assert "error: writing .bin is not supported; supported: .apr, .gguf, .safetensors" in capsys.readouterr().err
