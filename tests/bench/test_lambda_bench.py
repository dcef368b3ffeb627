"""Cold starts in containers: who starts side by side, what counts as an answer, what is told of it. No engine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from bench import cold_model
from bench.container_images import PACKAGED, PEERS, _write_context, available
from bench.container_starts import MEASURES, checked, event_of, groups
from bench.lambda_bench import against
from bench.lambda_tables import table
from demo.digits import read_digits
from lambda_emulator import probe
from lambda_emulator.container import cpu_share
from lambda_emulator.records import Invocation

BY_NAME = {one.name: one for one in PACKAGED}


def answered(body: object, status: int = 200) -> Invocation:
    raw = json.dumps({"statusCode": status, "body": json.dumps(body)}).encode()
    return Invocation(request_id="1", raw=raw, is_error=False, error_type=None, duration_ms=1.0)


@pytest.mark.parametrize(("memory_mb", "expected"), [(128, 9), (512, 3), (1769, 1), (10240, 1)])
def test_those_that_start_side_by_side_take_half_of_the_machine_at_most(memory_mb: int, expected: int) -> None:
    found = list(groups(PACKAGED, memory_mb, 2))
    assert len(found[0]) == min(expected, len(PACKAGED))
    assert [one.name for group in found for one in group] == [one.name for one in PACKAGED]
    assert len(found[0]) == 1 or len(found[0]) * cpu_share(memory_mb) <= 1.0


def test_a_share_of_one_cpu_is_what_lambda_says() -> None:
    assert cpu_share(1769) == 1.0
    assert cpu_share(128) == pytest.approx(0.0724, abs=1e-4)


def test_generators_are_asked_for_one_token_and_classifiers_for_a_digit() -> None:
    digit = read_digits()[0]
    asked = json.loads(str(event_of(BY_NAME["llama_cpp"], digit)["body"]))
    assert (asked["max_tokens"], asked["strategy"]) == (1, "greedy")
    assert json.loads(str(event_of(BY_NAME["torch"], digit)["body"]))["features"] == list(digit.pixels)


def test_another_text_or_another_probability_is_a_wrong_answer() -> None:
    from bench.contenders import WrongAnswerError

    assert checked(BY_NAME["generate"], answered({"text": "Once upon a time,"}), None, "") == ","
    with pytest.raises(WrongAnswerError, match="went on with ' there', expected ','"):
        checked(BY_NAME["llama_cpp"], answered({"text": " there"}), ",", "")
    with pytest.raises(WrongAnswerError, match="went on with ''"):
        checked(BY_NAME["generate"], answered({"text": ""}), None, "")
    with pytest.raises(WrongAnswerError, match="answered"):
        checked(BY_NAME["generate"], answered({"error": "no"}, 500), None, "")
    with pytest.raises(WrongAnswerError, match=r"answered \[0.25, 0.75\]"):
        checked(BY_NAME["numpy"], answered({"probabilities": [0.25, 0.75]}), [0.5, 0.5], "")
    assert checked(BY_NAME["empty"], answered({}), None, "") is None


@pytest.mark.parametrize(
    ("ours", "is_significant"),
    [([10.0, 10.1, 9.9, 10.0], True), ([20.0, 19.0, 21.0, 20.5], False), ([40.0, 41.0, 39.0, 40.0], True)],
)
def test_a_difference_counts_where_the_interval_of_the_ratio_leaves_one_out(
    ours: list[float], is_significant: bool
) -> None:
    samples = {"empty": {"total_ms": [20.0, 20.1, 19.9, 20.0]}, "predict": {"total_ms": ours}}
    assert against(samples, "predict", "empty")["is_significant"] is is_significant


def test_who_does_not_fit_is_told_and_not_left_out_of_the_table() -> None:
    measures = {name: [30.0, 30.0] for name in MEASURES}
    size = {
        "samples": {"empty": measures},
        "against_empty": {},
        "left_out": {"torch": "killed for memory"},
        "compiled": {},
    }
    result = {
        "commit": "0123456789ab",
        "date": "2026-01-02",
        "machine": {"cpu": "A CPU", "cores": 2, "memory_gib": 4.0, "system": "Linux 6"},
        "versions": {},
        "sizes": {"128": size},
        "added_bytes": {"base": 1, "empty": 1},
    }
    assert "| PyTorch | 128 | killed for memory | | | | | |" in table(lambda name: result)


def test_a_peers_context_holds_its_handler_its_model_and_no_bytecode(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("model.npz", "model.onnx", "stories-q4_k.gguf"):
        (models / name).write_bytes(b"x")
    context = tmp_path / "context"
    context.mkdir()
    numpy = BY_NAME["numpy"]
    if numpy not in available(sys.executable):
        pytest.skip("NumPy is not installed")
    _write_context(numpy, context, models=models, python=sys.executable)
    assert {path.name for path in (context / "task").iterdir()} == {"numpy_mlp.py", "model.npz"}
    assert (context / "packages" / "numpy" / "__init__.py").exists()
    assert not list(context.rglob("*.pyc"))
    assert (context / "Dockerfile").read_bytes() == (PEERS / "Dockerfile").read_bytes()


def test_every_peer_has_its_handler() -> None:
    for one in PACKAGED:
        if not one.is_ours and one.kind != "empty":
            assert (
                f"\ndef {one.handler.partition('.')[2]}(" in (PEERS / f"{one.handler.partition('.')[0]}.py").read_text()
            )


def test_the_probe_takes_the_place_of_either_entry() -> None:
    assert probe.entry(["python3", "-m", "awslambdaric"], "/p.py", "/n") == ["python3", "/p.py", "/n"]
    assert probe.entry(["python3", "-S", "-c", "run()"], "/p.py", "/n") == ["python3", "-S", "/p.py", "/n"]


def test_what_stays_in_memory_is_not_taken_for_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(1 << 20))
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: None)
    with pytest.raises((cold_model.StillInMemoryError, OSError), match=r"byte 0 of model.gguf is still|not supported"):
        cold_model.forget(path)
