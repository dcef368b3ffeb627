"""The Lambda entry point, in this process and under the real runtime client; and every event in events/."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from events.make_events import FOLDER, api_gateway_v2, as_text, make_events, read_digit
from lambda_emulator.function import Function

ROOT = Path(__file__).resolve().parent.parent.parent
EVENTS = sorted(FOLDER.glob("*.json"))
ABOUT_TEXT = [path for path in EVENTS if "generate" in path.stem or "tokenize" in path.stem]
OTHERS = [path for path in EVENTS if path not in ABOUT_TEXT]

needs_runtime_client = pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is not installed (the `lambda` extra)"
)
needs_trained_models = pytest.mark.skipif(
    not all((ROOT / "models" / f"{name}.apr").exists() for name in ("iris", "mnist_mlp")),
    reason="the trained models are not there: `python -m models.train` makes them",
)


def test_the_events_are_those_that_the_script_writes():
    made = {f"{stem}.json": as_text(event) for stem, event in make_events(read_digit()).items()}
    assert {path.name: path.read_text() for path in EVENTS} == made


@needs_trained_models
@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_every_event_is_answered_with_success(path):
    from handlers.predict import handler

    answer = handler(json.loads(path.read_text()), None)
    if path.stem == "predict-sqs":
        assert answer == {"batchItemFailures": []}
        return
    if path.stem.endswith("-direct"):
        value = answer
    else:
        assert answer["statusCode"] == 200
        value = json.loads(answer["body"]) if not path.stem.startswith("metrics") else answer["body"]
    if path.stem.startswith("predict-pixels"):
        assert value["label"] == "0"
    elif path.stem.startswith("predict-batch"):
        assert [item["label"] for item in value["predictions"]] == ["setosa", "virginica"]
    elif path.stem.startswith("predict"):
        assert value["label"] == "setosa"


@pytest.fixture(scope="module")
def function(data_dir, tmp_path_factory):
    """The handler under awslambdaric, with the real two-class model as its only one."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(data_dir / "apr" / "mnist_784x2.apr", folder)
    (folder / "broken.apr").write_bytes(b"APRN")
    environ = {"REALIZAR_MODELS_DIR": str(folder), "REALIZAR_MODEL": "mnist_784x2"}
    with Function("handlers.predict.handler", env=environ, cwd=ROOT) as function:
        yield function


@needs_runtime_client
def test_the_real_runtime_client_carries_a_prediction(function):
    event = api_gateway_v2("POST", "/predict", json.dumps({"features": [0.5] * 784}))
    answer = function.invoke(event).payload
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["prediction"] == 1


@needs_runtime_client
def test_an_http_error_is_an_answer_and_a_direct_one_a_function_error(function):
    event = api_gateway_v2("POST", "/predict", json.dumps({"features": [0.5]}))
    answered = function.invoke(event)
    assert (answered.is_error, answered.payload["statusCode"]) == (False, 400)
    failed = function.invoke({"features": [0.5]})
    assert (failed.is_error, failed.error_type) == (True, "RequestError")
    assert "features must have 784 numbers" in failed.payload["errorMessage"]
    assert function.invoke({"features": [0.5] * 784}).payload["prediction"] == 1


@needs_runtime_client
def test_a_broken_model_file_stops_nothing(function):
    event = api_gateway_v2("POST", "/predict", json.dumps({"features": [0.5], "model_id": "broken"}))
    answer = function.invoke(event).payload
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (500, "E_MODEL_FORMAT")
    assert function.invoke({"action": "ready"}).payload == {"ready": True, "models": ["mnist_784x2"]}


@needs_runtime_client
def test_each_request_leaves_one_json_line_with_its_id(function):
    invocation = function.invoke(api_gateway_v2("GET", "/health"))
    line = [line for line in function.logs().splitlines() if '"event":"request"' in line][-1]
    record = json.loads(line)
    assert (record["request_id"], record["route"], record["status"]) == (invocation.request_id, "/health", 200)


@needs_runtime_client
def test_a_default_model_that_does_not_load_is_an_answer_and_not_an_init_error(tmp_path):
    (tmp_path / "broken.apr").write_bytes(b"APRN")
    environ = {"REALIZAR_MODELS_DIR": str(tmp_path)}
    with Function("handlers.predict.handler", env=environ, cwd=ROOT) as function:
        answer = function.invoke(api_gateway_v2("GET", "/ready")).payload
        assert answer["statusCode"] == 503
        assert "broken.apr" in json.loads(answer["body"])["error"]
        assert "default_model_not_loaded" in function.logs()
