"""The text function's entry point: every text event in events/, and the whole of it under the real runtime client."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from events.make_events import FOLDER, ONCE, api_gateway_v2
from lambda_emulator.function import Function
from realizar_lambda.serving.lambda_handler import make_handler

ROOT = Path(__file__).resolve().parent.parent.parent
EVENTS = sorted([*FOLDER.glob("*generate-*.json"), *FOLDER.glob("*tokenize-*.json")])
PREDICTION = {"features": [0.5] * 784}

needs_runtime_client = pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is not installed (the `lambda` extra)"
)


@pytest.fixture(scope="module")
def environ(data_dir, tmp_path_factory):
    """A models folder with a story model and a classifier."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(data_dir / "models" / "stories260K" / "derived" / "stories260K-f32.gguf", folder / "stories.gguf")
    shutil.copy(data_dir / "apr" / "mnist_784x2.apr", folder)
    return {"REALIZAR_MODELS_DIR": str(folder)}


@pytest.fixture(scope="module")
def handler(environ):
    return make_handler(environ, warm=("POST", "/generate"))


def test_there_are_events_of_six_routes_from_six_sources():
    assert len(EVENTS) == 36


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_text_event_is_answered_with_success(handler, path):
    answer = handler(json.loads(path.read_text()), None)
    if path.stem.endswith("-direct"):
        value = answer
    else:
        assert answer["statusCode"] == 200
        value = answer["body"] if path.stem.startswith("stream") else json.loads(answer["body"])
    if path.stem.startswith("stream"):
        assert value.count("event: token\n") == 8
        assert value.count("event: done\n") == 1
    elif path.stem.startswith("generate"):
        assert value["text"] == ONCE + value["completion"]
        assert value["num_generated"] == 40
    elif path.stem.startswith("batch"):
        assert ["error" in item for item in value["results"]] == [False, False]
    elif path.stem.startswith("tokenize"):
        assert "".join(value["pieces"][1:]).strip() == ONCE


def test_warming_it_loads_the_story_model_and_no_other(environ):
    handler = make_handler(environ, warm=("POST", "/generate"))
    assert [model["loaded"] for model in handler({"action": "models"}, None)["models"]] == [False, True]


def test_it_answers_predictions_too(handler):
    assert handler(PREDICTION, None)["prediction"] == 1


@pytest.fixture(scope="module")
def function(environ):
    """The handler under awslambdaric, with ten seconds for each answer."""
    with Function("handlers.generate.handler", env=environ, cwd=ROOT, timeout_seconds=10) as function:
        yield function


@needs_runtime_client
def test_the_real_runtime_client_carries_text_as_the_reference_has_it(function, data_dir):
    folder = data_dir / "models" / "stories260K" / "derived"
    for case in json.loads((folder / "stories260K.reference.json").read_text())["cases"]:
        event = api_gateway_v2("POST", "/generate", json.dumps({"prompt": case["prompt"], "max_tokens": 30}))
        answer = function.invoke(event).payload
        assert answer["statusCode"] == 200
        assert json.loads(answer["body"])["token_ids"] == case["all_ids"][: len(case["prompt_ids"]) + 30]


@needs_runtime_client
def test_errors_and_streams_pass_the_runtime_client_and_the_function_lives_on(function):
    refused = function.invoke(api_gateway_v2("POST", "/generate", json.dumps({"prompt": "a" * 5000}))).payload
    assert (refused["statusCode"], json.loads(refused["body"])["code"]) == (413, "E_CONTEXT_LENGTH_EXCEEDED")
    failed = function.invoke({"action": "generate", "prompt": "a", "top_p": 2})
    assert (failed.is_error, failed.error_type) == (True, "RequestError")
    streamed = function.invoke(api_gateway_v2("POST", "/stream/generate", json.dumps({"prompt": "a", "max_tokens": 2})))
    assert streamed.payload["body"].count("event: token\n") == 2
    assert function.invoke({"action": "tokenize", "text": "a"}).payload["num_tokens"] == 2
    assert "aaaa" not in function.logs()


@needs_runtime_client
def test_a_function_that_runs_out_of_time_answers_with_what_it_has(environ):
    slow = {**environ, "REALIZAR_RESERVE_MS": "5990"}
    with Function("handlers.generate.handler", env=slow, cwd=ROOT, timeout_seconds=6) as function:
        answer = function.invoke({"action": "generate", "prompt": "Once", "max_tokens": 400}).payload
        assert answer["finish_reason"] == "timeout"
        assert answer["num_generated"] < 400
        assert answer["text"] == "Once" + answer["completion"]
