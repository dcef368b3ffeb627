from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from realizar_lambda import cli
from realizar_lambda.formats import safetensors
from realizar_lambda.version import __version__


def test_every_command_of_the_table_has_its_two_functions_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name, (module, summary) in cli.COMMANDS.items():
        assert cli.main([name, "--help"]) == cli.OK
        assert f"realizar-lambda {name}" in capsys.readouterr().out
        loaded = sys.modules[f"realizar_lambda.cli.{module}"]
        assert callable(loaded.run)
        assert callable(loaded.add_arguments)
        assert summary


def test_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == cli.OK
    shown = " ".join(capsys.readouterr().out.split())
    for name, (_, summary) in cli.COMMANDS.items():
        assert f"{name} {summary}" in shown


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == cli.OK
    assert capsys.readouterr().out == f"realizar-lambda {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["inspect"], ["inspect", "--tensors", "x", "f"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: realizar-lambda" in captured.err


def test_our_errors_are_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.apr").write_bytes(b"APRN")
    assert cli.main(["inspect", str(tmp_path / "m.apr")]) == cli.FAILED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {tmp_path}/m.apr, byte 4: ")
    assert captured.err.count("\n") == 1


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(tmp_path / "none")]) == cli.FAILED
    assert capsys.readouterr().err == f"error: {tmp_path}/none: No such file or directory\n"


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    tensors = {f"tensor.{number:05}": ((1,), "U8", b"x") for number in range(5000)}
    safetensors.write(tmp_path / "m.safetensors", tensors, {})
    command = [sys.executable, "-m", "realizar_lambda", "inspect", "--tensors", "all", str(tmp_path / "m.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == cli.PIPE_CLOSED


def test_a_narrow_encoding_shows_escapes_instead_of_failing(tmp_path: Path) -> None:
    safetensors.write(tmp_path / "m.safetensors", {"größe 木": ((1,), "U8", b"x")}, {})
    answer = subprocess.run(
        [sys.executable, "-m", "realizar_lambda", "inspect", str(tmp_path / "m.safetensors")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(cli.__file__).parent.parent.parent)},
    )
    assert "gr\\xf6\\xdfe \\u6728" in answer.stdout
