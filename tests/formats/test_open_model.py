from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import apr_bytes
import pytest

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats import READERS, open_model


def put(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"APR1" + bytes(20), "APR1 variant"),
        (b"APR2" + bytes(20), "APR2 draft"),
        (b"APR\x02" + bytes(60), "fixture layout"),
        (b"tjgg" + bytes(20), "GGJT"),
        (b"PK\x03\x04" + bytes(20), "zip archive"),
        (b"\x80\x02}q\x00." + bytes(20), "pickle"),
        (b"\x1f\x8b\x08" + bytes(20), "decompress it first"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x1c\0\0\0TFL3" + bytes(20), "TensorFlow Lite"),
        (b"<!DOCTYPE html><html>", "HTML page"),
    ],
)
def test_foreign_files_are_named_with_what_to_do(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(UnsupportedError, match=what):
        open_model(put(tmp_path, data))


def test_an_unknown_file_is_refused_with_its_first_bytes(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="the first bytes are 68 65 6c 6c 6f") as caught:
        open_model(put(tmp_path, b"hello"))
    assert caught.value.offset == 0


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="empty"):
        open_model(put(tmp_path, b""))


def test_a_pipe_is_refused_without_waiting_on_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="not a regular file"):
        open_model(tmp_path / "pipe")


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_model(tmp_path / "nothing.apr")


def test_a_magic_alone_is_refused_by_every_reader(tmp_path: Path) -> None:
    for magic in READERS:
        with pytest.raises(FormatError):
            open_model(put(tmp_path, magic))


def test_a_reader_is_imported_only_for_its_own_format(tmp_path: Path) -> None:
    path = put(tmp_path, apr_bytes.v1())
    program = f"""
import sys
from realizar_lambda.formats import open_model
open_model({str(path)!r})
print(*sorted(name for name in sys.modules if name.startswith("realizar_lambda.formats.")))
print(*sorted({{"numpy", "typing", "dataclasses", "pathlib", "hashlib", "tempfile"}} & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd=os.getcwd()
    )
    modules, heavy = answer.stdout.split("\n")[:2]
    assert modules.split() == [
        "realizar_lambda.formats.apr_v1",
        "realizar_lambda.formats.messagepack",
        "realizar_lambda.formats.model_file",
    ]
    assert heavy == ""
