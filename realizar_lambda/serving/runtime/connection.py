"""The client's half of HTTP/1.1 over one kept connection, strict about what it reads. It knows no path.

A bare `_socket`: the module `socket` imports `selectors` and `enum`, `http.client` all of `email`.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Headers = Iterable[tuple[str, str]]

MAX_HEAD_BYTES = 1 << 20
MAX_BODY_BYTES = 64 << 20
_READ_BYTES = 1 << 16
_CONTROLS = bytes((*range(9), *range(10, 32), 127))
_FRAMING = ("content-length", "transfer-encoding")


class ProtocolError(Exception):
    """The other side's bytes are no HTTP/1.1 answer that can be told apart from the next."""


class Answer:
    """A status, headers by lower-case name, and the whole body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """A connection to `address`, "host:port", made when it is first used and again where the other side closed it.

    One request at a time. Raises ProtocolError, and OSError where the other side is not there.
    """

    def __init__(self, address: str, *, user_agent: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()):
            raise ProtocolError(f"an address is host:port, got {address[:100]!r}")
        self._host = host.strip("[]")
        self._port = int(port)
        self._common = f"Host: {address}\r\nUser-Agent: {user_agent}\r\n"
        self._socket: _socket.socket | None = None
        self._read = b""
        self._is_answered = False  # whether a byte of the answer to the last request has come

    def close(self) -> None:
        """End the connection; the next request makes another."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._read = b""

    def exchange(self, method: str, path: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        """One request and its answer. One that a kept connection swallowed, since it was closed, is sent again."""
        length = () if body is None else (("Content-Length", str(len(body))),)
        request = self._head(method, path, (*headers, *length)) + (body or b"")
        while True:
            is_kept = self._socket is not None
            self._is_answered = False
            try:
                try:
                    self._connected().sendall(request)
                except ConnectionError:
                    if not is_kept:
                        raise
                    # it may have answered before it closed, to a body that is too large: the reading tells
                return self._answer()
            except ConnectionError:
                self.close()
                if self._is_answered or not is_kept:
                    raise

    # A request whose body comes piece by piece

    def begin(self, path: str, headers: Headers) -> None:
        """Send the head of a POST in chunks."""
        self._connected().sendall(self._head("POST", path, (*headers, ("Transfer-Encoding", "chunked"))))

    def write(self, data: bytes) -> None:
        """Send one chunk; an empty one would end the body and is left out."""
        if data:
            self._connected().sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, trailers: Headers = ()) -> Answer:
        """End the body; the answer."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
        self._connected().sendall(f"0\r\n{lines}\r\n".encode("latin-1"))
        return self._answer()

    def _head(self, method: str, path: str, headers: Headers) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return f"{method} {path} HTTP/1.1\r\n{self._common}{lines}\r\n".encode("latin-1")

    def _connected(self) -> _socket.socket:
        if self._socket is None:
            family = _socket.AF_INET6 if ":" in self._host else _socket.AF_INET
            made = _socket.socket(family, _socket.SOCK_STREAM)
            try:
                made.connect((self._host, self._port))
                made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except BaseException:
                made.close()
                raise
            self._socket = made
        return self._socket

    # Reading

    def _answer(self) -> Answer:
        status = 100
        while status < 200:  # 1xx announces an answer that is still to come
            version, status, headers = self._read_head()
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise ProtocolError(f"Transfer-Encoding must be chunked and alone, got {coding[:40]!r}")
            body = self._read_chunks()
        elif status == 204 and length is None:
            body = b""
        else:
            if length is None or not (length.isascii() and length.isdigit() and len(length) < 12):
                raise ProtocolError(f"Content-Length must be a count of bytes, got {str(length)[:40]!r}")
            body = self._read_bytes(int(length))
        if self._read:
            raise ProtocolError(f"{len(self._read)} bytes follow an answer that has ended")
        if version == b"HTTP/1.0" or headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)

    def _read_head(self) -> tuple[bytes, int, dict[str, str]]:
        searched = 0
        while (end := self._read.find(b"\r\n\r\n", searched)) < 0:
            if len(self._read) > MAX_HEAD_BYTES:
                raise ProtocolError(f"the head of an answer has more than {MAX_HEAD_BYTES} bytes")
            searched = max(0, len(self._read) - 3)
            self._fill()
        first, *lines = self._read[:end].split(b"\r\n")
        self._read = self._read[end + 4 :]
        version, _, rest = first.partition(b" ")
        code = rest.partition(b" ")[0]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(code) != 3 or not code.isdigit() or code < b"100":
            raise ProtocolError(f"not the first line of an answer: {first[:80]!r}")
        return version, int(code), _fields(lines)

    def _read_bytes(self, n: int) -> bytes:
        if n > MAX_BODY_BYTES:
            raise ProtocolError(f"a body of {n} bytes, at most {MAX_BODY_BYTES} are read")
        if len(self._read) >= n:
            body, self._read = self._read[:n], self._read[n:]
            return body
        room = bytearray(n)
        place = len(self._read)
        room[:place] = self._read
        self._read = b""
        view = memoryview(room)
        while place < n:
            received = self._connected().recv_into(view[place:])
            if not received:
                raise ProtocolError(f"a body of {n} bytes ends after {place}")
            place += received
        view.release()
        return bytes(room)

    def _read_chunks(self) -> bytes:
        pieces: list[bytes] = []
        n_bytes = 0
        while True:
            size = self._read_line().partition(b";")[0].strip()
            if not 0 < len(size) <= 8 or size.strip(b"0123456789abcdefABCDEF"):
                raise ProtocolError(f"not the size of a chunk: {size[:40]!r}")
            n_bytes += int(size, 16)
            if n_bytes > MAX_BODY_BYTES:
                raise ProtocolError(f"a body of more than {MAX_BODY_BYTES} bytes")
            if int(size, 16) == 0:
                while self._read_line():
                    pass  # trailers, which nobody asked for
                return b"".join(pieces)
            pieces.append(self._read_bytes(int(size, 16)))
            if self._read_bytes(2) != b"\r\n":
                raise ProtocolError("a chunk does not end where it says")

    def _read_line(self) -> bytes:
        while (end := self._read.find(b"\r\n")) < 0:
            if len(self._read) > MAX_HEAD_BYTES:
                raise ProtocolError(f"a line of more than {MAX_HEAD_BYTES} bytes")
            self._fill()
        line, self._read = self._read[:end], self._read[end + 2 :]
        return line

    def _fill(self) -> None:
        received = self._connected().recv(_READ_BYTES)
        if not received:
            raise ConnectionResetError("the other side closed the connection before it answered")
        self._is_answered = True
        self._read += received


def _fields(lines: list[bytes]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not name or name.strip() != name or (name + value).translate(None, _CONTROLS) != name + value:
            raise ProtocolError(f"not a header line: {line[:80]!r}")
        key = name.decode("latin-1").lower()
        if key in _FRAMING and key in fields:
            raise ProtocolError(f"{key} is said twice")
        fields[key] = value.decode("utf-8", "replace")
    return fields
