from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from realizar_lambda import cli
from realizar_lambda.cli import generate

ROOT = Path(__file__).resolve().parent.parent.parent
PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def model(data_dir):
    return data_dir / "models" / "stories260K" / "derived" / "stories260K-f32.gguf"


@pytest.fixture(scope="module")
def text(model):
    """The greedy text of the prompt, 124 tokens more."""
    path = model.with_name("stories260K.reference.json")
    return json.loads(path.read_text())["cases"][0]["text"]


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_text_goes_to_stdout_and_what_it_took_to_stderr(model, text, capsys):
    code, out, err = run(capsys, "generate", model, PROMPT, "--temperature", 0, "--max-tokens", 124)
    assert (code, out) == (0, text + "\n")
    assert err.startswith("5 prompt tokens (0 known) in ")
    assert "124 tokens at " in err
    assert " a second, seed " in err


def test_the_prompt_comes_from_a_file_or_from_standard_input(model, text, tmp_path, capsys):
    (tmp_path / "prompt").write_text(PROMPT, encoding="utf-8")
    options = ["--temperature", "0", "--max-tokens", "20"]
    _, out, _ = run(capsys, "generate", model, "--file", tmp_path / "prompt", *options)
    done = subprocess.run(
        [sys.executable, "-m", "realizar_lambda", "generate", str(model), *options],
        input=PROMPT, capture_output=True, text=True, cwd=ROOT, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == out
    assert text.startswith(out.rstrip("\n"))


def test_json_has_everything_and_nothing_is_printed_before_it(model, capsys):
    options = ["--max-tokens", 3, "--logprobs", 2, "--seed", 9]
    code, out, err = run(capsys, "generate", model, PROMPT, "--json", *options)
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["text"] == PROMPT + answer["completion"]
    assert (answer["model"], answer["seed"], answer["finish_reason"]) == ("stories260K-f32", 9, "length")
    assert answer["usage"]["completion_tokens"] == len(answer["logprobs"]) == 3
    assert [len(item["top"]) for item in answer["logprobs"]] == [2, 2, 2]
    assert run(capsys, "generate", model, PROMPT, "--json", *options)[1].startswith(out[: out.index('"timings"')])


@pytest.mark.parametrize(("options", "expected"), [
    (["--temperature", "0", "--stop", "little", "--stop", "x"], ", there was a "),
    (["--temperature", "0", "--stop-token-id", "426"], ", there was a little girl named Lily"),
    (["--temperature", "0", "--logit-bias", "426=100", "--max-tokens", "3"], "..."),
    (["--temperature", "0", "--ban", "432", "--max-tokens", "1"], " there"),
    (["--temperature", "0", "--logit-bias", "2=100", "--min-tokens", "4"], ", there was a"),
    (["--top-k", "1", "--max-tokens", "1"], ","),
    (["--top-p", "0.001", "--max-tokens", "1"], ","),
    (["--min-p", "1", "--max-tokens", "1"], ","),
])  # fmt: skip
def test_options_are_those_of_the_api(model, capsys, options, expected):
    code, out, err = run(capsys, "generate", model, PROMPT, *options)
    assert (code, out) == (0, PROMPT + expected + "\n"), err


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (["--temperature", "9"], 1, "error: temperature must be in [0, 2], got 9\n"),
    (["--temperature", "0", "--top-p", "0.5"], 1, "error: top_p must be 1 where temperature is 0"),
    (["--max-tokens", "600"], 1, "error: the prompt has 5 tokens and 600 to generate, the context has room for 512\n"),
    (["--logit-bias", "5"], 1, "error: --logit-bias must be ID=NUMBER, got '5'\n"),
    (["--logit-bias", "a=1"], 1, "error: --logit-bias must be ID=NUMBER, got 'a=1'\n"),
    (["--stop", ""], 1, "error: stop[0] must have 1 to 256 characters, it has 0\n"),
    (["--file", "x"], 2, "error: give the prompt as an argument or with --file, and not both\n"),
    (["--system", "x"], 2, "error: --system needs --chat\n"),
    (["--seed", "x"], 2, "usage:"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_line(model, capsys, arguments, code, message):
    found, out, err = run(capsys, "generate", model, PROMPT, *arguments)
    assert (found, out) == (code, "")
    assert err.startswith(message)


def test_files_that_are_no_text_and_models_that_generate_none_are_refused(model, data_dir, tmp_path, capsys):
    (tmp_path / "bytes").write_bytes(b"abc\xff")
    code, _, err = run(capsys, "generate", model, "--file", tmp_path / "bytes")
    assert (code, err) == (1, f"error: {tmp_path}/bytes must be UTF-8, byte 3 is 0xff\n")
    code, _, err = run(capsys, "generate", data_dir / "apr" / "mnist_784x2.apr", "x")
    assert (code, "which classifies, is not supported" in err) == (1, True)


def test_a_message_is_answered_as_in_a_chat(model, capsys):
    options = ["--max-tokens", 5, "--temperature", 0, "--json"]
    _, out, _ = run(capsys, "generate", model, "Hello", "--chat", "--system", "Be brief.", *options)
    assert json.loads(out)["text"].startswith("System: Be brief.\nUser: Hello\nAssistant:")


def test_control_characters_are_escaped_for_a_terminal_only():
    text = "a\x1b[2J\n\tb\\ é\x00"
    assert generate.shown(text, is_terminal=False) == text
    assert generate.shown(text, is_terminal=True) == "a\\x1b[2J\n\tb\\ é\\x00"


def test_perplexity_is_a_number_on_stdout(model, data_dir, tmp_path, capsys):
    text = (data_dir / "corpora" / "tinystories_sample_2MiB.txt").read_text(encoding="utf-8")[:3000]
    (tmp_path / "text").write_text(text, encoding="utf-8")
    code, out, err = run(capsys, "perplexity", model, tmp_path / "text", "--window", 256)
    assert code == 0
    assert 3 < float(out) < 30
    assert " tokens in " in err
    code, found, err = run(capsys, "perplexity", model, tmp_path / "text", "--window", 256, "--json")
    answer = json.loads(found)
    assert (code, err, f"{answer['perplexity']:.4f}\n") == (0, "", out)
    code, _, err = run(capsys, "perplexity", model, tmp_path / "text", "--stride", 0, "--window", 1)
    assert (code, err) == (1, "error: window must be in [2, 512], got 1\n")
