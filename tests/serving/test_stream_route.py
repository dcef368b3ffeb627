"""/stream/generate: its events, its errors before and amid them, and how it is counted."""

from __future__ import annotations

import json

import pytest
from serving.bodies import post

from realizar_lambda.serving.application import CLIENT_LEFT
from realizar_lambda.serving.http import Request


def events_of(text: str) -> list[tuple[str, dict]]:
    """The (name, data) of every event in a transcript, which must be well formed."""
    assert text.endswith("\n\n")
    found = []
    for block in text[:-2].split("\n\n"):
        name, data = block.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        found.append((name[7:], json.loads(data[6:], parse_constant=pytest.fail)))
    return found


def transcript(handler, prompt="abc", **fields):
    response = handler(post("/stream/generate", {"prompt": prompt, **fields}), None)
    assert response["statusCode"] == 200
    assert response["headers"]["content-type"] == "text/event-stream; charset=utf-8"
    return events_of(response["body"])


def stream(application, prompt, **fields):
    """A response that is passed on as it comes."""
    body = json.dumps({"prompt": prompt, **fields})
    return application.respond(Request("POST", "/stream/generate", body=body, can_stream=True))


def test_a_lambda_answer_is_the_whole_transcript(handler):
    *tokens, (name, done) = transcript(handler, max_tokens=3)
    assert tokens == [("token", {"token_id": ord(letter), "text": letter}) for letter in "def"]
    assert name == "done"
    assert set(done) == {"num_generated", "finish_reason", "usage", "timings"}
    assert (done["num_generated"], done["finish_reason"], done["usage"]["total_tokens"]) == (3, "length", 7)


@pytest.mark.parametrize(
    ("prompt", "fields"), [("abc", {}), ("@", {"max_tokens": 9}), ("abc", {"stop": "hi"}), ("abc", {"stop": "fgX"})]
)
def test_the_pieces_are_the_text_of_generate(handler, prompt, fields):
    *tokens, (_, done) = transcript(handler, prompt, **fields)
    answer = json.loads(handler(post("/generate", {"prompt": prompt, **fields}), None)["body"])
    assert "".join(token["text"] for _, token in tokens) == answer["completion"]
    assert done["num_generated"] == answer["num_generated"]
    assert done["finish_reason"] == answer["finish_reason"]


def test_logprobs_come_with_their_token(handler):
    (_, token), _ = transcript(handler, max_tokens=1, logprobs=1)
    assert token["logprob"] == token["top"][0]["logprob"] < 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"prompt": "a", "top_p": 2}, 400), ({"prompt": "a" * 99}, 413), ({}, 422), ({"prompt": "a", "n": 1}, 422)],
)
def test_what_is_wrong_with_the_request_is_refused_with_a_status(handler, fields, status):
    response = handler(post("/stream/generate", fields), None)
    assert response["statusCode"] == status
    assert set(json.loads(response["body"])) == {"error", "code"}


@pytest.mark.parametrize(("prompt", "words"), [("!", "logits must be finite"), ("#", "internal error")])
def test_an_error_amid_the_stream_is_its_last_event_and_counts_as_a_failure(
    application, handler, log_lines, prompt, words
):
    *_, (name, error) = transcript(handler, prompt)
    assert (name, error["code"]) == ("error", "E_INTERNAL")
    assert words in error["error"]
    assert error["request_id"]
    assert application.metrics.n_failed == 1
    assert (log_lines[-1]["status"], log_lines[-1]["code"]) == (200, "E_INTERNAL")
    assert "secret" not in json.dumps(log_lines)
    assert transcript(handler, max_tokens=1)[0] == ("token", {"token_id": 100, "text": "d"})


def test_a_stream_is_counted_and_logged_when_it_ends_and_not_before(application, log_lines):
    response = stream(application, "abc", max_tokens=3)
    first = next(response.chunks)
    assert events_of(first)[0][0] == "token"
    assert (log_lines, application.metrics.n_requests) == ([], 0)
    assert len(events_of("".join(response.chunks))) == 3
    assert (log_lines[0]["generated_tokens"], log_lines[0]["finish_reason"]) == (3, "length")
    assert (application.metrics.n_requests, application.metrics.n_tokens) == (1, 3)


def test_a_stream_that_nobody_reads_on_stops_and_is_no_failure(application, log_lines):
    response = stream(application, "abc")
    next(response.chunks)
    response.chunks.close()
    assert (log_lines[0]["code"], log_lines[0]["generated_tokens"]) == (CLIENT_LEFT, 1)
    assert (application.metrics.n_requests, application.metrics.n_failed) == (1, 0)


def test_streams_may_be_read_in_turn(application):
    responses = [stream(application, prompt, max_tokens=4) for prompt in ("abc", "mno")]
    pieces = [[], []]
    for _ in range(4):
        for number, response in enumerate(responses):
            pieces[number].append(events_of(next(response.chunks))[0][1]["text"])
    assert ["".join(found) for found in pieces] == ["defg", "pqrs"]
