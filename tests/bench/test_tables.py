"""Tables and targets from stored results: those of these tests, and those of the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import results
from bench.container_starts import MEASURES
from bench.quantization_error import TYPES as ENCODED_TYPES
from bench.summary import summarise
from bench.tables import TABLES, UnknownTableError, documents, rewritten
from bench.targets import TARGETS, outcomes

STAMP = {
    "commit": "0123456789ab",
    "date": "2026-01-02",
    "machine": {"cpu": "A CPU", "cores": 2, "memory_gib": 4.0, "system": "Linux 6", "architecture": "x86_64"},
    "versions": {"python": "3.11.7"},
}


def cold(total: float) -> dict[str, list[float]]:
    rounds = [total, total * 1.01, total * 0.99, total]
    return {
        "total_ms": rounds,
        "init_ms": rounds,
        "first_answer_ms": [1.0] * 4,
        "warm_ms": [0.25] * 4,
        "peak_mib": [15.0] * 4,
    }


def nothing(name: str) -> None:
    """No result was stored."""


def latencies(**medians: float) -> tuple[dict[str, list[float]], dict[str, object]]:
    samples = {name: [value, value * 1.01, value * 0.99] for name, value in medians.items()}
    return samples, results.summaries(samples)


def stored() -> dict[str, dict[str, Any]]:
    """Every result, with numbers that are easy to check by eye."""
    samples, summary = latencies(
        realizar=2.0, torch_eager=30.0, torchscript=24.0, onnxruntime=8.0, torchscript_forward=10.0
    )
    models = ("784-2", "784-128-10")
    cold_start = {
        **STAMP,
        "settings": {"emulator": "own", "rounds": 4},
        "samples": {
            "empty": cold(40.0),
            "realizar": cold(44.0),
            "realizar_client": cold(48.0),
            "generate": cold(56.0),
            "onnxruntime": cold(140.0),
            "torch": cold(1200.0),
        },
        "phases": {"empty": [dict.fromkeys(("spawn", "runtime", "handler", "model", "answer"), 8.0)]},
    }
    rates = {"realizar": [150.0, 150.0], "llama_cpp": [100.0, 100.0]}
    work = {"prefill": rates, "decode": rates, "read": {"memory": [80.0, 80.0]}}
    llm = {
        **STAMP,
        "settings": {"rounds": 2, "prefill": 512, "decode": 128, "depth": 0, "isa": "best"},
        "weight_gb": {"1.1B Q4_K": 0.5},
        "samples": {"1.1B": {"Q4_K": {"1": work}}},
    }
    tokenization = {
        **STAMP,
        "settings": {"rounds": 3, "bytes": 1_000_000},
        "samples": {
            "Llama 3, 128,256 tokens": {
                work: {"realizar": [10.0, 10.1, 9.9], "tokenizers": [100.0, 101.0, 99.0]}
                for work in ("ready_ms", "encode_ms", "mapped_ms")
            }
        },
    }
    contained = {name: [30.0, 30.0] for name in MEASURES}
    container = {
        "cpu_share": 1.0,
        "samples": {
            **dict.fromkeys(("empty", "predict", "generate"), contained),
            "torch": {**contained, "total_ms": [900.0, 900.0]},
        },
        "against_empty": {
            name: {"ratio": 1.0, "interval": [1.0, 1.0], "is_significant": False}
            for name in ("predict", "generate", "torch")
        },
        "phases": {"predict": [dict.fromkeys(("spawn", "runtime", "handler", "model", "inference", "response"), 5.0)]},
        "left_out": {},
        "compiled": {"predict": {"bytecode_written": 0}},
    }
    ways = {"realizar": [50.0], "realizar_huge": [60.0], "llama_cpp": [40.0], "llama_cpp_huge": [48.0]}
    found: dict[str, dict[str, Any]] = {
        "huge_pages": {
            **STAMP,
            "settings": {"rounds": 1, "decode": 64, "tunables": "a=1"},
            "samples": {"1.1B": {"Q4_K": {"1": ways, "2": ways}}},
        },
        "prompt_lookup": {
            **STAMP,
            "settings": {"tokens": 96, "rounds": 1},
            "samples": {
                "random 110M Q4_K": {
                    n_threads: {"repeated": {"plain": [200.0], "lookup": [320.0]}} for n_threads in ("1", "2")
                }
            },
        },
        "load": {
            **STAMP,
            "settings": {"size": "1.1B", "block": "Q4_K", "prompt": 16, "threads": 2, "rounds": 1},
            "samples": {
                "load_ms": {"realizar": [100.0], "llama_cpp": [700.0], "llama_cpp_plain": [150.0]},
                "with_imports_ms": {"realizar": [110.0], "llama_cpp": [800.0], "llama_cpp_plain": [250.0]},
                "resident_mib": {"realizar": [600.0], "llama_cpp": [1200.0], "llama_cpp_plain": [650.0]},
                "heap_mib": {"realizar": [18.5]},
            },
        },
        "small_models": {
            **STAMP,
            "settings": {"model": "stories-q4_k.gguf", "tokens": 200, "rounds": 1},
            "samples": {
                n_threads: {"realizar": [8000.0], "llama_cpp_python": [4000.0], "overhead_us": [5.5]}
                for n_threads in ("1", "2")
            },
        },
        "lambda_bench": {
            **STAMP,
            "settings": {},
            "sizes": {"128": container, "512": container, "1769": container},
            "added_bytes": {"base": 190_000_000, "empty": 15_000_000, "predict": 14_000_000, "torch": 900_000_000},
        },
        "cold_model": {
            **STAMP,
            "settings": {"model_bytes": 6e8, "memory_mb": 1769, "cpu_share": 1.0, "rounds": 2, "read_ahead_kib": 128},
            "samples": {"read": [400.0, 400.0], "cold": [420.0, 420.0], "warm": [200.0, 200.0]},
        },
        "tokenization": tokenization,
        "exactness": {
            **STAMP,
            "files": {"llama-Q8_0": {name: {"f32": 0.02, "f16": 0.021} for name in ("realizar", "llama_cpp")}},
            "families": {"llama": 6e-7},
        },
        "llm": llm,
        "llm_depth2000": llm,
        "llm_x86_64_v3_depth2000": llm,
        "cold_start": cold_start,
        "cold_start_vendor": {**cold_start, "settings": {"emulator": "vendor", "rounds": 4}},
        "predict_latency": {
            **STAMP,
            "settings": {"rounds": 3},
            "samples": {model: {"1": samples, "32": samples} for model in models},
            "summary": {model: {"1": summary, "32": summary} for model in models},
        },
        "memory": {
            **STAMP,
            "settings": {"rounds": 2, "predictions": 1000},
            "samples": {
                "peak": {"empty": [10.0, 10.0], "realizar": [12.0, 12.0]},
                "proportional": {"empty": [6.0, 6.0], "realizar": [7.0, 7.0]},
            },
            "growth": {
                name: {"predictions": [10_000, 100_000], "resident": [11.0, 11.5], "peak": [12.0, 12.0]}
                for name in ("empty", "realizar")
            },
        },
        "perplexity": {
            **STAMP,
            "n_stories": 116,
            "n_tokens": 39_446,
            "rows": {
                "as checked in": {"n_bytes": 3_971_392, "mean_surprise": 2.0},
                "Q4_K_M": {"n_bytes": 2_389_824, "mean_surprise": 2.01},
            },
        },
        "prefix": {
            **STAMP,
            "settings": {"size": "110M", "block": "Q4_K", "tokens": 1024, "rounds": 2},
            "prefix_bytes": 56_688_640,
            "samples": {"cold": [1000.0, 1000.0], "file": [50.0, 50.0], "warm": [25.0, 25.0]},
        },
        "quantization_error": {
            **STAMP,
            "errors": {"gaussian": {name: {"ours": [0.07, 0.06], "ggml": [0.08, 0.06]} for name in ENCODED_TYPES}},
        },
    }
    forced = ("llm", "huge_pages", "prompt_lookup", "small_models", "predict_latency")
    return found | {f"{name}_x86_64_v3": found[name] for name in forced}


@pytest.mark.parametrize(("name", "table"), TABLES.items())
def test_every_table_can_be_made_and_also_says_when_nothing_was_measured(
    name: str, table: Callable[[Callable[[str], Any]], list[str]]
) -> None:
    assert any(line.startswith("|") for line in table(stored().get))
    empty = table(nothing)
    assert any("ot measured" in line for line in empty)


def test_a_cold_start_row_has_the_median_its_interval_and_the_ratio() -> None:
    text = "\n".join(TABLES["cold_start"](stored().get))
    assert "| realizar-lambda, our loop | 44.0 [43.6, 44.4] | 44.4 | 43.6 | 1.10 x [1.10, 1.10] | 0.25 | 15.0 |" in text
    assert "4 fresh processes each" in text
    assert "A CPU, 2 cores" in text
    assert "0123456789ab" in text


def test_the_better_of_the_two_ways_to_run_pytorch_is_the_peer() -> None:
    row = next(line for line in TABLES["predict_latency"](stored().get) if line.startswith("| 784-2 | 1 |"))
    assert "12.0 x [12.0, 12.0] | 4.0 x [4.0, 4.0]" in row


def test_every_target_is_measured_and_judged() -> None:
    found = {target.title: (measured, target) for target, measured in outcomes(stored().get)}
    assert len(found) == len(TARGETS)
    verdicts = {}
    for title, (measured, target) in found.items():
        assert measured is not None, title
        verdicts[title] = target.verdict(measured)
    for on in ("", ", on AVX2"):
        assert verdicts.pop(f"784-2{on}, faster than ONNX Runtime") == "missed"
    assert set(verdicts.values()) == {"met"}


def test_decoding_stands_beside_llama_cpp_and_beside_memory() -> None:
    lines = TABLES["llm"](stored().get)
    assert "| 1.1B Q4_K | 1 | prefill | 150.0 | 100.0 | 1.50 x [1.50, 1.50] |  |" in lines
    assert "| 1.1B Q4_K | 1 | decode | 150.0 | 100.0 | 1.50 x [1.50, 1.50] | 94% |" in lines


def test_targets_without_a_result_are_not_measured() -> None:
    assert {measured for _, measured in outcomes(nothing)} == {None}


def test_only_what_stands_between_the_marks_is_rewritten() -> None:
    text = "before\n<!-- bench:memory -->\nold\n<!-- /bench -->\nafter <!-- bench:memory --> in a line\n"
    made = rewritten(text, stored().get)
    assert made.startswith("before\n<!-- bench:memory -->\n| handler |")
    assert made.endswith("\n<!-- /bench -->\nafter <!-- bench:memory --> in a line\n")
    assert "old" not in made
    assert rewritten(made, stored().get) == made


def test_an_encoders_cell_has_its_error_and_how_far_it_is_from_ggmls() -> None:
    lines = TABLES["quantization_error"](stored().get)
    assert lines[2].startswith("| gaussian | 7.00% (-12.5%, +0.0%) |")


def test_what_quantising_costs_is_a_share_of_the_perplexity() -> None:
    lines = TABLES["perplexity"](stored().get)
    assert lines[2] == "| as checked in | 3.97 | 7.389 | +0.00% |"
    assert lines[3] == "| Q4_K_M | 2.39 | 7.463 | +1.01% |"


def test_huge_pages_stand_beside_llama_cpp_as_installed_and_on_them() -> None:
    row = "| 1.1B Q4_K | 2 | 50.0 | 60.0 | 40.0 | 48.0 | 1.50 x [1.50, 1.50] | 1.25 x [1.25, 1.25] |"
    assert row in TABLES["huge_pages"](stored().get)


def test_loading_stands_beside_both_settings_of_llama_cpp() -> None:
    lines = TABLES["load"](stored().get)
    assert "| realizar-lambda | 100 [100, 100] | 1 | 110 | 18.5 | 600 |" in lines
    assert "| llama.cpp, no repacking | 150 [150, 150] | 1.50 x [1.50, 1.50] | 250 |  | 650 |" in lines


def test_prompt_lookup_stands_beside_single_steps() -> None:
    row = "| random 110M Q4_K | 2 | repeated | 200 | 320 | 1.60 x [1.60, 1.60] |"
    assert row in TABLES["prompt_lookup"](stored().get)


def test_the_cost_of_a_token_stands_beside_the_rates() -> None:
    row = "| 2 | 8000 | 4000 | 2.00 x [2.00, 2.00] | 125 | 5.5 [5.5, 5.5] |"
    assert row in TABLES["small_models"](stored().get)


def test_a_prefix_file_stands_beside_computing_the_prompt() -> None:
    lines = TABLES["prefix"](stored().get)
    assert lines[2] == "| prompt computed | 1000.0 [1000.0, 1000.0] | 1.000 x |"
    assert lines[3] == "| prefix mapped from a file | 50.0 [50.0, 50.0] | 0.050 x |"


def test_errors_of_logits_stand_beside_llama_cpps() -> None:
    assert "| llama-Q8_0 | 0.02 | 0.02 | 1.00 | 0.021 | 0.021 | 1.00 |" in TABLES["exactness"](stored().get)
    assert "| llama | 6.0e-07 |" in TABLES["exactness_families"](stored().get)


def test_a_table_that_there_is_not_is_named() -> None:
    with pytest.raises(UnknownTableError, match="no table is named 'speed'; there are cold_model, cold_start"):
        rewritten("<!-- bench:speed -->\n<!-- /bench -->\n")


def test_the_documents_say_what_the_stored_results_say() -> None:
    for path in documents():
        text = path.read_text()
        assert rewritten(text) == text, f"{path.name} is stale; run python -m bench.tables"


def stored_samples(value: object) -> list[tuple[str, list[float], dict[str, object]]]:
    """(name, samples, summary) of every leaf of a stored result."""

    def walk(samples: Any, summary: Any, name: str) -> list[tuple[str, list[float], dict[str, object]]]:
        if isinstance(samples, list):
            return [(name, samples, summary)]
        return [leaf for key in samples for leaf in walk(samples[key], summary[key], f"{name}/{key}")]

    assert isinstance(value, dict)
    return walk(value["samples"], value["summary"], "") if "samples" in value else []


@pytest.mark.parametrize("path", sorted(results.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_stored_summary_is_that_of_its_samples(path: Path) -> None:
    result = results.read(path.stem)
    assert result is not None
    for name, samples, summary in stored_samples(result):
        again = results.described(summarise(samples))
        for key, value in again.items():
            assert summary[key] == pytest.approx(value, abs=2e-3), f"{path.stem}{name} {key}"


@pytest.mark.parametrize("path", sorted(results.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_stored_result_names_no_folder_of_the_machine(path: Path) -> None:
    assert "/" not in path.read_text()


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"samples": {"a": [1.5, 2.0]}, "n": 1}
    path = results.write("one", value, folder=tmp_path)
    assert results.read("one", folder=tmp_path) == value
    assert '"a": [1.5, 2.0]' in path.read_text()
    assert results.read("two", folder=tmp_path) is None
    with pytest.raises(ValueError, match="JSON"):
        results.write("one", {"x": float("nan")}, folder=tmp_path)
    assert results.read("one", folder=tmp_path) == value
