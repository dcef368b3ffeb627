"""bench.llm: which of llama.cpp's settings counts, what is stored, what part of memory decoding takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import llm, random_llama
from bench.llm_worker import read_pages


class FakeWorker:
    """An engine whose times are known: seconds of a command by its name."""

    def __init__(self, name: str, **seconds: float) -> None:
        self.name = name
        self.times = seconds
        self.asked: list[str] = []

    def seconds(self, *command: object) -> float:
        self.asked.append(str(command[0]))
        return self.times[str(command[0])]


def workers() -> list[Any]:
    return [
        FakeWorker("realizar", prefill=0.5, decode=1.0, read=0.25),
        FakeWorker("llama_cpp", prefill=2.0, decode=1.0),
        FakeWorker("llama_cpp_plain", prefill=1.0, decode=1.05),
    ]


def test_a_setting_that_the_thrown_away_round_shows_to_be_weaker_is_left_out_of_that_work_alone() -> None:
    chosen = workers()
    found = llm.measure(chosen, 3, 0, 2_000_000_000)
    assert {work: sorted(rates) for work, rates in found.items()} == {
        "prefill": ["llama_cpp_plain", "realizar"],
        "decode": ["llama_cpp", "llama_cpp_plain", "realizar"],
        "read": ["memory"],
    }
    assert found["prefill"]["realizar"] == [1024.0] * 3
    assert found["read"]["memory"] == [8.0] * 3
    assert chosen[1].asked.count("prefill") == 1


def test_after_so_many_tokens_only_decoding_is_timed() -> None:
    assert sorted(llm.measure(workers(), 1, 2000, 1)) == ["decode", "read"]


def test_a_target_takes_the_lowest_ratio_of_the_promised_types() -> None:
    def work(ours: float) -> dict[str, Any]:
        return {"decode": {"realizar": [ours] * 2, "llama_cpp": [90.0] * 2, "llama_cpp_plain": [100.0] * 2}}

    result = {"samples": {"110M": {"Q4_K": {"1": work(130.0), "2": work(110.0)}, "Q5_K": {"1": work(50.0)}}}}
    assert llm.least_sides("decode")(result) == ([110.0, 110.0], [100.0, 100.0])
    assert llm.least_sides("prefill")(result) is None


def test_the_part_of_memory_is_weights_per_second_against_pages_read() -> None:
    result = {
        "weight_gb": {"1.1B Q4_K": 0.5},
        "samples": {"1.1B": {"Q4_K": {"1": {"decode": {"realizar": [36.0]}, "read": {"memory": [20.0]}}}}},
    }
    found = llm.of_memory(result, "1.1B", "Q4_K", "1")
    assert found is not None
    assert found.value == pytest.approx(0.9)
    assert llm.least_memory_sides(result) == ([18.0], [20.0])
    assert llm.least_memory_sides({"samples": {}}) is None


def test_the_weights_of_a_token_are_all_but_a_table_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    random_llama.write(str(path), "2M", "Q8_0")
    tensors = llm.open_model(path).tensors
    assert "output.weight" not in tensors
    assert llm.weight_bytes(path) == sum(len(tensor.data) for tensor in tensors.values())


def test_reading_pages_takes_time_with_any_number_of_threads(tmp_path: Path) -> None:
    path = tmp_path / "pages"
    path.write_bytes(bytes(3 * 4096 + 17))
    assert all(read_pages(str(path), n_threads) > 0 for n_threads in (1, 2, 3))


def test_a_run_keeps_what_was_stored_of_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: Any, folder: Path, store: Any) -> None:
        random_llama.write(str(folder / "llama-2M-Q8_0.gguf"), "2M", "Q8_0")
        store("2M", "Q8_0", str(options.threads[0]), {"decode": {"realizar": [2.0], "llama_cpp": [1.0]}})

    monkeypatch.setattr(llm, "run", run)
    monkeypatch.setattr(llm, "stamp", lambda **_: {"date": "d", "commit": "c", "machine": {}, "versions": {}})
    for n_threads in ("1", "2"):
        llm.main(["--peer-python", "python", "--threads", n_threads, "--results", str(tmp_path)])
    stored = json.loads((tmp_path / "llm.json").read_text())
    assert sorted(stored["samples"]["2M"]["Q8_0"]) == ["1", "2"]
    assert sorted(stored["parts"]) == ["2M Q8_0 1", "2M Q8_0 2"]
    assert stored["summary"]["2M"]["Q8_0"]["2"]["decode"]["realizar"]["median"] == 2.0
