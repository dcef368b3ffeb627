"""The server's half of HTTP/1.1, byte by byte over a socket pair."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from lambda_emulator.wire import Connection, WireError


class Peer:
    """The client's end: sends raw bytes and keeps what comes back."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.socket = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        listener.close()
        self.connection = Connection(accepted)

    def say(self, data: bytes, *, ends: bool = False) -> None:
        self.socket.sendall(data)
        if ends:
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.connection.close()
        self.socket.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def test_a_request_with_a_length_is_read_whole(peer: Peer) -> None:
    peer.say(b"POST /x HTTP/1.1\r\nHost: a\r\nX-Two: b: c\r\nContent-Length: 5\r\n\r\nhelloGET")
    head = peer.connection.read_head()
    assert head is not None
    assert (head.method, head.path) == ("POST", "/x")
    assert head.headers == {"host": "a", "x-two": "b: c", "content-length": "5"}
    assert b"".join(peer.connection.read_body(head)) == b"hello"


def test_chunks_come_as_sent_and_trailers_after_them(peer: Peer) -> None:
    peer.say(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nT-One: 1\r\n\r\n"
    )
    head = peer.connection.read_head()
    assert head is not None
    assert list(peer.connection.read_body(head)) == [b"abc", b"0123456789"]
    assert head.trailers == {"t-one": "1"}


def test_a_client_that_waits_for_100_is_told_to_continue(peer: Peer) -> None:
    peer.say(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    head = peer.connection.read_head()
    assert head is not None
    assert b"".join(peer.connection.read_body(head)) == b"ok"
    assert peer.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_peer_that_leaves_between_requests_is_no_error(peer: Peer) -> None:
    peer.say(b"", ends=True)
    assert peer.connection.read_head() is None


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"nonsense\r\n\r\n", "not a request line"),
        (b"GET / SPDY/3\r\n\r\n", "not a request line"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "not a header line"),
        (b"GET / HTTP/1.1\r\nA: 1\r\n", "headers end early"),
        (b"GET / HTTP/1.1\r\nA: 1", "ends early"),
        (b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * 200 + b"\r\n", None),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: 1\r\n" % i for i in range(200)) + b"\r\n", "not a header line"),
    ],
)
def test_a_bad_head_is_named(peer: Peer, sent: bytes, said: str | None) -> None:
    peer.say(sent, ends=True)
    if said is None:
        assert peer.connection.read_head() is not None
        return
    with pytest.raises(WireError, match=said):
        peer.connection.read_head()


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        (b"Content-Length: 10", b"short", "5 bytes early"),
        (b"Content-Length: -1", b"", "count of bytes"),
        (b"Content-Length: ten", b"", "count of bytes"),
        (b"Transfer-Encoding: chunked", b"zz\r\n", "not a chunk size"),
        (b"Transfer-Encoding: chunked", b"5\r\nab", "chunk of 5 bytes"),
        (b"Transfer-Encoding: chunked", b"2\r\nabcd", "chunk of 2 bytes"),
        (b"Transfer-Encoding: chunked", b"2\r\nab\r\n0\r\nT: 1\r\n", "headers end early"),
    ],
)
def test_a_bad_body_is_named(peer: Peer, headers: bytes, body: bytes, said: str) -> None:
    peer.say(b"POST / HTTP/1.1\r\n" + headers + b"\r\n\r\n" + body, ends=True)
    head = peer.connection.read_head()
    assert head is not None
    with pytest.raises(WireError, match=said):
        list(peer.connection.read_body(head))
