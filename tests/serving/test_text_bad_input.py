"""Bad input to the text routes: each is a clear error of the contract, and the next request works."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.bodies import post
from serving.test_events import assert_is_proxy_response
from serving.test_text_routes import BODIES

HUGE = "1" + "0" * 400

GENERATE = [
    # what the body has besides a prompt, status, what the message says
    ('"max_tokens": 0', 400, "max_tokens must be at least 1, got 0"),
    ('"max_tokens": -5', 400, "max_tokens must be at least 1, got -5"),
    ('"max_tokens": 4097', 400, "max_tokens must be at most 4096, got 4097"),
    (f'"max_tokens": {HUGE}', 400, "max_tokens must be at most 4096, got a number past 1e300"),
    (f'"max_tokens": -{HUGE}', 400, "max_tokens must be at least 1, got a number past 1e300"),
    ('"max_tokens": true', 422, "max_tokens must be an integer, got a boolean"),
    ('"max_tokens": 5.0', 422, "max_tokens must be an integer, got a number"),
    ('"max_tokens": "5"', 422, "max_tokens must be an integer, got a string"),
    ('"max_tokens": 100', 413, "the context has room for 64"),
    ('"strategy": "beam"', 400, "strategy must be one of greedy, top_k, top_p, sample, got 'beam'"),
    ('"strategy": ""', 400, "strategy must be one of"),
    ('"strategy": 5', 422, "strategy must be a string, got a number"),
    ('"temperature": -0.1', 400, "temperature must be in [0, 2], got -0.1"),
    ('"temperature": 2.5', 400, "temperature must be in [0, 2], got 2.5"),
    ('"temperature": 1e999', 400, "temperature must be in [0, 2], got inf"),
    (f'"temperature": {HUGE}', 400, "temperature must be in [0, 2]"),
    ('"temperature": NaN', 422, "JSON has no NaN"),
    ('"temperature": true', 422, "temperature must be a number"),
    ('"temperature": "1"', 422, "temperature must be a number"),
    ('"temperature": [1]', 422, "temperature must be a number"),
    ('"strategy": "top_k", "top_k": -1', 400, "top_k must be"),
    ('"strategy": "top_k", "top_k": 2.0', 422, "top_k must be an integer"),
    ('"top_k": "many"', 422, "top_k must be an integer"),
    (f'"top_k": {HUGE}', 400, "top_k must be"),
    ('"strategy": "top_p", "top_p": 0', 400, "top_p must be in (0, 1], got 0"),
    ('"strategy": "top_p", "top_p": 1.7', 400, "top_p must be in (0, 1], got 1.7"),
    ('"top_p": 1.7', 400, "top_p must be in (0, 1], got 1.7"),
    ('"min_p": -0.5', 400, "min_p must be in [0, 1], got -0.5"),
    ('"repetition_penalty": 0', 400, "repetition_penalty must be in"),
    ('"presence_penalty": 2.1', 400, "presence_penalty must be in [-2, 2], got 2.1"),
    ('"frequency_penalty": -3', 400, "frequency_penalty must be in [-2, 2], got -3"),
    ('"seed": 1.5', 422, "seed must be an integer"),
    (f'"seed": {HUGE}', 400, "seed must be"),
    ('"logprobs": 21', 400, "logprobs must be an integer in [0, 20], got 21"),
    ('"logprobs": true', 422, "logprobs must be an integer"),
    ('"stop": ""', 400, "stop must not be empty"),
    ('"stop": ["a", ""]', 400, "stop[1] must not be empty"),
    ('"stop": 5', 422, "stop must be a string, got a number"),
    ('"stop": [["a"]]', 422, "stop[0] must be a string, got an array"),
    ('"stop": {"a": 1}', 422, "stop must be a string, got an object"),
    (f'"stop": {json.dumps(["x"] * 17)}', 400, "stop must hold at most 16 strings, got 17"),
    (f'"stop": "{"x" * 9999}"', 400, "stop"),
    ('"stop": "\\udc00"', 400, "stop must be Unicode text, character 0 is the lone surrogate U+DC00"),
    ('"n": 2', 422, "unknown field 'n'; known fields:"),
    ('"model": "story"', 422, "unknown field 'model'"),
    ('"model_id": "abc"', 400, "model 'abc' classifies features; this route needs one that generates text"),
    ('"model_id": "nobody"', 404, "no model is named 'nobody'; known models: abc"),
    ('"model_id": "broken"', 500, "broken.apr, byte 4"),
    ('"model_id": 5', 422, "model_id must be a string, got a number"),
]
OTHERS = [
    ("/generate", "{}", 422, "the field prompt is missing"),
    ("/generate", '{"prompt": null}', 422, "the field prompt is missing"),
    ("/generate", '{"prompt": ["a"]}', 422, "prompt must be a string, got an array"),
    ("/generate", '{"prompt": [1, 2]}', 422, "prompt must be a string, got an array"),
    ("/generate", '{"prompt": "a\\ud83d"}', 400, "prompt must be Unicode text, character 1 is the lone"),
    ("/generate", "[]", 422, "the body must be an object, got an array"),
    ("/generate", "prompt=a", 422, "the body is not valid JSON"),
    ("/generate", '{"prompt": "' + "a" * (1 << 20) + '"}', 413, "at most 1048576 bytes"),
    ("/generate", '{"prompt": "' + "a" * 500_000 + '"}', 413, "the prompt has 500001 tokens"),
    ("/stream/generate", '{"prompt": 5}', 422, "prompt must be a string, got a number"),
    ("/stream/generate", '{"prompt": "a", "stream": true}', 422, "unknown field 'stream'"),
    ("/batch/generate", '{"prompt": "a"}', 422, "unknown field 'prompt'"),
    ("/batch/generate", '{"prompts": []}', 400, "prompts must hold 1 to 32 items, got 0"),
    ("/batch/generate", json.dumps({"prompts": ["a"] * 33}), 400, "prompts must hold 1 to 32 items, got 33"),
    ("/batch/generate", '{"prompts": "a"}', 422, "prompts must be an array, got a string"),
    ("/batch/generate", '{"prompts": ["a"], "temperature": 9}', 400, "temperature must be in [0, 2], got 9"),
    ("/tokenize", "{}", 422, "the field text is missing"),
    ("/tokenize", '{"text": 5}', 422, "text must be a string, got a number"),
    ("/tokenize", '{"text": "\\udfff"}', 400, "text must be Unicode text, character 0 is the lone surrogate U+DFFF"),
    ("/tokenize", '{"text": "a", "add_special": 1}', 422, "add_special must be true or false, got a number"),
    ("/tokenize", '{"text": "a", "with_pieces": "yes"}', 422, "with_pieces must be true or false, got a string"),
    ("/tokenize", '{"text": "a", "model_id": "abc"}', 400, "model 'abc' classifies features; this route needs one"),
    ("/batch/tokenize", '{"texts": []}', 400, "texts must hold 1 to 32 items, got 0"),
    ("/batch/tokenize", json.dumps({"texts": [""] * 33}), 400, "texts must hold 1 to 32 items, got 33"),
    ("/batch/tokenize", '{"text": "a"}', 422, "unknown field 'text'"),
    ("/detokenize", "{}", 422, "the field token_ids is missing"),
    ("/detokenize", '{"token_ids": "1"}', 422, "token_ids must be an array of token ids, got a string"),
    ("/detokenize", '{"token_ids": [1, -1]}', 400, "token_ids[1] must be 0 to 255, got -1"),
    ("/detokenize", '{"token_ids": [1, 256]}', 400, "token_ids[1] must be 0 to 255, got 256"),
    ("/detokenize", f'{{"token_ids": [{HUGE}]}}', 400, "token_ids[0] must be 0 to 255, got a number past 1e300"),
    ("/detokenize", '{"token_ids": [true]}', 422, "token_ids[0] must be an integer, got a boolean"),
    ("/detokenize", '{"token_ids": [1.0]}', 422, "token_ids[0] must be an integer, got a number"),
    ("/detokenize", '{"token_ids": [null]}', 422, "token_ids[0] must be an integer, got null"),
]  # fmt: skip
CASES = [("/generate", f'{{"prompt": "abc", {rest}}}', status, words) for rest, status, words in GENERATE] + OTHERS


def send(handler, path, body):
    response = handler(post(path, None) | {"body": body}, None)
    return response["statusCode"], json.loads(response["body"])


@pytest.mark.parametrize(("path", "body", "status", "words"), CASES, ids=[f"{c[0]} {c[1][:60]}" for c in CASES])
def test_a_bad_body_is_refused_and_the_next_request_works(handler, path, body, status, words):
    found, answer = send(handler, path, body)
    assert found == status, answer
    assert set(answer) == {"error", "code"} | ({"request_id"} if status >= 500 else set())
    assert words in answer["error"]
    assert len(answer["error"]) < 400
    assert send(handler, "/generate", '{"prompt": "abc", "max_tokens": 1}')[1]["text"] == "abcd"


values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([0, 1, 2, -1, 0.0, 0.5, 1.0, 2.0, 10**400, "greedy", "sample", "top_p", "story", "abc", "!", "#"])
)  # fmt: skip
anything = st.recursive(
    values,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
NAMES = [
    "prompt", "prompts", "text", "texts", "token_ids", "max_tokens", "temperature", "strategy", "top_k", "top_p",
    "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "stop", "logprobs", "model_id",
    "add_special", "with_pieces", "other",
]  # fmt: skip


@st.composite
def requests(draw):
    """A text route with a body that it takes, some of whose fields hold anything."""
    path = draw(st.sampled_from(sorted(BODIES)))
    changed = draw(st.dictionaries(st.sampled_from(NAMES[5:] if draw(st.booleans()) else NAMES), anything, max_size=3))
    known = {name: value for name, value in changed.items() if name != "other" or draw(st.integers(0, 9)) == 0}
    return path, {**BODIES[path], **known}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(request=requests())
def test_any_fields_get_a_valid_answer_and_never_an_internal_error_but_from_the_model(shared_handler, request):
    path, fields = request
    response = shared_handler(post(path, fields), None)
    assert_is_proxy_response(response)
    if "#" not in json.dumps(fields) and "!" not in json.dumps(fields):
        assert response["statusCode"] < 500


@settings(max_examples=100, deadline=None, derandomize=True)
@given(body=st.text() | anything.map(json.dumps), path=st.sampled_from(sorted(BODIES)))
def test_any_body_is_answered_in_json(shared_handler, body, path):
    response = shared_handler(post(path, None) | {"body": body}, None)
    assert_is_proxy_response(response)
    assert response["statusCode"] < 500


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(-5, 300) | st.integers(), max_size=20))
def test_any_ids_are_text_or_refused_by_position(shared_handler, ids):
    status, answer = send(shared_handler, "/detokenize", json.dumps({"token_ids": ids}))
    if all(0 <= token < 256 for token in ids):
        assert (status, set(answer)) == (200, {"text"})
    else:
        assert (status, answer["code"]) == (400, "E_BAD_VALUE")
        first = next(i for i, token in enumerate(ids) if not 0 <= token < 256)
        assert f"token_ids[{first}] must be" in answer["error"]
