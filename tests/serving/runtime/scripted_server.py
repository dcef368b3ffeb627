"""A server that sends what it was told to, whatever it is asked, and keeps what it was sent."""

from __future__ import annotations

import socket
import threading
import time

from realizar_lambda.serving.runtime.connection import Connection


class ScriptedServer:
    """`scripts` are the accepted connections in order: each a list of bytes, sent as answers to one request each, after
    which the connection is closed. `requests` are the whole requests that came."""

    def __init__(self, *scripts: list[bytes]) -> None:
        self.requests: list[bytes] = []
        self._scripts = scripts
        self._clients: list[Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> ScriptedServer:
        return self

    def connect(self) -> Connection:
        """A connection of ours to this server, closed with it."""
        made = Connection(self.address, user_agent="test/1")
        self._clients.append(made)
        return made

    def __exit__(self, *error: object) -> None:
        for client in self._clients:
            client.close()
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        for answers in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                for answer in answers:
                    request = _read_request(connection)
                    if not request:
                        break
                    self.requests.append(request)
                    for piece in answer.split(b"|pause|"):
                        connection.sendall(piece)
                        time.sleep(0.02 if b"|pause|" in answer else 0)


def _read_request(connection: socket.socket) -> bytes:
    """A head and its body, of a length or in chunks."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return b""
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    is_chunked = fields.get(b"transfer-encoding") == b"chunked"
    while (is_chunked and not (body.endswith(b"\r\n\r\n") and b"0\r\n" in body)) or (
        len(body) < int(fields.get(b"content-length", b"0"))
    ):
        received = connection.recv(65536)
        if not received:
            break
        body += received
    return head + b"\r\n\r\n" + body


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """An answer of a known length; `headers` with underscores for hyphens."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
