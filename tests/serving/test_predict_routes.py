"""/predict and /predict/batch through a handler: answers, options, raw bytes."""

from __future__ import annotations

import json
import struct

import pytest
from serving.bodies import base64_text, post

from events.make_events import api_gateway_v2

OCTETS = {"content-type": "application/octet-stream"}


def ask(handler, event):
    response = handler(event, None)
    return response["statusCode"], json.loads(response["body"])


def test_a_prediction_has_the_fields_of_the_contract(handler):
    status, answer = ask(handler, post("/predict", {"features": [1, 2.5, 0]}))
    assert status == 200
    assert answer.pop("latency_ms") >= 0
    assert answer == {"prediction": 1, "label": "b", "model_version": "7", "cold_start": True}


def test_only_the_first_request_is_a_cold_start(handler):
    handler(api_gateway_v2("GET", "/health"), None)
    _, answer = ask(handler, post("/predict", {"features": [1, 2, 0]}))
    assert answer["cold_start"] is False


def test_probabilities_and_the_best_classes_come_when_asked_for(handler):
    options = {"return_probabilities": True, "top_k": 2}
    _, answer = ask(handler, post("/predict", {"features": [1, 2, 1], "options": options}))
    assert answer["probabilities"] == [0.25, 0.5, 0.25]
    assert answer["top_k"] == [
        {"index": 1, "label": "b", "probability": 0.5},
        {"index": 0, "label": "a", "probability": 0.25},
    ]


def test_null_means_default_everywhere(handler):
    value = {
        "features": [1, 2, 0],
        "model_id": None,
        "options": {"top_k": None, "return_probabilities": None},
    }
    status, answer = ask(handler, post("/predict", value))
    assert status == 200
    assert set(answer) == {"prediction", "label", "latency_ms", "model_version", "cold_start"}
    assert ask(handler, post("/predict", {"features": [1, 2, 0], "options": None}))[0] == 200


def test_a_named_model_answers(handler, log_lines):
    assert ask(handler, post("/predict", {"features": [1, 2, 0], "model_id": "other"}))[0] == 200
    assert log_lines[-1]["model"] == "other"


def test_a_body_in_base64_is_decoded(handler):
    body = base64_text(b'{"features": [3, 2, 1]}')
    status, answer = ask(handler, api_gateway_v2("POST", "/predict", body, is_base64=True))
    assert (status, answer["prediction"]) == (200, 0)


@pytest.mark.parametrize(
    "octets", [bytes([1, 5, 2]), struct.pack("<3f", 1, 5, 2)], ids=["u8 by its length", "f32 by its length"]
)
def test_raw_features_are_told_apart_by_their_length(handler, octets):
    event = api_gateway_v2("POST", "/predict", base64_text(octets), headers=OCTETS, is_base64=True)
    status, answer = ask(handler, event)
    assert (status, answer["prediction"]) == (200, 1)


def test_raw_features_take_model_and_options_from_the_query(handler, log_lines):
    event = api_gateway_v2(
        "POST",
        "/predict",
        base64_text(bytes([1, 5, 2])),
        headers=OCTETS,
        query={"model_id": "other", "return_probabilities": "true", "top_k": "1"},
        is_base64=True,
    )
    _, answer = ask(handler, event)
    assert answer["probabilities"] == [0.125, 0.625, 0.25]
    assert [best["label"] for best in answer["top_k"]] == ["b"]
    assert log_lines[-1]["model"] == "other"


@pytest.mark.parametrize(
    ("content_type", "octets", "status", "words"),
    [
        (
            "application/octet-stream; dtype=u8",
            struct.pack("<3f", 1, 2, 3),
            400,
            "must be 3 bytes (u8), got 12",
        ),
        ("application/octet-stream; dtype=f32", bytes(3), 400, "must be 12 bytes (f32), got 3"),
        ("application/octet-stream; dtype=f64", bytes(3), 415, "must be u8 or f32, got 'f64'"),
        ("application/octet-stream", bytes(5), 400, "must be 3 bytes (u8) or 12 bytes (f32), got 5 bytes"),
        ("application/octet-stream", b"", 400, "got 0 bytes"),
        (
            "application/octet-stream",
            struct.pack("<3f", 1, float("nan"), 3),
            400,
            "features[1] must be finite",
        ),
        ("application/octet-stream", struct.pack("<3f", 1, 2, float("-inf")), 400, "got -inf"),
    ],
)
def test_wrong_raw_features_are_refused(handler, content_type, octets, status, words):
    event = api_gateway_v2(
        "POST",
        "/predict",
        base64_text(octets),
        headers={"content-type": content_type},
        is_base64=True,
    )
    found, answer = ask(handler, event)
    assert found == status
    assert words in answer["error"]


@pytest.mark.parametrize("query", [{"top_k": "0"}, {"top_k": "x"}, {"top_k": "-1"}, {"return_probabilities": "1"}])
def test_wrong_query_options_are_refused(handler, query):
    event = api_gateway_v2("POST", "/predict", "abc", headers=OCTETS, query=query)
    status, answer = ask(handler, event)
    assert status == 422
    assert next(iter(query)) in answer["error"]


def test_a_batch_is_one_call_and_keeps_its_order(handler, application):
    value = {"instances": [{"features": [1, 0, 0]}, {"features": [0, 0, 1]}], "options": {"top_k": 1}}
    status, answer = ask(handler, post("/predict/batch", value))
    assert status == 200
    assert [item["prediction"] for item in answer["predictions"]] == [0, 2]
    assert (answer["success_count"], answer["error_count"]) == (2, 0)
    assert answer["total_latency_ms"] >= 0
    assert application.registry.get("abc").model.n_calls == 1


def test_one_wrong_instance_does_not_fail_the_others(handler):
    value = {"instances": [{"features": [1]}, {"features": [0, 0, 1]}, {"features": ["x", 1, 2]}, 5]}
    status, answer = ask(handler, post("/predict/batch", value))
    assert status == 200
    assert (answer["success_count"], answer["error_count"]) == (1, 3)
    wrong_length, right, wrong_type, no_object = answer["predictions"]
    assert "instances[0].features must have 3 numbers" in wrong_length["error"]
    assert right["prediction"] == 2
    assert "instances[2].features[0] must be a number, got a string" in wrong_type["error"]
    assert "instances[3] must be an object, got a number" in no_object["error"]


def test_a_batch_of_wrong_instances_only_is_still_answered(handler, application):
    status, answer = ask(handler, post("/predict/batch", {"instances": [{"features": []}]}))
    assert (status, answer["success_count"], answer["error_count"]) == (200, 0, 1)
    assert application.registry.get("abc").model.n_calls == 0


@pytest.mark.parametrize("n_instances", [0, 33])
def test_a_batch_over_or_under_its_limits_is_refused(handler, n_instances):
    status, answer = ask(handler, post("/predict/batch", {"instances": [{"features": [1, 2, 3]}] * n_instances}))
    assert status == 400
    assert f"must hold 1 to 32 items, got {n_instances}" in answer["error"]


def test_an_answer_that_is_not_finite_is_an_error_and_never_nan(handler):
    status, answer = ask(handler, post("/predict", {"features": [1, 2, 3], "model_id": "overflowing"}))
    assert status == 400
    assert answer["error"] == "model 'overflowing' has no finite answer to these features: they overflow it"
    batch = {"instances": [{"features": [1, 2, 3]}], "model_id": "overflowing"}
    status, answer = ask(handler, post("/predict/batch", batch))
    assert (status, answer["success_count"], answer["error_count"]) == (200, 0, 1)
    assert "no finite answer" in answer["predictions"][0]["error"]
