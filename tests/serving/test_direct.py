"""Direct invocations and queue messages: the JSON itself comes back, and errors raise."""

from __future__ import annotations

import json
import math

import pytest

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.routes import ROUTES


def test_bare_features_are_a_prediction(handler):
    answer = handler({"features": [1, 2, 0]}, None)
    assert (answer["prediction"], answer["label"]) == (1, "b")


def test_an_action_is_its_route(handler):
    options = {"top_k": 1}
    answer = handler({"action": "predict", "features": [1, 2, 0], "model_id": "other", "options": options}, None)
    assert answer["top_k"][0]["index"] == 1
    batch = handler({"action": "predict_batch", "instances": [{"features": [1, 2, 0]}]}, None)
    assert batch["success_count"] == 1
    assert handler({"action": "health"}, None)["status"] == "healthy"
    assert handler({"action": "ready"}, None)["ready"] is True
    assert "realizar_requests_total 4" in handler({"action": "metrics"}, None)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.action)
def test_every_route_has_an_action_of_its_own(route, application):
    assert application.router.by_action[route.action] is route


@pytest.mark.parametrize(
    ("event", "status", "code", "words"),
    [
        ({"features": [1, 2]}, 400, "E_BAD_VALUE", "features must have 3 numbers"),
        ({"features": [1, 2, math.nan]}, 400, "E_BAD_VALUE", "features[2] must be finite"),
        ({"features": [1, math.inf, 2]}, 400, "E_BAD_VALUE", "features[1] must be finite"),
        ({"features": [1, 2, 10**400]}, 400, "E_BAD_VALUE", "features[2] must be finite"),
        ({"action": "generate", "prompt": "a", "temperature": math.nan}, 400, "E_BAD_VALUE", "temperature must be in"),
        ({"action": "generate", "prompt": "a", "top_p": -math.inf}, 400, "E_BAD_VALUE", "top_p must be in"),
        ({"action": "generate", "prompt": "\ud800"}, 400, "E_BAD_VALUE", "prompt must be Unicode text"),
        ({"action": "generate", "prompt": "!"}, 500, "E_INTERNAL", "logits must be finite"),
        ({"action": "generate", "features": [1]}, 422, "E_MALFORMED", "unknown field 'features'"),
        ({"action": "tokenize"}, 422, "E_MALFORMED", "the field text is missing"),
        ({"features": [1, 2, 3], "model_id": "x"}, 404, "E_MODEL_NOT_FOUND", "no model is named 'x'"),
        ({"features": [1, 2, 3], "model_id": "broken"}, 500, "E_MODEL_FORMAT", "broken.apr, byte 4"),
        ({"features": [[[]]] * 3}, 422, "E_MALFORMED", "features[0] must be a number"),
        ({"action": "learn"}, 422, "E_MALFORMED", "action must be one of batch_generate, batch_tokenize, detokenize,"),
        ({"action": 5}, 422, "E_MALFORMED", "got '5'"),
        ({"action": ["predict"]}, 422, "E_MALFORMED", "action must be one of"),
        ({}, 422, "E_MALFORMED", "the event is not understood"),
        ({"Records": []}, 422, "E_MALFORMED", "the event is not understood"),
        ({"Records": [{"eventSource": "aws:kinesis"}]}, 422, "E_MALFORMED", "the event is not understood"),
        ([1, 2, 3], 422, "E_MALFORMED", "an event must be an object, got an array"),
        (None, 422, "E_MALFORMED", "an event must be an object, got null"),
        ("predict", 422, "E_MALFORMED", "an event must be an object, got a string"),
    ],
)
def test_an_error_raises_with_status_and_code_and_the_next_works(handler, event, status, code, words):
    with pytest.raises(RequestError) as caught:
        handler(event, None)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert words in str(caught.value)
    assert handler({"features": [1, 2, 0]}, None)["prediction"] == 1


def test_values_nested_too_deep_are_refused_without_a_recursion(handler):
    value: list = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(RequestError, match="nested at most 32 deep"):
        handler({"features": value}, None)


def record(message_id, body) -> dict:
    return {"eventSource": "aws:sqs", "messageId": message_id, "body": body}


def test_a_queue_gets_the_messages_that_failed_and_the_log_the_answers(handler, log_lines):
    event = {
        "Records": [
            record("right", json.dumps({"features": [1, 2, 0]})),
            record("wrong", json.dumps({"features": [1]})),
            record("not json", "hello"),
            record("a batch", json.dumps({"action": "predict_batch", "instances": [{"features": [3, 2, 1]}]})),
            record("no answer", json.dumps({"action": "health"})),
            record("an array", "[]"),
            record("no body", None),
        ]
    }
    failures = handler(event, None)["batchItemFailures"]
    assert [failure["itemIdentifier"] for failure in failures] == [
        "wrong",
        "not json",
        "no answer",
        "an array",
        "no body",
    ]
    answers = {line["message_id"]: line for line in log_lines if line["event"] == "message_answered"}
    assert answers["right"]["answer"]["prediction"] == 1
    assert answers["a batch"]["answer"]["success_count"] == 1
    failed = {line["message_id"]: line["code"] for line in log_lines if line["event"] == "message_failed"}
    assert failed["wrong"] == "E_BAD_VALUE"


@pytest.mark.parametrize("bad", [record("", "{}"), record(None, "{}"), 5])
def test_a_message_without_an_id_fails_the_whole_batch(handler, bad):
    event = {"Records": [record("first", '{"features": [1, 2, 0]}'), bad]}
    with pytest.raises(RequestError, match=r"Records\[1\]\.messageId"):
        handler(event, None)
