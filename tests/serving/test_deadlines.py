"""Deadlines: what time an invocation leaves, less the reserve, and what an answer is when it has run out."""

from __future__ import annotations

import json
from time import monotonic

import pytest
from serving.fake_models import make_application

from events.make_events import HTTP_SOURCES, function_url
from realizar_lambda.serving.http import Request
from realizar_lambda.serving.invocation import Invocation
from realizar_lambda.serving.lambda_handler import make_event_handler


class FakeContext:
    aws_request_id = "lambda-id"

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@pytest.mark.parametrize(("remaining", "reserve", "left"), [(3000, 0.5, 2.5), (100, 0.5, -0.4), (-5, 0.0, 0.0)])
def test_the_reserve_is_taken_off_what_remains(remaining, reserve, left):
    invocation = Invocation.from_context(FakeContext(remaining), reserve_seconds=reserve)
    assert invocation.deadline - monotonic() == pytest.approx(left, abs=0.05)


def test_the_handler_takes_the_reserve_of_the_settings(models_folder):
    application = make_application(models_folder, lambda line: None, reserve_seconds=3.0)
    event = function_url("POST", "/generate", json.dumps({"prompt": "abc"}))
    handler = make_event_handler(application)
    assert json.loads(handler(event, FakeContext(2900))["body"])["finish_reason"] == "timeout"
    assert json.loads(handler(event, FakeContext(60_000))["body"])["finish_reason"] == "stop"


def expired(application, path, fields):
    body = json.dumps(fields)
    return application.respond(Request("POST", path, body=body, deadline=monotonic() - 1))


def test_without_time_the_answer_is_the_prompt_and_says_why(application):
    response = expired(application, "/generate", {"prompt": "abc"})
    answer = json.loads(response.body)
    assert (response.status, answer["finish_reason"]) == (200, "timeout")
    assert (answer["text"], answer["completion"], answer["num_generated"]) == ("abc", "", 0)
    assert min(answer["timings"].values()) >= 0


def test_a_batch_shares_the_deadline(application):
    response = expired(application, "/batch/generate", {"prompts": ["abc", 5, "xyz"]})
    results = json.loads(response.body)["results"]
    assert [item.get("finish_reason") for item in results] == ["timeout", None, "timeout"]


def test_a_stream_ends_with_the_reason(application):
    response = expired(application, "/stream/generate", {"prompt": "abc"})
    assert response.body.startswith("event: done\n")
    assert '"finish_reason":"timeout"' in response.body


def test_a_deadline_on_the_way_leaves_the_text_so_far(application):
    body = json.dumps({"prompt": "abc", "max_tokens": 20})
    request = Request("POST", "/stream/generate", body=body, can_stream=True, deadline=monotonic() + 0.3)
    response = application.respond(request)
    chunks = [next(response.chunks)]
    while monotonic() < request.deadline:
        pass
    chunks += response.chunks
    *tokens, done = chunks
    assert '"finish_reason":"timeout"' in done
    assert 1 <= len(tokens) < 20


@pytest.mark.parametrize("make", HTTP_SOURCES.values(), ids=HTTP_SOURCES)
def test_every_source_passes_the_deadline_on(handler, make):
    event = make("POST", "/generate", json.dumps({"prompt": "abc"}))
    answer = json.loads(handler(event, FakeContext(400))["body"])
    assert answer["finish_reason"] == "timeout"


def test_a_direct_invocation_passes_the_deadline_on(handler):
    assert handler({"action": "generate", "prompt": "abc"}, FakeContext(400))["finish_reason"] == "timeout"
