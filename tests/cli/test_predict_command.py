from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from realizar_lambda import cli
from realizar_lambda.cli import predict

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def model(data_dir, tmp_path):
    """The real two-class model; its probability of class 1 on 784 times 0.5 is 0.900175."""
    return shutil.copy(data_dir / "apr" / "mnist_784x2.apr", tmp_path)


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main(["predict", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_features_come_as_arguments_and_the_answer_has_bars(model, capsys):
    code, out, err = run(capsys, model, *["0.5"] * 784)
    assert (code, err) == (0, "")
    first, *rows = out.splitlines()
    assert first == "mnist_784x2: 1  (90.02 %)"
    assert rows[0].split() == ["1", "90.02", "%", predict.bar(0.900175)]
    assert rows[1].split()[:3] == ["0", "9.98", "%"]


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<784f", *[0.5] * 784),
        json.dumps([0.5] * 784).encode(),
        json.dumps({"features": [0.5] * 784}).encode(),
    ],
    ids=["f32", "a JSON list", "a JSON object"],
)
def test_features_come_from_a_file_of_any_form(model, tmp_path, capsys, content):
    (tmp_path / "features").write_bytes(content)
    code, out, _ = run(capsys, model, "--json", "--file", tmp_path / "features")
    answer = json.loads(out)
    assert (code, answer["model"], answer["prediction"], answer["label"]) == (0, "mnist_784x2", 1, "1")
    assert answer["probabilities"] == pytest.approx([0.099825, 0.900175], abs=1e-6)


def test_features_come_from_standard_input(model):
    done = subprocess.run(
        [sys.executable, "-m", "realizar_lambda", "predict", model, "--json", "--file", "-"],
        input=bytes(784),
        capture_output=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    assert json.loads(done.stdout)["prediction"] == 1


def test_bytes_are_pixels(model, tmp_path, capsys):
    (tmp_path / "digit.u8").write_bytes(bytes(784))
    _, out, _ = run(capsys, model, "--json", "--file", tmp_path / "digit.u8")
    assert json.loads(out)["probabilities"][1] == pytest.approx(0.502793, abs=1e-6)


def test_only_as_many_classes_are_shown_as_asked(model, tmp_path, capsys):
    (tmp_path / "digit.u8").write_bytes(bytes(784))
    _, out, _ = run(capsys, model, "--top", 1, "--file", tmp_path / "digit.u8")
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"abc", "the file is not JSON and must then have 784 bytes (u8) or 3136 bytes (f32), it has 3"),
        (b"", "it has 0"),
        (b"[" * 100_000, "it has 100000"),
        (b"[1, 2]", "features must have 784 values, got 2"),
        (b'{"x": 1}', "the JSON must be a list of numbers"),
        (json.dumps(["1"] * 784).encode(), "features[0] must be a number"),
        (struct.pack("<784f", *[float("nan")] * 784), "must be finite"),
    ],
)
def test_a_file_without_features_is_refused(model, tmp_path, capsys, content, words):
    (tmp_path / "features").write_bytes(content)
    code, out, err = run(capsys, model, "--file", tmp_path / "features")
    assert (code, out) == (cli.FAILED, "")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], cli.USAGE, "give the features as numbers or with --file"),
        (["1", "--file", "x"], cli.USAGE, "and not both"),
        (["1", "two"], cli.USAGE, "invalid float value: 'two'"),
        (["--top", "0", "1"], cli.USAGE, "a whole number of at least 1"),
        (["1", "2"], cli.FAILED, "features must have 784 values, got 2"),
        (["--file", "/no/such/file"], cli.FAILED, "/no/such/file: No such file or directory"),
    ],
)
def test_wrong_arguments_are_refused(model, capsys, arguments, code, words):
    found, out, err = run(capsys, model, *arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_an_unknown_model_is_named(capsys):
    code, _, err = run(capsys, "no_such_model", "1")
    assert code == cli.FAILED
    assert "no model is named 'no_such_model'" in err


def test_a_bar_is_as_long_as_its_probability():
    assert predict.bar(0) == ""
    assert predict.bar(1) == "█" * 32
    assert predict.bar(0.5) == "█" * 16
    assert predict.bar(1 / 256) == "▏"
    assert len(predict.bar(0.999)) == 32
