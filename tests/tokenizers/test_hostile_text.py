"""A megabyte of one character takes linear time, and comes back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from vocabularies import GGUF_NAMES, gguf

MEGABYTE = 1 << 20


@pytest.mark.parametrize("name", ["llama-bpe", "deepseek-llm", "llama-spm", "bert-bge"])
@pytest.mark.parametrize("unit", ["a", " ", "😀"])
def test_a_megabyte_of_one_character_is_encoded_in_linear_time(data_dir: Path, name: str, unit: str) -> None:
    tokenizer = gguf(data_dir, name)
    text = unit * (MEGABYTE // len(unit.encode()))
    started = time.thread_time()
    ids = tokenizer.encode(text, add_special=False)
    assert time.thread_time() - started < 3.0, "0.2 s on a quiet machine"
    assert name == "bert-bge" or len(tokenizer.decode_bytes(ids[:1000])) <= len(text.encode())


@pytest.mark.parametrize("name", GGUF_NAMES[:-1])
@pytest.mark.parametrize("unit", ["a", " ", "\n", "😀", "ab ", "\u0301"])
def test_a_long_run_comes_back(data_dir: Path, name: str, unit: str) -> None:
    tokenizer = gguf(data_dir, name)
    text = unit * 4_000
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_prefix_of_a_special_token_again_and_again_takes_linear_time(data_dir: Path) -> None:
    tokenizer = gguf(data_dir, "llama-bpe")
    started = time.thread_time()
    tokenizer.encode("<|eot_id|" * 30_000, parse_special=True)
    assert time.thread_time() - started < 3.0


def test_doubling_a_run_doubles_the_time_at_most_about(data_dir: Path) -> None:
    tokenizer = gguf(data_dir, "gpt-2")

    def seconds(n: int) -> float:
        text = "a" * n
        best = 9.0
        for _ in range(3):
            started = time.thread_time()
            tokenizer.encode(text)
            best = min(best, time.thread_time() - started)
        return best

    seconds(1000)
    assert seconds(400_000) < 12 * seconds(100_000), "4 in theory, and the heap outgrows a cache"
