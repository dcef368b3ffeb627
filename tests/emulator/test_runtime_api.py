"""The Runtime API against a client written here, request by request."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping

import pytest

from lambda_emulator.records import HTTP_INTEGRATION_TYPE, MAX_PAYLOAD_BYTES
from lambda_emulator.runtime_api import FUNCTION_ARN, TOO_LARGE, TRUNCATED, RuntimeApi
from lambda_emulator.task import Task

NEXT = "/2018-06-01/runtime/invocation/next"
INIT_ERROR = "/2018-06-01/runtime/init/error"


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    server = RuntimeApi()
    yield server
    server.close()


@pytest.fixture
def runtime(api: RuntimeApi) -> Iterator[Runtime]:
    client = Runtime(api)
    yield client
    client.connection.close()


class Runtime:
    """A runtime's side of the contract, one kept-alive connection."""

    def __init__(self, api: RuntimeApi) -> None:
        self.connection = http.client.HTTPConnection(api.address, timeout=5)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        self.connection.request(method, path, body, dict(headers or {}))
        response = self.connection.getresponse()
        self.headers = response.headers
        return response.status, response.read()

    def take(self) -> str:
        """Ask for the next event and return its request id."""
        status, _ = self.ask("GET", NEXT)
        assert status == 200
        return self.headers["Lambda-Runtime-Aws-Request-Id"]


def submitted(api: RuntimeApi, event: bytes = b"{}") -> Task:
    task = Task(event, timeout_seconds=3, trace_id="Root=1-2-3")
    api.submit(task)
    return task


def wait_until_finished(api: RuntimeApi, task: Task) -> None:
    with api.changed:
        assert api.changed.wait_for(lambda: task.finished_ns is not None, 5)


def response_path(request_id: str, kind: str = "response") -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/{kind}"


def test_next_carries_the_event_and_its_headers(api: RuntimeApi, runtime: Runtime) -> None:
    task = Task(b'{"a":1}', timeout_seconds=3, trace_id="Root=1-2-3", client_context='{"c":1}')
    api.submit(task)
    before_ms = time.time_ns() // 1_000_000
    assert runtime.ask("GET", NEXT) == (200, b'{"a":1}')
    assert runtime.headers["Lambda-Runtime-Aws-Request-Id"] == task.request_id
    assert runtime.headers["Lambda-Runtime-Trace-Id"] == "Root=1-2-3"
    assert runtime.headers["Lambda-Runtime-Invoked-Function-Arn"] == FUNCTION_ARN
    assert runtime.headers["Lambda-Runtime-Client-Context"] == '{"c":1}'
    assert 0 < int(runtime.headers["Lambda-Runtime-Deadline-Ms"]) - before_ms <= 5000


def test_a_response_ends_the_invocation(api: RuntimeApi, runtime: Runtime) -> None:
    task = submitted(api)
    request_id = runtime.take()
    assert runtime.ask("POST", response_path(request_id), b'"yes"') == (202, b'{"status":"OK"}\n')
    result = task.invocation(0)
    assert (result.payload, result.is_error, result.is_streamed) == ("yes", False, False)
    assert result.duration_ms > 0


def test_an_error_ends_the_invocation_with_its_type(api: RuntimeApi, runtime: Runtime) -> None:
    task = submitted(api)
    request_id = runtime.take()
    body = json.dumps({"errorType": "KeyError", "errorMessage": "x"}).encode()
    assert runtime.ask("POST", response_path(request_id, "error"), body)[0] == 202
    result = task.invocation(0)
    assert (result.is_error, result.error_type, result.raw) == (True, "KeyError", body)


@pytest.mark.parametrize("body", [b"not json", b"[]", b"{}"])
def test_an_error_nobody_named_is_still_an_error(api: RuntimeApi, runtime: Runtime, body: bytes) -> None:
    task = submitted(api)
    runtime.ask("POST", response_path(runtime.take(), "error"), body)
    assert task.invocation(0).error_type == "Runtime.Unknown"


def test_an_answer_to_another_request_is_refused(api: RuntimeApi, runtime: Runtime) -> None:
    task = submitted(api)
    request_id = runtime.take()
    status, said = runtime.ask("POST", response_path("another"), b"{}")
    assert (status, json.loads(said)["errorType"]) == (400, "InvalidRequestID")
    assert task.finished_ns is None
    runtime.ask("POST", response_path(request_id), b"1")
    status, _ = runtime.ask("POST", response_path(request_id), b"2")
    assert status == 400
    assert task.invocation(0).payload == 1


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", NEXT), ("GET", INIT_ERROR), ("POST", "/2018-06-01/runtime/nothing")]
)
def test_what_the_contract_does_not_have_is_404(runtime: Runtime, method: str, path: str) -> None:
    status, said = runtime.ask(method, path)
    assert (status, json.loads(said)["errorType"]) == (404, "InvalidPath")


def test_an_init_error_is_kept_with_the_name_in_its_header(api: RuntimeApi, runtime: Runtime) -> None:
    headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
    assert runtime.ask("POST", INIT_ERROR, b'{"errorType":"other"}', headers)[0] == 202
    assert api.init_error == ("Runtime.ImportModuleError", b'{"errorType":"other"}')


def test_an_answer_at_the_limit_passes_and_one_byte_more_is_413(api: RuntimeApi, runtime: Runtime) -> None:
    task = submitted(api)
    assert runtime.ask("POST", response_path(runtime.take()), b"x" * MAX_PAYLOAD_BYTES)[0] == 202
    assert len(task.invocation(0).raw) == MAX_PAYLOAD_BYTES
    task = submitted(api)
    assert runtime.ask("POST", response_path(runtime.take()), b"x" * (MAX_PAYLOAD_BYTES + 1))[0] == 413
    assert task.invocation(0).error_type == TOO_LARGE


def stream(
    api: RuntimeApi, runtime: Runtime, *, chunks: tuple[bytes, ...], trailers: Mapping[str, str], ends: bool = True
) -> Task:
    """Take one event and answer it in chunks; without `ends` the connection breaks before the last chunk."""
    task = submitted(api)
    path = response_path(runtime.take())
    host, port = api.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sender:
        sender.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"
            f"Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: {HTTP_INTEGRATION_TYPE}\r\n"
            "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n".encode()
        )
        for chunk in chunks:
            sender.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if ends:
            lines = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
            sender.sendall(f"0\r\n{lines}\r\n".encode())
            assert b"202" in sender.recv(1000)
    wait_until_finished(api, task)
    return task


def test_a_streamed_http_answer_keeps_its_chunks_and_prelude(api: RuntimeApi, runtime: Runtime) -> None:
    prelude = b'{"statusCode":201,"headers":{"a":"b"},"cookies":["c=d"]}' + bytes(8)
    result = stream(api, runtime, chunks=(prelude, b"data: 1\n\n", b"data: 2\n\n"), trailers={}).invocation(0)
    assert [chunk.data for chunk in result.chunks] == [prelude, b"data: 1\n\n", b"data: 2\n\n"]
    assert [chunk.ms for chunk in result.chunks] == sorted(chunk.ms for chunk in result.chunks)
    answer = result.http_response()
    assert (answer.status, answer.headers, answer.cookies) == (201, {"a": "b"}, ("c=d",))
    assert answer.body == b"data: 1\n\ndata: 2\n\n"
    assert (result.is_error, result.content_type) == (False, HTTP_INTEGRATION_TYPE)


def test_a_stream_that_fails_half_way_says_so_in_its_trailers(api: RuntimeApi, runtime: Runtime) -> None:
    detail = b'{"errorMessage":"no more"}'
    trailers = {
        "Lambda-Runtime-Function-Error-Type": "Runtime.StreamError",
        "Lambda-Runtime-Function-Error-Body": base64.b64encode(detail).decode(),
    }
    result = stream(api, runtime, chunks=(b"part",), trailers=trailers).invocation(0)
    assert (result.is_error, result.error_type, result.raw) == (True, "Runtime.StreamError", b"part")
    assert result.error_detail == detail


def test_a_stream_whose_connection_breaks_is_truncated(api: RuntimeApi, runtime: Runtime) -> None:
    result = stream(api, runtime, chunks=(b"part",), trailers={}, ends=False).invocation(0)
    assert (result.error_type, result.raw) == (TRUNCATED, b"part")


def test_an_answer_without_a_prelude_is_no_http_response(api: RuntimeApi, runtime: Runtime) -> None:
    result = stream(api, runtime, chunks=(b"plain",), trailers={}).invocation(0)
    with pytest.raises(ValueError, match="no prelude"):
        result.http_response()


def test_a_forgotten_runtime_cannot_take_an_event(api: RuntimeApi) -> None:
    old = Runtime(api)
    old.connection.request("GET", NEXT)
    with api.changed:
        assert api.changed.wait_for(lambda: api.is_asking, 5)
    api.forget_runtime()
    task = submitted(api)
    fresh = Runtime(api)
    assert fresh.take() == task.request_id
    with pytest.raises(http.client.HTTPException):
        old.connection.getresponse()
    old.connection.close()
    fresh.connection.close()


def test_bytes_that_are_not_http_are_refused_and_the_server_goes_on(api: RuntimeApi, runtime: Runtime) -> None:
    host, port = api.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sender:
        sender.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert sender.recv(1000).startswith(b"HTTP/1.1 400 ")
    task = submitted(api)
    assert runtime.take() == task.request_id
