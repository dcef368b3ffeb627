"""The local server over a real socket: the same answers, its own limits, and how it stops."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serving.fake_generator import FakeContext, FakeGenerator

pytest.importorskip("waitress", reason="the local server needs waitress (the `serve` extra)")

from realizar_lambda.cli.serve import describe
from realizar_lambda.serving.local_server import MAX_HEADER_BYTES, LocalServer

ROOT = Path(__file__).resolve().parent.parent.parent
JSON = {"content-type": "application/json"}


@pytest.fixture
def server(application):
    """A listening server, stopped as by a signal when the test is over."""
    server = LocalServer(application, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join(10)
    assert not thread.is_alive()


def ask(server, method, path, body=None, headers=JSON):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)
    finally:
        connection.close()


def send(server, raw: bytes) -> tuple[int, dict]:
    """Send raw bytes; the status and the JSON of what comes back."""
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(raw)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


def test_a_prediction_is_answered_over_the_socket(server, log_lines):
    status, body, headers = ask(server, "POST", "/predict", b'{"features": [1, 2, 0]}')
    assert (status, json.loads(body)["prediction"]) == (200, 1)
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Request-Id"] == log_lines[-1]["request_id"] != ""
    assert log_lines[-1]["source"] == "local"


def test_raw_features_with_a_query_are_answered(server):
    path = "/predict?model_id=other&return_probabilities=true&top_k=2"
    status, body, _ = ask(server, "POST", path, bytes([9, 1, 0]), {"content-type": "application/octet-stream"})
    answer = json.loads(body)
    assert (status, answer["prediction"], len(answer["top_k"])) == (200, 0, 2)


def test_get_routes_head_and_errors_are_answered(server):
    assert json.loads(ask(server, "GET", "/health")[1])["status"] == "healthy"
    assert ask(server, "GET", "/metrics")[1].startswith(b"# HELP realizar_requests_total")
    assert ask(server, "HEAD", "/health")[:2] == (200, b"")
    assert ask(server, "GET", "/nothing")[0] == 404
    status, _, headers = ask(server, "GET", "/predict")
    assert (status, headers["Allow"]) == (405, "POST")


def test_a_chunked_body_is_read(server):
    raw = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'b\r\n{"features"\r\n9\r\n:[1,2,0]}\r\n0\r\n\r\n'
    )
    status, answer = send(server, raw)
    assert (status, answer["prediction"]) == (200, 1)


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    status, answer = send(server, head % (1 << 40))
    assert (status, answer["code"]) == (413, "E_TOO_LARGE")
    assert answer["error"] == "the body must have at most 1048576 bytes"


def test_a_body_at_the_limit_reaches_the_application(server):
    body = b"[" + b" " * ((1 << 20) - 2) + b"]"
    status, answer, _ = ask(server, "POST", "/predict", body)
    assert (status, json.loads(answer)["error"]) == (422, "the body must be an object, got an array")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEADER_BYTES + b"\r\n\r\n", 431),
    ],
)
def test_malformed_http_is_refused_in_json_and_the_server_goes_on(server, raw, status):
    found, answer = send(server, raw)
    assert found == status
    assert {"error", "code"} <= set(answer)
    assert ask(server, "GET", "/health")[0] == 200


def post_stream(server, **fields):
    """An open connection whose head has been read, and its response."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request("POST", "/stream/generate", json.dumps(fields), JSON)
    return connection, connection.getresponse()


def test_a_stream_comes_chunk_by_chunk_as_tokens_come(server, application):
    connection, response = post_stream(server, prompt="abc", max_tokens=5)
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    text = response.read().decode()
    connection.close()
    assert text.count("event: token\n") == 5
    assert "".join(json.loads(line[6:]).get("text", "") for line in text.splitlines() if line[:5] == "data:") == "defgh"
    assert application.metrics.n_tokens == 5


class Gate(FakeGenerator):
    """Each step waits to be let through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)

    def context(self, capacity):
        context = FakeContext(capacity)
        step = context.step
        context.step = lambda token: self.gate.acquire(timeout=10) and step(token)
        return context


@pytest.fixture
def gated(application):
    """The model `story`, replaced by one whose steps wait."""
    model = application.registry.get("story").model = Gate()
    return model


def read_event(response) -> str:
    lines = iter(response.fp.readline, b"\r\n")  # the chunk's size, its lines, an empty line, and the chunk's end
    return b"".join(lines).decode()


def test_a_token_is_on_the_wire_before_the_next_is_computed(server, gated):
    connection, response = post_stream(server, prompt="abc", max_tokens=3)
    assert '"text":"d"' in read_event(response)
    gated.gate.release()
    assert '"text":"e"' in read_event(response)
    gated.gate.release()
    assert '"text":"f"' in read_event(response)
    assert "event: done" in read_event(response)
    connection.close()


def test_a_stream_whose_client_leaves_is_ended_and_others_go_on(server, gated, application, log_lines):
    connection, response = post_stream(server, prompt="abc", max_tokens=20)
    read_event(response)
    response.close()
    connection.close()
    for _ in range(200):
        gated.gate.release()
        if log_lines:
            break
        time.sleep(0.01)
    assert log_lines[-1]["code"] == "E_CLIENT_LEFT"
    assert log_lines[-1]["generated_tokens"] < 20
    assert ask(server, "GET", "/health")[0] == 200


def test_a_slow_stream_keeps_no_other_client_waiting(server, gated):
    connection, response = post_stream(server, prompt="abc", max_tokens=2)
    read_event(response)
    assert ask(server, "POST", "/predict", b'{"features": [1, 2, 0]}')[0] == 200
    gated.gate.release()
    assert "event: token" in read_event(response)
    connection.close()


def test_an_http_1_0_client_gets_the_stream_until_the_connection_closes(server):
    body = b'{"prompt": "abc", "max_tokens": 2}'
    head = b"POST /stream/generate HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(head % len(body) + body)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"event: token") == 2
    assert b"event: done" in received


def test_a_client_that_goes_away_harms_nobody(server):
    for _ in range(5):
        with socket.create_connection((server.host, server.port), timeout=10) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert ask(server, "GET", "/health")[0] == 200


def test_several_clients_are_served_at_once(server):
    found = []

    def client():
        for _ in range(5):
            found.append(ask(server, "POST", "/predict", b'{"features": [1, 2, 0]}')[0])

    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 30


def test_a_port_in_use_is_an_error_of_the_system(server, application):
    with pytest.raises(OSError, match="in use"):
        LocalServer(application, host="127.0.0.1", port=server.port)


@pytest.fixture
def command(data_dir):
    """`realizar-lambda serve` with a real model in a process of its own, and its URL."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            # a process started in the background may have been told to ignore interrupts
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from realizar_lambda.cli import main; sys.exit(main())",
            "serve",
            "--model",
            str(data_dir / "apr" / "mnist_784x2.apr"),
            "--model",
            str(data_dir / "models" / "stories260K" / "derived" / "stories260K-q8_0.gguf"),
            "--port",
            "0",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        port = next(int(line.split(":")[2].split()[0]) for line in process.stderr if "listening on" in line)
        yield process, port
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_real_models_and_stops_in_order(command, number):
    process, port = command
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    answers = []
    for path, fields in (
        ("/tokenize", {"text": "Once upon a time"}),
        ("/generate", {"prompt": "Once upon a time, there was a little", "max_tokens": 5}),
        ("/generate", {"prompt": "Once upon a time, there was a little", "max_tokens": 5}),
        ("/predict", {"features": [0.5] * 784}),
    ):
        connection.request("POST", path, json.dumps(fields), JSON)
        answers.append(json.loads(connection.getresponse().read()))
    connection.close()
    assert answers[0]["token_ids"] == [1, 403, 407, 261, 378]
    assert [answer["completion"] for answer in answers[1:3]] == [" girl named Lily"] * 2
    assert [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers[1:3]] == [0, 4]
    assert answers[3]["prediction"] == 1
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 0
    assert err.endswith("stopped\n")
    assert json.loads(out.splitlines()[-1])["route"] == "/predict"


def test_what_is_served_is_listed_with_commands_that_ask_it():
    summaries = [
        {"id": "iris", "kind": "classify", "quantization": "F32", "size_bytes": 900},
        {"id": "stories", "kind": "generate", "quantization": "Q4_K", "size_bytes": 2_000_000},
        {"id": "broken", "error": "broken.apr, byte 0: no model", "size_bytes": 5},
    ]
    text = "\n".join(describe(summaries, "http://127.0.0.1:8080"))
    assert "broken.apr, byte 0" in text
    for path in ("health", "models", "generate --json", "tokenize --json", "predict --json"):
        assert f"curl http://127.0.0.1:8080/{path}" in text
    assert "/generate" not in "\n".join(describe(summaries[:1], ""))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "nothing to serve"),
        (["--model", "/no/such/file.apr"], 1, "/no/such/file.apr: No such file"),
        (["--port", "70000", "--demo"], 2, "a port from 0 to 65535"),
    ],
)
def test_the_command_refuses_what_it_cannot_serve(capsys, arguments, code, words):
    from realizar_lambda import cli

    assert cli.main(["serve", *arguments]) == code
    assert words in capsys.readouterr().err


def test_the_command_refuses_a_file_that_is_no_model(tmp_path, capsys):
    from realizar_lambda import cli

    (tmp_path / "x.apr").write_bytes(b"hello")
    assert cli.main(["serve", "--model", str(tmp_path / "x.apr")]) == 1
    assert "x.apr, byte 0" in capsys.readouterr().err
