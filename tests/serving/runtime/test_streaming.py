"""Streamed answers: prelude, payload, trailers, comments, and a generator that is always closed."""

from __future__ import annotations

import json
import sys
import threading
import time

import pytest

from events.make_events import function_url
from lambda_emulator.entries import entry_command
from lambda_emulator.function import Function
from lambda_emulator.phases import ROOT
from lambda_emulator.records import HTTP_INTEGRATION_TYPE
from realizar_lambda.serving.http import EVENTS, JSON, Response
from realizar_lambda.serving.runtime.streaming import COMMENT, post_stream
from realizar_lambda.serving.streamed_answer import StreamedAnswer

MODEL = "stories-q4_k"


class FakeConnection:
    """Keeps what is written; fails at the write of this number."""

    def __init__(self, fails_at=None):
        self.written = []
        self.trailers = None
        self.is_closed = False
        self.fails_at = fails_at

    def begin(self, path, headers):
        self.head = (path, dict(headers))

    def write(self, data):
        if self.fails_at == len(self.written):
            raise BrokenPipeError("gone")
        self.written.append(data)

    def end(self, trailers=()):
        self.trailers = dict(trailers)

    def close(self):
        self.is_closed = True


def streamed(chunks, content_type=EVENTS):
    return StreamedAnswer(Response(200, "", content_type, headers={"x": "y"}, chunks=chunks))


def pieces(*found, seconds=0.0, closed=None):
    """A generator of these; an exception among them is raised."""
    try:
        for piece in found:
            time.sleep(seconds)
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        if closed is not None:
            closed.append(True)


def test_a_stream_is_its_prelude_and_its_pieces():
    connection = FakeConnection()
    post_stream(connection, "/response", streamed(pieces("one\n\n", "два\n\n")))
    assert connection.head == (
        "/response",
        {
            "Content-Type": HTTP_INTEGRATION_TYPE,
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        },
    )
    prelude, *rest = connection.written
    assert prelude.endswith(b"\0" * 8)
    assert json.loads(prelude[:-8]) == {"statusCode": 200, "headers": {"content-type": EVENTS, "x": "y"}}
    assert rest == [b"one\n\n", "два\n\n".encode()]
    assert (connection.trailers, connection.is_closed) == ({}, False)


def test_an_answer_that_is_whole_goes_the_same_way():
    connection = FakeConnection()
    post_stream(connection, "/", StreamedAnswer(Response(404, '{"error":"x"}', JSON, code="E_NOT_FOUND")))
    assert json.loads(connection.written[0][:-8])["statusCode"] == 404
    assert connection.written[1:] == [b'{"error":"x"}']
    assert connection.trailers == {}


def test_what_the_generator_raises_becomes_the_trailers():
    connection, closed = FakeConnection(), []
    post_stream(connection, "/", streamed(pieces("one\n\n", KeyError("lost"), closed=closed)))
    assert connection.written[1:] == [b"one\n\n"]
    assert connection.trailers["Lambda-Runtime-Function-Error-Type"] == "KeyError"
    body = __import__("base64").b64decode(connection.trailers["Lambda-Runtime-Function-Error-Body"])
    assert json.loads(body) == {"errorType": "KeyError", "errorMessage": "'lost'"}
    assert closed == [True]
    assert connection.is_closed


def test_a_stream_whose_last_event_is_an_error_says_so_in_the_trailers():
    connection = FakeConnection()
    response = Response(200, "", EVENTS, chunks=pieces("event: error\n\n"))
    response.code = "E_INTERNAL"
    post_stream(connection, "/", StreamedAnswer(response))
    assert connection.trailers["Lambda-Runtime-Function-Error-Type"] == "E_INTERNAL"


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_lost_connection_ends_the_generator(fails_at, capsys):
    connection, closed = FakeConnection(fails_at), []
    chunks = pieces("one", "two", "three", closed=closed)
    next(chunks)
    post_stream(connection, "/", streamed(chunks))
    assert (closed, connection.is_closed, connection.trailers) == ([True], True, None)
    assert "cut off" in capsys.readouterr().out


def test_a_silence_is_filled_with_comments_that_stop_with_the_stream():
    connection = FakeConnection()
    before = threading.active_count()
    post_stream(connection, "/", streamed(pieces("one\n\n", "two\n\n", seconds=0.15)), comment_seconds=0.02)
    n_written = len(connection.written)
    time.sleep(0.1)
    assert len(connection.written) == n_written
    assert connection.written.count(COMMENT) >= 4
    assert [piece for piece in connection.written[1:] if piece != COMMENT] == [b"one\n\n", b"two\n\n"]
    assert COMMENT.startswith(b":")
    assert COMMENT.endswith(b"\n\n")
    assert threading.active_count() == before


@pytest.mark.parametrize(("content_type", "seconds"), [(JSON, 0.06), (EVENTS, 0.0)])
def test_nothing_is_put_between_pieces_that_are_no_events_or_come_in_time(content_type, seconds):
    connection = FakeConnection()
    chunks = pieces("1", "2", seconds=seconds)
    post_stream(connection, "/", streamed(chunks, content_type), comment_seconds=0.02 if seconds else 5.0)
    assert connection.written[1:] == [b"1", b"2"]


@pytest.fixture
def make():
    """Makes the text function over the loop."""

    def made(**env):
        handler = "handlers.generate.handler"
        command = entry_command("loop", sys.executable, handler)
        return Function(handler, cwd=ROOT, command=command, env={"REALIZAR_MODEL": MODEL, **env})

    return made


def ask(path, **fields):
    return function_url("POST", path, json.dumps({"prompt": "Once upon a time", "max_tokens": 12, **fields}))


def test_a_story_arrives_token_by_token(make):
    with make(REALIZAR_STREAM="function_url") as function:
        result = function.invoke(ask("/stream/generate"))
        assert (result.is_error, result.is_streamed, result.content_type) == (False, True, HTTP_INTEGRATION_TYPE)
        answer = result.http_response()
        assert (answer.status, answer.headers["content-type"]) == (200, EVENTS)
        assert len(result.chunks) == 1 + 12 + 1
        assert result.chunks[-1].ms > result.chunks[1].ms
        events = answer.body.decode().split("\n\n")[:-1]
        assert [event.splitlines()[0] for event in events] == ["event: token"] * 12 + ["event: done"]
        buffered = make()
        refused = function.invoke(ask("/stream/generate", max_tokens=0)).http_response()
        assert refused.status == 400
        assert function.invoke(function_url("GET", "/health")).http_response().status == 200
        assert '"route":"/stream/generate","status":200' in function.logs()
    with buffered as function:
        whole = function.invoke(ask("/stream/generate"))
        assert not whole.is_streamed
        told = [line for line in whole.payload["body"].splitlines() if '"text"' in line]
        assert told == [line for line in answer.body.decode().splitlines() if '"text"' in line]


def test_the_same_function_answers_a_source_that_cannot_stream_whole(make):
    from events.make_events import api_gateway_v2

    with make(REALIZAR_STREAM="function_url") as function:
        event = api_gateway_v2("POST", "/stream/generate", json.dumps({"prompt": "Once", "max_tokens": 2}))
        result = function.invoke(event)
        assert not result.is_streamed
        assert result.payload["body"].count("event: token") == 2


def test_the_vendors_client_gets_it_whole(tmp_path):
    pytest.importorskip("awslambdaric")
    env = {"REALIZAR_MODEL": MODEL, "REALIZAR_STREAM": "function_url"}
    with Function("handlers.generate.handler", cwd=ROOT, env=env) as function:
        result = function.invoke(ask("/stream/generate", max_tokens=2))
        assert not result.is_streamed
        assert result.payload["body"].count("event: token") == 2
