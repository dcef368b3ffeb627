"""The text routes through a handler: answers, defaults, limits, batches, who shares computed prompts."""

from __future__ import annotations

import json

import pytest
from serving.bodies import post
from serving.fake_generator import FakeTokenizer
from serving.fake_models import make_application

from events.make_events import HTTP_SOURCES, api_gateway_v1, api_gateway_v2, function_url
from realizar_lambda.serving.lambda_handler import make_event_handler
from realizar_lambda.serving.routes import ROUTES

TEXT_ROUTES = [route for route in ROUTES if route.kind == "generate"]
BODIES = {
    "/tokenize": {"text": "abc"},
    "/batch/tokenize": {"texts": ["abc"]},
    "/detokenize": {"token_ids": [97]},
    "/generate": {"prompt": "abc", "max_tokens": 3},
    "/batch/generate": {"prompts": ["abc"], "max_tokens": 3},
    "/stream/generate": {"prompt": "abc", "max_tokens": 3},
}


class WithoutBeginning(FakeTokenizer):
    """Puts nothing before a text."""

    def encode(self, text, *, add_special=True, parse_special=False):
        return super().encode(text, add_special=False)


def ask(handler, path, fields):
    response = handler(post(path, fields), None)
    return response["statusCode"], json.loads(response["body"])


def generate(handler, prompt="abc", **fields):
    status, answer = ask(handler, "/generate", {"prompt": prompt, **fields})
    assert status == 200, answer
    return answer


def test_the_tests_know_a_body_for_every_text_route():
    assert {route.path for route in TEXT_ROUTES} == set(BODIES)


@pytest.mark.parametrize("make", HTTP_SOURCES.values(), ids=HTTP_SOURCES)
@pytest.mark.parametrize("path", BODIES)
def test_every_text_route_answers_every_http_source(handler, log_lines, make, path):
    response = handler(make("POST", path, json.dumps(BODIES[path])), None)
    assert response["statusCode"] == 200
    assert type(response["body"]) is str
    assert (log_lines[-1]["route"], log_lines[-1]["model"]) == (path, "story")


@pytest.mark.parametrize("route", TEXT_ROUTES, ids=lambda route: route.action)
def test_every_text_route_answers_a_direct_invocation(handler, route):
    answer = handler({"action": route.action, **BODIES[route.path]}, None)
    assert type(answer) is (str if "stream" in route.action else dict)


def test_tokens_are_counted_and_their_text_comes_when_asked_for(handler):
    assert ask(handler, "/tokenize", {"text": "ab"}) == (200, {"token_ids": [2, 97, 98], "num_tokens": 3})
    fields = {"text": "aé", "add_special": False, "with_pieces": True}
    assert ask(handler, "/tokenize", fields) == (
        200,
        {"token_ids": [97, 0xC3, 0xA9], "num_tokens": 3, "pieces": ["a", "\ufffd", "\ufffd"]},
    )


def test_a_text_without_tokens_has_none(handler):
    assert ask(handler, "/tokenize", {"text": "", "add_special": False})[1] == {"token_ids": [], "num_tokens": 0}


def test_ids_become_text_again(handler):
    assert ask(handler, "/detokenize", {"token_ids": [2, 97, 0xC3, 0xA9]}) == (200, {"text": "aé"})
    assert ask(handler, "/detokenize", {"token_ids": []}) == (200, {"text": ""})


def test_a_batch_of_texts_has_each_answer_or_error_in_its_place(handler):
    status, answer = ask(handler, "/batch/tokenize", {"texts": ["a", 5, "\ud800", ""], "add_special": False})
    assert (status, answer) == (
        200,
        {
            "results": [
                {"token_ids": [97], "num_tokens": 1},
                {"error": "texts[1] must be a string, got a number", "code": "E_MALFORMED"},
                {
                    "error": "texts[2] must be Unicode text, character 0 is the lone surrogate U+D800",
                    "code": "E_BAD_VALUE",
                },
                {"token_ids": [], "num_tokens": 0},
            ]
        },
    )


def test_a_completion_has_the_fields_of_the_contract(handler):
    answer = generate(handler, max_tokens=3)
    timings = answer.pop("timings")
    assert set(timings) == {"prefill_seconds", "decode_seconds", "tokens_per_second"}
    assert min(timings.values()) >= 0
    assert answer == {
        "token_ids": [2, 97, 98, 99, 100, 101, 102],
        "text": "abcdef",
        "completion": "def",
        "num_generated": 3,
        "finish_reason": "length",
        "usage": {
            "prompt_tokens": 4,
            "completion_tokens": 3,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def test_the_end_token_stops_and_is_not_in_the_answer(handler):
    answer = generate(handler, "x")
    assert (answer["completion"], answer["finish_reason"], answer["token_ids"]) == ("yz", "stop", [2, 120, 121, 122])


def test_null_is_the_default_of_every_field(handler):
    names = ("max_tokens", "temperature", "strategy", "top_k", "top_p", "min_p", "repetition_penalty")
    names += ("presence_penalty", "frequency_penalty", "seed", "stop", "logprobs", "model_id")
    answer = generate(handler, **dict.fromkeys(names))
    assert answer["completion"] == "defghijklmnopqrstuvwxyz"
    assert generate(handler, "A")["num_generated"] == 27 - 1
    assert generate(handler, "@", max_tokens=None)["num_generated"] == 28


def test_fifty_tokens_are_the_default(handler):
    assert generate(handler, "abc", stop=None, temperature=None)["finish_reason"] == "stop"
    status, refused = ask(handler, "/generate", {"prompt": "a" * 14})
    assert (status, refused["code"]) == (413, "E_CONTEXT_LENGTH_EXCEEDED")
    assert "15 tokens and 50 to generate" in refused["error"]


def test_an_empty_prompt_goes_on_from_the_beginning_where_the_model_marks_it(application, handler):
    assert generate(handler, "", max_tokens=3)["text"] == "abc"
    application.registry.get("story").model.tokenizer = WithoutBeginning()
    status, answer = ask(handler, "/generate", {"prompt": ""})
    assert (status, answer["code"]) == (400, "E_BAD_VALUE")
    assert "prompt must have at least one token" in answer["error"]


@pytest.mark.parametrize(
    ("stop", "completion"),
    [("fg", "de"), (["q", "g"], "def"), ("defghijklmnopqrstuvwxyz!", "defghijklmnopqrstuvwxyz"), ("d", "")],
)
def test_a_stop_string_ends_the_text_before_it(handler, stop, completion):
    answer = generate(handler, stop=stop)
    assert (answer["completion"], answer["finish_reason"]) == (completion, "stop")
    assert answer["text"] == "abc" + completion


def test_half_a_character_at_the_end_is_a_replacement_character(handler):
    assert generate(handler, "@", max_tokens=1)["completion"] == "\ufffd"
    assert generate(handler, "@", max_tokens=2)["completion"] == "é"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 2.0},
        {"temperature": 2.0, "top_k": 3, "top_p": 1, "min_p": 0.5, "seed": 1},
        {"strategy": "greedy", "temperature": 1.5},
        {"strategy": "sample", "temperature": 0},
        {"strategy": "top_p", "temperature": 0.0, "top_p": 0.5},
        {"strategy": "top_k", "top_k": 1},
        {"strategy": "top_p", "top_p": 0.0001},
        {"strategy": "sample", "min_p": 1.0},
    ],
)
def test_a_strategy_that_leaves_one_token_takes_the_most_probable(handler, fields):
    assert generate(handler, **fields)["completion"] == "defghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("strategy", ["top_k", "top_p", "sample"])
def test_the_same_seed_draws_the_same_text_and_another_draws_another(handler, strategy):
    fields = {"strategy": strategy, "temperature": 1.3, "top_p": 1.0, "max_tokens": 20}
    texts = [generate(handler, seed=seed, **fields)["token_ids"] for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_logprobs_name_each_token_and_the_best_there_were(handler):
    answer = generate(handler, max_tokens=2, logprobs=2)
    first, second = answer["logprobs"]
    assert (first["token_id"], first["text"], second["text"]) == (100, "d", "e")
    assert -0.1 < first["logprob"] < 0
    assert [item["token_id"] for item in first["top"]] == [100, 0]
    assert first["top"][0]["logprob"] == first["logprob"] > first["top"][1]["logprob"]
    assert generate(handler, max_tokens=1, logprobs=0)["logprobs"][0]["top"] == []


def test_a_prompt_past_the_context_is_refused_with_both_numbers_and_nothing_is_cut(handler):
    status, answer = ask(handler, "/generate", {"prompt": "a" * 60, "max_tokens": 10})
    assert (status, answer["code"]) == (413, "E_CONTEXT_LENGTH_EXCEEDED")
    for number in ("61", "10", "64"):
        assert number in answer["error"]
    assert generate(handler, "a" * 60, max_tokens=3)["usage"]["prompt_tokens"] == 61


def test_a_batch_of_prompts_has_each_answer_or_error_in_its_place(handler, log_lines):
    prompts = ["abc", 5, "\ud800", "a" * 64, "!", "x"]
    status, answer = ask(handler, "/batch/generate", {"prompts": prompts, "max_tokens": 2})
    assert status == 200
    results = answer["results"]
    assert (results[0]["completion"], results[-1]["completion"]) == ("de", "yz")
    assert [item.get("code") for item in results] == [
        None,
        "E_MALFORMED",
        "E_BAD_VALUE",
        "E_CONTEXT_LENGTH_EXCEEDED",
        "E_INTERNAL",
        None,
    ]
    assert "prompts[1] must be a string, got a number" in results[1]["error"]
    assert "prompts[2] must be Unicode text" in results[2]["error"]
    assert "logits must be finite" in results[4]["error"]
    assert (log_lines[-1]["prompt_tokens"], log_lines[-1]["generated_tokens"]) == (6, 4)


def test_a_crash_in_a_batch_is_ours_and_is_not_hidden_in_an_item(handler, log_lines):
    status, answer = ask(handler, "/batch/generate", {"prompts": ["abc", "#"]})
    assert (status, answer["code"]) == (500, "E_INTERNAL")
    assert "secret" not in json.dumps([answer, log_lines])


@pytest.mark.parametrize("prompt", ["!", "#"])
def test_a_model_that_fails_is_500_with_a_request_id_and_the_next_request_works(handler, prompt):
    status, answer = ask(handler, "/generate", {"prompt": prompt})
    assert (status, set(answer)) == (500, {"error", "code", "request_id"})
    assert generate(handler, max_tokens=1)["completion"] == "d"


def test_tokens_and_seconds_are_counted(application, handler):
    generate(handler, max_tokens=3)
    ask(handler, "/batch/generate", {"prompts": ["a", "b"], "max_tokens": 2})
    handler(post("/stream/generate", {"prompt": "a", "max_tokens": 5}), None)
    assert application.metrics.n_tokens == 3 + 4 + 5
    assert application.metrics.inference_seconds > 0
    assert "realizar_tokens_generated 12" in handler(api_gateway_v2("GET", "/metrics"), None)["body"]


def test_the_log_has_numbers_and_no_text(handler, log_lines):
    generate(handler, "abcsecret", max_tokens=3)
    line = log_lines[-1]
    assert (line["prompt_tokens"], line["generated_tokens"], line["finish_reason"]) == (10, 3, "length")
    assert "secret" not in json.dumps(log_lines)
    assert "uvw" not in json.dumps(log_lines)


def signed(user: str):
    """A Function URL's event of a caller whom IAM knows."""
    event = function_url("POST", "/generate", json.dumps({"prompt": "abcdef", "max_tokens": 1}))
    event["requestContext"]["authorizer"] = {"iam": {"userArn": user}}
    return event


def anonymous():
    return function_url("POST", "/generate", json.dumps({"prompt": "abcdef", "max_tokens": 1}))


def with_key(key: str):
    event = api_gateway_v1("POST", "/generate", json.dumps({"prompt": "abcdef", "max_tokens": 1}))
    event["requestContext"]["identity"]["apiKeyId"] = key
    return event


@pytest.mark.parametrize(
    ("share", "events", "expected"),
    [
        ("none", [signed("a"), signed("a"), anonymous(), anonymous()], [0, 0, 0, 0]),
        ("caller", [signed("a"), signed("b"), signed("a"), signed("b")], [0, 0, 1, 1]),
        ("caller", [anonymous(), anonymous(), signed("a")], [0, 0, 0]),
        ("caller", [with_key("k"), with_key("l"), with_key("k")], [0, 0, 1]),
        ("all", [signed("a"), anonymous(), with_key("k")], [0, 1, 1]),
    ],
)
def test_a_computed_prompt_is_shared_as_the_setting_says(models_folder, share, events, expected):
    application = make_application(models_folder, lambda line: None, share_prefixes=share)
    handler = make_event_handler(application)
    answers = [json.loads(handler(event, None)["body"]) for event in events]
    assert [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers] == expected
    assert {answer["text"] for answer in answers} == {"abcdefg"}
