"""The server's half of HTTP/1.1 over one socket, small and fast; it knows no routes.

Time spent here is part of every measured cold start, so it reads and writes as little as it can. Bodies come
with a length or in chunks with trailers; `Expect: 100-continue` is answered.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

_MAX_LINE_BYTES = 2 * 1024 * 1024
"""The runtime client may put up to 1 MiB of fault description into one header."""

_MAX_HEADERS = 128
_READ_BYTES = 65536

_REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Payload Too Large",
}


class WireError(Exception):
    """The peer's bytes are not HTTP/1.1, or end too early."""


@dataclass(slots=True)
class Head:
    """A request's first line and headers, names in lower case; `trailers` fill as the body is read."""

    method: str
    path: str
    headers: Mapping[str, str]
    trailers: dict[str, str] = field(default_factory=dict)


class Connection:
    """One accepted socket, read and written from one thread."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self._reader = cast(io.BufferedReader, accepted.makefile("rb", _READ_BYTES))

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._reader.close()
        self._socket.close()

    def wake(self) -> None:
        """End a read that another thread waits in."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the peer closed first

    def read_head(self) -> Head | None:
        """The next request's head, or None where the peer closed between requests."""
        first = self._line()
        if not first:
            return None
        words = first.split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise WireError(f"not a request line: {first[:80]!r}")
        return Head(words[0].decode("latin-1"), words[1].decode("latin-1"), self._fields())

    def read_body(self, head: Head) -> Iterator[bytes]:
        """The body's pieces as they arrive; `head.trailers` is complete when the iterator is."""
        if head.headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if head.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks(head)
            return
        length = head.headers.get("content-length", "0")
        if not length.isdigit():
            raise WireError(f"Content-Length must be a count of bytes, got {length[:40]!r}")
        remaining = int(length)
        while remaining:
            data = self._reader.read1(min(remaining, _READ_BYTES))
            if not data:
                raise WireError(f"the body ends {remaining} bytes early")
            remaining -= len(data)
            yield data

    def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Answer with `body` in one write, so that no part of it waits for an acknowledgement."""
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        self._socket.sendall("\r\n".join(lines).encode("latin-1") + body)

    def _chunks(self, head: Head) -> Iterator[bytes]:
        while True:
            size_text = self._line().split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError:
                raise WireError(f"not a chunk size: {size_text[:40]!r}") from None
            if size == 0:
                head.trailers.update(self._fields())
                return
            data = self._reader.read(size)
            if len(data) < size or self._reader.read(2) != b"\r\n":
                raise WireError(f"a chunk of {size} bytes ends early")
            yield data

    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while True:
            line = self._line()
            if not line:
                raise WireError("the headers end early")
            if not line.strip():
                return fields
            name, colon, value = line.partition(b":")
            if not colon or len(fields) == _MAX_HEADERS:
                raise WireError(f"not a header line: {line[:80]!r}")
            fields[name.decode("latin-1").lower()] = value.strip().decode("latin-1")

    def _line(self) -> bytes:
        line = self._reader.readline(_MAX_LINE_BYTES)
        if line and not line.endswith(b"\n"):
            raise WireError(f"a line ends early after {len(line)} bytes")
        return line
