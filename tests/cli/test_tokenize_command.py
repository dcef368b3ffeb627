"""`realizar-lambda tokenize`: what it prints, what it refuses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from realizar_lambda import cli


@pytest.fixture
def model(data_dir: Path) -> str:
    return str(data_dir / "tokenizers" / "ggml-vocab-llama-bpe.gguf")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["tokenize", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_text_is_shown_token_by_token(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, model, "Hello 🦙\n<|eot_id|>", "--parse-special")
    assert code == 0
    assert out == (
        '  128000  "<|begin_of_text|>"  control\n'
        '    9906  "Hello"\n'
        "   11410  20 f0 9f\n"
        "      99  a6\n"
        "     247  99\n"
        '     198  "\\n"\n'
        '  128009  "<|eot_id|>"         control\n'
        "7 tokens\n"
    )


def test_ids_alone_and_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, model, "Hello world", "--ids")[1] == "128000 9906 1917\n"
    assert run(capsys, model, "Hello world", "--ids", "--no-special")[1] == "9906 1917\n"
    answer = json.loads(run(capsys, model, "Hé", "--json")[1])
    assert answer == {"token_ids": [128000, 39, 978], "num_tokens": 3, "pieces": ["<|begin_of_text|>", "H", "é"]}
    assert run(capsys, model, "", "--no-special")[1] == "no tokens\n"
    assert run(capsys, model, "a", "--no-special")[1].endswith("1 token\n")


def test_ids_are_written_as_text(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, model, "128000, 9906 1917", "--decode")[1] == "Hello world\n"
    assert run(capsys, model, "128000 9906", "--decode", "--no-special")[1] == "<|begin_of_text|>Hello\n"
    answer = json.loads(run(capsys, model, "9906", "--decode", "--json")[1])
    assert answer == {"token_ids": [9906], "text": "Hello"}


def test_text_is_read_from_standard_input(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Hello wörld".encode())))
    assert run(capsys, model, "-", "--ids")[1] == "128000 9906 289 9603 509\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff")))
    code, _, error = run(capsys, model, "-", "--ids")
    assert (code, error) == (1, "error: the input must be UTF-8, byte 2 is not\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("12 x", "--decode"), "error: token ids must be whole numbers, got 'x'\n"),
        (("12 -3", "--decode"), "error: token ids must be whole numbers, got '-3'\n"),
        (("128256", "--decode"), "error: token ids must be 0 to 128255, got 128256\n"),
        (("a\udcff",), "error: text must be Unicode, character 1 is the lone surrogate U+DCFF\n"),
    ],
)
def test_bad_input_is_one_sentence(
    model: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], error: str
) -> None:
    code, out, found = run(capsys, model, *arguments)
    assert (code, out, found) == (1, "", error)


def test_two_ways_of_showing_exclude_each_other(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, model, "x", "--ids", "--json")
    assert code == 2
    assert "not allowed with" in error
