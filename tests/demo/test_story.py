"""The demo's story: its event, what is made of an answer, and how it stands on a page."""

from __future__ import annotations

import json

import pytest

from demo.story import COLUMNS, PROMPT, Story, generate_event, page, story_of
from lambda_emulator.records import Invocation

ANSWER = {
    "text": "Once upon a time, there was a fox.",
    "num_generated": 8,
    "finish_reason": "stop",
    "timings": {"tokens_per_second": 1234.5},
}


def result(payload: object, *, is_error: bool = False) -> Invocation:
    return Invocation("id", json.dumps(payload).encode(), is_error, "E" if is_error else None, 1.0)


def test_an_event_is_an_http_apis() -> None:
    event = generate_event(5, seed=1)
    assert (event["version"], event["rawPath"]) == ("2.0", "/generate")
    assert json.loads(str(event["body"])) == {"prompt": PROMPT, "max_tokens": 5, "seed": 1}


def test_a_story_is_read_from_the_proxy_response() -> None:
    found = story_of(result({"statusCode": 200, "body": json.dumps(ANSWER)}))
    assert found == Story("Once upon a time, there was a fox.", 8, 1234.5, "stop")


@pytest.mark.parametrize(
    "outcome",
    [
        result({"statusCode": 413, "body": "{}"}),
        result({"statusCode": 200, "body": json.dumps({"text": "Once"})}),
        result({"statusCode": 200, "body": "[]"}),
        result({"errorType": "E"}, is_error=True),
        result([1]),
        Invocation("id", b"not json", False, None, 1.0),
    ],
)
def test_anything_else_is_a_fault_and_no_story(outcome: Invocation) -> None:
    found = story_of(outcome)
    assert found.fault is not None
    assert found.n_generated == 0


def test_a_page_has_paragraphs_that_fit_and_says_how_it_ended() -> None:
    text = "Once upon a time " + "there was a fox " * 20 + "\n\n  The end.\n"
    lines = page(Story(text, 1500, 999.6, "length")).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert "  The end." in lines
    assert lines[-1] == "  (1500 tokens, 1,000 per second; cut at max_tokens)"
    assert "".join(" ".join(lines).split()).startswith("".join(text.split()))
