"""Making the handler: from an environment, warmed, with the garbage collector left as it was."""

from __future__ import annotations

import gc
import json
import shutil

import pytest

from events.make_events import api_gateway_v2
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.serving.lambda_handler import make_handler


@pytest.fixture
def environ(data_dir, tmp_path):
    shutil.copy(data_dir / "apr" / "mnist_784x2.apr", tmp_path)
    return {"REALIZAR_MODELS_DIR": str(tmp_path)}


def test_a_handler_answers_with_the_models_of_its_environment(environ, capsys):
    handler = make_handler(environ, warm=("POST", "/predict"))
    response = handler(api_gateway_v2("POST", "/predict", json.dumps({"features": [0] * 784})), None)
    assert json.loads(response["body"])["model_version"] == "f38814fe"
    line = json.loads(capsys.readouterr().out)
    assert (line["route"], line["model"]) == ("/predict", "mnist_784x2")


def test_warming_loads_the_model_before_the_first_event(environ):
    event = api_gateway_v2("GET", "/models")
    cold, warm = make_handler(environ), make_handler(environ, warm=("POST", "/predict"))
    loaded = [json.loads(handler(event, None)["body"])["models"][0]["loaded"] for handler in (cold, warm)]
    assert loaded == [False, True]


@pytest.mark.parametrize("is_collecting", [True, False])
def test_the_garbage_collector_is_left_as_it_was(environ, is_collecting):
    try:
        (gc.enable if is_collecting else gc.disable)()
        make_handler(environ)
        assert gc.isenabled() is is_collecting
        with pytest.raises(UnsupportedError):
            make_handler({"REALIZAR_MAX_BATCH": "many"})
        assert gc.isenabled() is is_collecting
    finally:
        gc.enable()
        gc.unfreeze()
