"""The connection to the Runtime API: what it sends, what it takes, and that it takes nothing else."""

from __future__ import annotations

import socket

import pytest
from serving.runtime.scripted_server import ScriptedServer, answer

from realizar_lambda.serving.runtime.connection import MAX_BODY_BYTES, MAX_HEAD_BYTES, Connection, ProtocolError


def get(*script: bytes):
    with ScriptedServer(list(script)) as server:
        return server.connect().exchange("GET", "/next")


def test_a_request_is_written_as_http_has_it():
    with ScriptedServer([answer()]) as server:
        server.connect().exchange("POST", "/a", (("X-Kind", "b"),), b"body")
        expected = f"POST /a HTTP/1.1\r\nHost: {server.address}\r\nUser-Agent: test/1\r\nX-Kind: b\r\n"
        assert server.requests == [expected.encode() + b"Content-Length: 4\r\n\r\nbody"]


def test_an_answer_has_its_status_headers_and_body():
    found = get(answer(b"hello", "202 Accepted", X_Name="  spaced\t", Empty=""))
    assert (found.status, found.body) == (202, b"hello")
    assert found.headers == {"content-length": "5", "x-name": "spaced", "empty": ""}


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Le|pause|ngth: 5\r|pause|\n\r|pause|\nhel|pause|lo",
        b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;note=x\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5|pause|\r\nhe|pause|llo\r|pause|\n0\r\n|pause|\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_a_body_is_whole_however_it_comes(raw):
    assert get(raw).body == b"hello"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"HTTP/2 200 OK\r\n\r\n", "first line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "first line"),
        (b"HTTP/1.1 -20 OK\r\n\r\n", "first line"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "first line"),
        (b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nA : x\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nA: x\r\n folded\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nA: x\0y\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nA: x\rB: y\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xd9\xa5\r\n\r\nhello", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "said twice"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", f"at most {MAX_BODY_BYTES}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", "3 bytes follow"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "ends after 5"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "size of a chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", "size of a chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "size of a chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", f"more than {MAX_BODY_BYTES}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", "does not end"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD_BYTES + 65536), f"more than {MAX_HEAD_BYTES}"),
    ],
)
def test_what_is_no_answer_is_refused(raw, fault):
    with pytest.raises(ProtocolError, match=fault):
        get(raw)


def test_an_answer_that_breaks_off_is_not_asked_for_again():
    with ScriptedServer([answer(), b"HTTP/1.1 200 OK\r\nContent-"], [answer(b"again")]) as server:
        connection = server.connect()
        connection.exchange("GET", "/1")
        with pytest.raises(ConnectionError):
            connection.exchange("GET", "/2")


def test_one_connection_serves_many_requests():
    with ScriptedServer([answer(b"1"), answer(b"2"), answer(b"3")]) as server:
        connection = server.connect()
        assert [connection.exchange("GET", "/").body for _ in range(3)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("last", [answer(b"1"), answer(b"1", Connection="close")])
def test_a_kept_connection_that_was_closed_is_made_again(last):
    with ScriptedServer([last], [answer(b"2")]) as server:
        connection = server.connect()
        assert connection.exchange("GET", "/1").body == b"1"
        assert connection.exchange("POST", "/2", (), b"x").body == b"2"
        assert [request.split()[1] for request in server.requests] == [b"/1", b"/2"]


def test_a_server_that_closes_at_once_is_an_error():
    with ScriptedServer([b""]) as server, pytest.raises(ConnectionError):
        server.connect().exchange("GET", "/")


def test_no_server_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        Connection(f"127.0.0.1:{port}", user_agent="x").exchange("GET", "/")


@pytest.mark.parametrize("address", ["", "localhost", ":80", "localhost:", "localhost:http", "localhost:\xb2"])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(ProtocolError, match="host:port"):
        Connection(address, user_agent="x")


def test_a_name_is_looked_up():
    with ScriptedServer([answer(b"1")]) as server:
        port = server.address.rpartition(":")[2]
        connection = Connection(f"localhost:{port}", user_agent="x")
        assert connection.exchange("GET", "/").body == b"1"
        connection.close()


def test_a_body_in_chunks_is_written_as_http_has_it():
    with ScriptedServer([answer(b"ok")]) as server:
        connection = server.connect()
        connection.begin("/response", (("Trailer", "X"),))
        for piece in (b"one", b"", b"0123456789abcdef!"):
            connection.write(piece)
        assert connection.end((("X", "y"),)).body == b"ok"
        body = server.requests[0].partition(b"\r\n\r\n")[2]
        assert body == b"3\r\none\r\n11\r\n0123456789abcdef!\r\n0\r\nX: y\r\n\r\n"
