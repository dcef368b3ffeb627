"""The demo's judgement of answers, its table, and the whole of it as `make demo` runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.contenders import MODEL
from demo.__main__ import Reading, caption, predict_event, reading_of
from demo.digits import read_digits
from demo.story import FILE
from demo.timing import Times, table
from lambda_emulator.phases import ROOT, Phases
from lambda_emulator.records import Invocation

SEVEN = read_digits()[7]


def result(payload: object, *, is_error: bool = False) -> Invocation:
    return Invocation("id", json.dumps(payload).encode(), is_error, "E" if is_error else None, 1.0)


def answered(status: int, body: object) -> Invocation:
    return result({"statusCode": status, "body": json.dumps(body)})


def test_an_answer_is_read_from_the_proxy_response() -> None:
    found = reading_of(answered(200, {"prediction": 7, "label": "7", "probabilities": [0.25, 0.75]}))
    assert found == Reading("7", 0.75)
    assert caption(SEVEN, found, "->") == "7 -> 7  75.00%"


@pytest.mark.parametrize(
    "outcome",
    [
        answered(500, {"error": "no"}),
        answered(200, {"label": "7"}),
        answered(200, []),
        result({"errorType": "E"}, is_error=True),
        result("text"),
        Invocation("id", b"not json", False, None, 1.0),
    ],
)
def test_anything_else_is_a_fault_and_no_reading(outcome: Invocation) -> None:
    found = reading_of(outcome)
    assert found.fault is not None
    assert caption(SEVEN, found, "->") == "7: no answer"


def test_a_wrong_answer_is_called_wrong() -> None:
    assert caption(SEVEN, Reading("1", 0.5), "→") == "7 → 1  50.00% WRONG"


def test_an_event_is_an_http_apis() -> None:
    event = predict_event(SEVEN)
    assert (event["version"], event["rawPath"]) == ("2.0", "/predict")
    assert json.loads(str(event["body"]))["features"] == list(SEVEN.pixels)


def test_the_table_has_every_phase_the_totals_and_the_ratio() -> None:
    times = {
        "empty": Times([40.0, 41.0, 39.0], [0.2], [Phases(12, 26, 0.5, 0, 1.0)], "awslambdaric"),
        "predict": Times([44.0, 45.0, 43.0], [0.4], [Phases(12, 26, 3, 2, 1.5)], "our loop"),
    }
    lines = table(times).splitlines()
    assert lines[0].split() == ["ms,", "median", "empty", "predict"]
    assert lines[1].split() == ["started", "by", "awslambdaric", "our", "loop"]
    cells = {line[:23].strip(): line[23:].split() for line in lines[3:]}
    assert cells["model load"] == ["0.00", "2.00"]
    assert cells["cold start, all of it"] == ["40.00", "44.00"]
    assert cells["against empty"] == ["1.00", "x", "1.10", "x"]
    assert cells["warm answer"] == ["0.20", "0.40"]
    assert max(map(len, lines)) <= 80


@pytest.mark.skipif(not MODEL.exists(), reason="models/mnist_mlp.apr is not there")
def test_the_demo_reads_every_digit_and_ends_with_cold_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--starts", "1", "--emulator", "own"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 of 10 digits are right" in done.stdout
    assert "cold start, all of it" in done.stdout
    assert ("per second" in done.stdout) == FILE.exists()
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_number_of_starts_below_one_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--starts", "0"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "--starts must be at least 1, got 0" in done.stderr
