"""Pre-tokenizers: each family against stored splits of llama.cpp, patterns against `re`, refusals by name."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import FOLDER

from realizar_lambda.errors import UnsupportedError
from realizar_lambda.tokenizers.pretokenizer import PreTokenizer, Stage
from realizar_lambda.tokenizers.pretokenizer_table import FAMILIES
from realizar_lambda.tokenizers.strings import PackedStrings
from realizar_lambda.tokenizers.vocabulary import Vocabulary

STORED = json.loads((FOLDER / "splits.json").read_text())


def pieces(text: str, *stages: Stage) -> list[str]:
    vocabulary = Vocabulary("v", PackedStrings.from_bytes([b"x"]), None)
    vocabulary.use_splitter(PreTokenizer(stages))
    return [piece.decode() for piece in vocabulary.split(text.encode())]


@pytest.mark.parametrize("name", STORED["lengths"])
def test_each_family_splits_as_llama_cpp_does(name: str) -> None:
    found = pieces(STORED["text"], *FAMILIES[name].stages)
    assert list(map(len, found)) == STORED["lengths"][name]
    assert "".join(found) == STORED["text"]


def test_every_family_has_a_stored_split() -> None:
    covered = {FAMILIES[name] for name in STORED["lengths"]}
    assert covered == set(FAMILIES.values())


def test_the_pre_tokenizers_that_users_ask_for_are_there() -> None:
    wanted = "gpt-2 llama-bpe qwen2 qwen35 deepseek-llm deepseek-coder falcon starcoder refact command-r mpt smollm"
    assert FAMILIES.keys() >= {*wanted.split(), "gpt-4o", "tekken", "default"}


def split_with_re(pattern: str, text: str) -> list[str]:
    found, done = [], 0
    for match in re.finditer(pattern, text, re.ASCII):
        if match.end() > match.start():
            found += [text[done : match.start()], match[0]]
            done = match.end()
    return [piece for piece in [*found, text[done:]] if piece]


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b|a",
        "ab|a|abc",
        "(?:a|ab)(?:c|bcd)?",
        "a{2,3}",
        "a{2}b?",
        "(?:ab){2,}",
        r"[ab]+(?!c)",
        r"a(?=b)b+|b",
        r"a+$",
        r"[^a-c]+|[bc]",
        r"a?b?c?a",
        r"\s+(?!\S)|\s+|\S",
        r"[a\-\]]+",
    ],
)
@given(text=st.text(alphabet="abcd -]\n", max_size=12))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_automaton_finds_the_match_that_backtracking_finds(pattern: str, text: str) -> None:
    expected = split_with_re(pattern.replace("$", r"\Z"), text)
    assert pieces(text, Stage(pattern)) == expected


@given(text=st.text(alphabet="a \n\t", max_size=12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_runs_at_line_ends_are_found_as_backtracking_finds_them(text: str) -> None:
    expected = split_with_re(r"\s+(?=\n|\Z)", text)
    assert pieces(text, Stage(r"\s+$", has_lines=True)) == expected


def test_classes_intersect_nest_and_ignore_case() -> None:
    assert pieces("aZéé1", Stage(r"[\p{L}&&[^a-z]]+")) == ["a", "Zéé", "1"]
    assert pieces("'S'ſ't'D", Stage("'(?i:s|[dm])")) == ["'S", "'ſ", "'t", "'D"]
    assert pieces("x漢y", Stage(r"\p{Han}")) == ["x", "漢", "y"]
    assert pieces("a\u2003b", Stage(r"\S+", keeps_gaps=False)) == ["a", "b"]


def test_bytes_are_split_in_the_characters_that_write_them() -> None:
    vocabulary = Vocabulary("v", PackedStrings.from_bytes([b"x"]), None)
    vocabulary.use_splitter(PreTokenizer([Stage(r"\p{N}", is_bytewise=True)]))
    assert vocabulary.split("a²".encode()) == [b"a\xc2", b"\xb2"]
    with pytest.raises(UnsupportedError, match="splitting characters after splitting bytes"):
        PreTokenizer([Stage("a", is_bytewise=True), Stage("b")])


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("a*?", "lazy or possessive"),
        ("a++", "lazy or possessive"),
        ("(?<=a)b", "this kind of group"),
        ("(?=ab)a", "more than one character"),
        (r"\p{Greek}", r"\\p\{Greek\}"),
        (r"\w+", r"\\w"),
        ("a{2000}", "repetition"),
        ("a{3,2}", "repetition"),
        ("[z-a]", "empty"),
        ("(?i:[a-z])", "a range where case is ignored"),
        ("(a", "not closed"),
        ("a)", "unmatched"),
        ("[a", "unfinished"),
        ("*a", r"'\*'"),
        ("a**", "quantifier of a quantifier"),
        ("(" * 30 + "a" + ")" * 30, "nested groups"),
        ("[" * 20 + "a", r"nested \["),
        ("a" * 9000, "9000 characters"),
        ("(?:a{1000}){1000}", "more steps"),
        (r"\s+\p", r"malformed"),
    ],
)
def test_patterns_that_are_not_understood_are_refused_by_name(pattern: str, what: str) -> None:
    with pytest.raises(UnsupportedError, match=what):
        PreTokenizer([Stage(pattern)])


@pytest.mark.parametrize("name", STORED["lengths"])
def test_a_long_run_takes_linear_time(name: str) -> None:
    vocabulary = Vocabulary("v", PackedStrings.from_bytes([b"x"]), None)
    vocabulary.use_splitter(PreTokenizer(FAMILIES[name].stages))
    for unit in ("a", " ", "\n", "1", "😀", "' ", "a ", "\u3000"):
        text = (unit * (100_000 // len(unit.encode())) + "x").encode()
        started = time.thread_time()
        found = vocabulary.split(text)
        assert time.thread_time() - started < 0.5, unit
        assert b"".join(found) == text
