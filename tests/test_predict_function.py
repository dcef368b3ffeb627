"""`handlers.predict.handler` as Lambda runs it: the real runtime client, real events, the checked-in models."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.digits import read_digits
from lambda_emulator.entries import ENTRIES
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.function import Function
from lambda_emulator.phases import ROOT, measure_phases
from lambda_emulator.records import Invocation

HANDLER = "handlers.predict.handler"
MODEL = ROOT / "models" / "mnist_mlp.apr"
EVENTS = sorted((ROOT / "events").glob("*.json"))
PIXELS = list(read_digits()[7].pixels)

pytestmark = [
    pytest.mark.skipif(not MODEL.exists(), reason="models/mnist_mlp.apr is not there"),
    pytest.mark.skipif(importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is not installed"),
]


@pytest.fixture(scope="module")
def function() -> Iterator[Function]:
    with Function(HANDLER, cwd=ROOT) as emulated:
        yield emulated


def body_of(result: Invocation) -> dict[str, object]:
    """The JSON body of a proxy response that says 200."""
    assert not result.is_error, result.raw
    payload = result.payload
    assert isinstance(payload, dict)
    assert payload["statusCode"] == 200, payload
    body: dict[str, object] = json.loads(payload["body"])
    return body


def is_proxy_response(result: Invocation) -> bool:
    payload = result.payload
    return isinstance(payload, dict) and type(payload["statusCode"]) is int and isinstance(payload["body"], str)


def test_every_digit_of_the_demo_is_read(function: Function) -> None:
    for digit in read_digits():
        event = api_gateway_v2("POST", "/predict", {"features": list(digit.pixels)})
        found = body_of(function.invoke(event))
        assert (found["prediction"], found["label"]) == (digit.label, str(digit.label))


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_event_of_the_repository_is_answered(function: Function, path: Path) -> None:
    result = function.invoke(json.loads(path.read_text()))
    assert not result.is_error, result.raw
    if "requestContext" in json.loads(path.read_text()):
        body = result.payload
        assert is_proxy_response(result)
        assert isinstance(body, dict)
        assert body["statusCode"] == 200, body


def test_every_real_sample_gets_a_well_formed_answer(function: Function, data_dir: Path) -> None:
    samples = sorted((data_dir / "lambda-events").glob("*.json"))
    assert samples
    for path in samples:
        event = json.loads(path.read_text())
        result = function.invoke(event)
        if "requestContext" in event:
            assert not result.is_error, (path.name, result.raw)
            assert is_proxy_response(result), path.name
        else:
            json.loads(result.raw)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"features": PIXELS[:-1]}, 400),
        ({"features": []}, 400),
        ({"features": ["7"] * 784}, 422),
        ({"features": [[0] * 784]}, 422),
        ({"features": [1e39] * 784}, 400),
        ({"features": [float("inf")] * 784}, 422),
        ({"features": [float("nan")] * 784}, 422),
        ({"features": PIXELS, "model_id": "none"}, 404),
        ("{", 422),
    ],
)
def test_bad_input_has_its_status_and_the_next_request_works(function: Function, body: object, status: int) -> None:
    result = function.invoke(api_gateway_v2("POST", "/predict", body))
    assert not result.is_error
    assert isinstance(result.payload, dict)
    assert result.payload["statusCode"] == status, result.payload
    assert {"error", "code"} <= json.loads(result.payload["body"]).keys()
    assert body_of(function.invoke(api_gateway_v2("POST", "/predict", {"features": PIXELS})))["label"] == "7"


def test_only_the_first_answer_of_a_process_says_cold_start() -> None:
    event = api_gateway_v2("POST", "/predict", {"features": PIXELS})
    with Function(HANDLER, cwd=ROOT) as fresh:
        assert [body_of(fresh.invoke(event))["cold_start"] for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_model_is_loaded_while_the_handler_is_imported(entry: str) -> None:
    phases = measure_phases(HANDLER, api_gateway_v2("POST", "/predict", {"features": PIXELS}), cwd=ROOT, entry=entry)
    assert phases.model > 0
    assert min(phases.spawn, phases.runtime, phases.handler, phases.answer) > 0
