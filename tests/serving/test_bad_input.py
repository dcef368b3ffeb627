"""Bad input to /predict: each is a clear error of the contract, and the next request works."""

from __future__ import annotations

import json

import pytest
from serving.bodies import base64_text

from events.make_events import api_gateway_v2

DEEP = '{"features": ' + "[" * 40 + "]" * 40 + "}"
VERY_DEEP = "[" * 100_000

BAD_BODIES = [
    # name, body, status, what the message says
    ("too short", '{"features": [1, 2]}', 400, "features must have 3 numbers for model 'abc', got 2"),
    ("too long", '{"features": [1, 2, 3, 4]}', 400, "got 4"),
    ("empty features", '{"features": []}', 400, "got 0"),
    ("NaN", '{"features": [1, NaN, 3]}', 422, "JSON has no NaN"),
    ("infinity", '{"features": [1, -Infinity, 3]}', 422, "JSON has no -Infinity"),
    ("infinity by magnitude", '{"features": [1, 1e999, 3]}', 400, "features[1] must be finite"),
    ("past f32", '{"features": [1, 2, -1e39]}', 400, "features[2] must be finite and within ±3.4028235e+38"),
    ("past a float", '{"features": [1, 2, 1' + "0" * 400 + "]}", 400, "features[2] must be finite"),
    ("past any integer", '{"features": [1, 2, 1' + "0" * 5000 + "]}", 422, "an integer has too many digits"),
    ("strings", '{"features": ["1", 2, 3]}', 422, "features[0] must be a number, got a string"),
    ("booleans", '{"features": [1, 2, true]}', 422, "features[2] must be a number, got a boolean"),
    ("nulls", '{"features": [1, null, 3]}', 422, "features[1] must be a number, got null"),
    ("nested lists", '{"features": [[1, 2, 3]]}', 422, "features[0] must be a number, got an array"),
    ("a string for the list", '{"features": "1,2,3"}', 422, "features must be an array of numbers, got a string"),
    ("no features", "{}", 422, "the field features is missing"),
    ("null features", '{"features": null}', 422, "the field features is missing"),
    ("a million features", json.dumps({"features": [0] * 1_000_000}), 413, "must have at most 1048576 bytes"),
    ("100,000 features", json.dumps({"features": [0] * 100_000}), 400, "got 100000"),
    ("not JSON", "features=1,2,3", 422, "the body is not valid JSON: Expecting value at line 1, column 1"),
    ("JSON with a tail", '{"features": [1, 2, 3]} x', 422, "Extra data at line 1, column 25"),
    ("a byte order mark", '\ufeff{"features": [1, 2, 3]}', 422, "not valid JSON"),
    ("an array", "[1, 2, 3]", 422, "the body must be an object, got an array"),
    ("a number", "5", 422, "the body must be an object, got a number"),
    ("an empty body", "", 422, "the body is empty"),
    ("a blank body", " \n ", 422, "the body is empty"),
    ("no body", None, 422, "the body is empty"),
    ("an object as body", {"features": [1, 2, 3]}, 422, "the event's body must be a string or null, got an object"),
    ("an unknown field", '{"features": [1, 2, 3], "model": "x"}', 422, "unknown field 'model'; known fields:"),
    ("an unknown option", '{"features": [1, 2, 3], "options": {"k": 1}}', 422, "unknown field options.'k'"),
    ("a key twice", '{"features": [1], "features": [1, 2, 3]}', 422, "the key 'features' occurs twice"),
    ("too deep", DEEP, 422, "JSON may be nested at most 32 deep"),
    ("much too deep", VERY_DEEP, 422, "JSON may be nested at most 32 deep"),
    ("an unknown model", '{"features": [1, 2, 3], "model_id": "x"}', 404, "no model is named 'x'; known models: abc"),
    ("a path as model", '{"features": [1], "model_id": "../abc"}', 404, "no model is named '../abc'"),
    ("a NUL in the model", '{"features": [1], "model_id": "a\\u0000"}', 404, "no model is named"),
    ("a surrogate in the model", '{"features": [1], "model_id": "\\ud800"}', 404, "no model is named"),
    ("a long model name", '{"features": [1], "model_id": "' + "x" * 9999 + '"}', 404, "xxx..."),
    ("a number for the model", '{"features": [1], "model_id": 5}', 422, "model_id must be a string, got a number"),
    ("a generator", '{"features": [1, 2, 3], "model_id": "story"}', 400, "model 'story' generates text"),
    ("top_k of 0", '{"features": [1, 2, 3], "options": {"top_k": 0}}', 400, "options.top_k must be at least 1, got 0"),
    ("top_k too large", '{"features": [1, 2, 3], "options": {"top_k": 4}}', 400, "options.top_k must be 1 to 3"),
    ("top_k true", '{"features": [1, 2, 3], "options": {"top_k": true}}', 422, "must be an integer, got a boolean"),
    ("top_k 1.0", '{"features": [1, 2, 3], "options": {"top_k": 1.0}}', 422, "options.top_k must be an integer"),
    ("a flag of 1", '{"features": [1], "options": {"return_probabilities": 1}}', 422, "must be true or false"),
    ("options as list", '{"features": [1, 2, 3], "options": []}', 422, "options must be an object, got an array"),
]  # fmt: skip


def predict(handler, body, **options):
    response = handler(api_gateway_v2("POST", "/predict", body, **options), None)
    return response["statusCode"], json.loads(response["body"])


@pytest.mark.parametrize(("body", "status", "words"), [row[1:] for row in BAD_BODIES], ids=[r[0] for r in BAD_BODIES])
def test_a_bad_body_is_refused_and_the_next_request_works(handler, body, status, words):
    found, answer = predict(handler, body)
    assert (found, set(answer)) == (status, {"error", "code"})
    assert words in answer["error"]
    assert len(answer["error"]) < 400
    assert predict(handler, '{"features": [1, 2, 3]}')[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("not base64!", 422, "marked as base64 and is not"),
        ("AAA", 422, "marked as base64 and is not"),
        ("ä===", 422, "marked as base64 and is not"),
        (base64_text(b"\xff\xfe{}"), 422, "the body is not UTF-8: byte 0 is 0xff"),
        (base64_text(b"{" * 1_048_577), 413, "at most 1048576 bytes"),
        ("A" * 4_000_000, 413, "at most 1048576 bytes"),
    ],
)
def test_bad_base64_is_refused_and_the_next_request_works(handler, body, status, words):
    found, answer = predict(handler, body, is_base64=True)
    assert found == status
    assert words in answer["error"]
    assert predict(handler, '{"features": [1, 2, 3]}')[0] == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json", "multipart/x"],
)
def test_another_content_type_is_refused_by_name(handler, content_type):
    status, answer = predict(handler, '{"features": [1, 2, 3]}', headers={"content-type": content_type})
    assert (status, answer["code"]) == (415, "E_CONTENT_TYPE")
    assert content_type in answer["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "Application/JSON; Charset=UTF-8"},
        {"CONTENT-TYPE": "application/vnd.api+json"},
        {"accept": "*/*"},
    ],
)
def test_json_is_recognised_however_it_is_spelled(handler, headers):
    assert predict(handler, '{"features": [1, 2, 3]}', headers=headers)[0] == 200


def test_a_body_of_surrogates_in_raw_features_is_refused(handler):
    event = api_gateway_v2("POST", "/predict", "\ud800", headers={"content-type": "application/octet-stream"})
    response = handler(event, None)
    assert response["statusCode"] == 422
    assert "lone surrogate" in json.loads(response["body"])["error"]


def test_the_size_is_counted_in_bytes_and_not_in_characters(handler):
    status, answer = predict(handler, '"' + "ä" * 600_000 + '"')
    assert (status, answer["code"]) == (413, "E_TOO_LARGE")
    assert "got 1200002" in answer["error"]


def test_a_broken_model_file_is_an_error_without_a_path_and_others_still_answer(handler, log_lines):
    status, answer = predict(handler, '{"features": [1, 2, 3], "model_id": "broken"}')
    assert status == 500
    assert answer == {
        "error": "broken.apr, byte 4: the version is 9, it must be 2",
        "code": "E_MODEL_FORMAT",
        "request_id": "JKJaXmPLvHcESHA=",
    }
    assert predict(handler, '{"features": [1, 2, 3]}')[0] == 200
