"""The README's commands are run: by .ci/run, by the suite, or here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for language, text in BLOCKS
    if not language
    for line in text.splitlines()
    if line.strip()
]
PREFIX = ".venv/bin/realizar-lambda "
ELSEWHERE = {
    "serve": "tests/serving starts the server on a port of its own",
    "curl": "tests/serving asks the same routes of a real socket",
}


def test_every_make_target_named_is_one_and_ci_runs_the_two_that_set_up():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert named == {"demo", "test"}
    assert named <= targets
    ci = (ROOT / ".ci/run").read_text()
    assert all(f"make {target}\n" in ci for target in named)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith(PREFIX)])
def test_the_commands_of_the_command_line_run(command):
    arguments = shlex.split(command.removeprefix(PREFIX))
    if arguments[0] in ELSEWHERE:
        assert (ROOT / "tests/serving").is_dir()
        arguments = [arguments[0], "--help"]
    done = subprocess.run(
        [sys.executable, "-m", "realizar_lambda", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_python_example_runs_as_it_stands():
    (example,) = [text for language, text in BLOCKS if language == "python"]
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_file_linked_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
