from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import command_line, results


def test_every_benchmark_counts_rounds_and_stores_where_it_is_told() -> None:
    parser = command_line.parser("cold_start", "Time cold starts.", rounds=30, least_rounds=2)
    assert parser.prog == "python -m bench.cold_start"
    assert vars(parser.parse_args([])) == {"rounds": 30, "results": results.FOLDER}
    assert vars(parser.parse_args(["--rounds", "2", "--results", "here"])) == {"rounds": 2, "results": Path("here")}


@pytest.mark.parametrize(
    ("rounds", "words"), [("1", "must be at least 2, got 1"), ("-3", "must be at least 2, got -3"), ("x", "'x'")]
)
def test_too_few_rounds_are_refused(rounds: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = command_line.parser("cold_start", "Time cold starts.", rounds=30, least_rounds=2)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--rounds={rounds}"])
    assert f"argument --rounds: {words}" in capsys.readouterr().err.replace("invalid number value: ", "")


def test_the_peers_run_where_the_benchmark_does_unless_their_interpreter_is_named_or_must_be() -> None:
    parser = command_line.parser("load", "", rounds=1)
    command_line.add_peer_python(parser)
    assert parser.parse_args([]).peer_python == sys.executable
    assert parser.parse_args(["--peer-python", "bin/python"]).peer_python == str(Path("bin/python").absolute())
    parser = command_line.parser("llm", "", rounds=1)
    command_line.add_peer_python(parser, has="llama_cpp", is_required=True)
    with pytest.raises(SystemExit):
        parser.parse_args([])


def test_sizes_types_and_threads_may_be_several_and_have_a_default() -> None:
    parser = command_line.parser("llm", "", rounds=1)
    command_line.add_llamas(parser, "Q4_K", "F16")
    command_line.add_threads(parser, 1, 2)
    plain = parser.parse_args([])
    assert (plain.sizes, plain.types, plain.threads) == (["110M", "1.1B"], ["Q4_K", "F16"], [1, 2])
    given = parser.parse_args(["--sizes", "110M", "--types", "Q8_0", "--threads", "1", "4"])
    assert (given.sizes, given.types, given.threads) == (["110M"], ["Q8_0"], [1, 4])
    with pytest.raises(SystemExit):
        parser.parse_args(["--threads", "0"])


def test_a_result_of_a_forced_library_has_its_name_and_the_library_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALIZAR_ISA", "")
    parser = command_line.parser("any", "Any.", rounds=1)
    command_line.add_isa(parser)
    assert command_line.stored_name("any", parser.parse_args([])) == "any"
    assert os.environ["REALIZAR_ISA"] == ""
    assert command_line.stored_name("any", parser.parse_args(["--isa", "x86_64_v3"])) == "any_x86_64_v3"
    assert os.environ["REALIZAR_ISA"] == "x86_64_v3"
