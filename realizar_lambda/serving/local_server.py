"""The local HTTP server: waitress reads sockets, the application answers. It knows no route and no model.

Waitress bounds what a client may cost: the size of headers and body before they are read, the number of
connections, the time one may stay silent. What it refuses itself it refuses in the contract's JSON.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import closing

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask
from waitress.wasyncore import close_all

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.failures import failure_response
from realizar_lambda.serving.http import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from typing import Any

    from realizar_lambda.serving.application import Application

    StartResponse = Callable[[str, list[tuple[str, str]]], Any]

SOURCE = "local"
MAX_HEADER_BYTES = 64 << 10
MAX_CONNECTIONS = 128
SILENCE_SECONDS = 30
N_THREADS = 8


class LocalServer:
    """A listening server. `port` is the one it got, for `port=0` too. Raises OSError where it cannot listen."""

    def __init__(self, application: Application, *, host: str, port: int) -> None:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=MAX_CONNECTIONS)
        self.host, self.port = listener.getsockname()[:2]
        self._sockets: dict[int, Any] = {}
        self._left: dict[int, Any] = {}
        self._closing = threading.RLock()  # a signal may come while its thread holds it
        self._is_closed = False
        self._server = create_server(
            as_wsgi(application),
            map=self._sockets,
            sockets=[listener],
            asyncore_use_poll=True,
            threads=N_THREADS,
            connection_limit=MAX_CONNECTIONS,
            channel_timeout=SILENCE_SECONDS,
            cleanup_interval=5,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=application.settings.max_body_bytes + 1,
            ident="realizar-lambda",
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = _Channel
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a full queue is no news on one's own machine

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def run(self) -> None:
        """Serve until `stop` or a KeyboardInterrupt; what is being answered then has five seconds to end."""
        try:
            self._server.run()
        finally:
            self._server.task_dispatcher.shutdown()
            with self._closing:
                self._is_closed = True
                close_all({**self._left, **self._sockets})

    def stop(self) -> None:
        """End `run`; for signal handlers and other threads."""
        with self._closing:
            if not self._is_closed:
                self._server.trigger.pull_trigger(self._leave_loop)

    def _leave_loop(self) -> None:
        """The loop goes on while it has sockets."""
        self._left.update(self._sockets)
        self._sockets.clear()


def as_wsgi(application: Application) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """The application behind the WSGI interface (PEP 3333)."""

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        response = application.respond(_to_request(environ))
        start_response(response.status_line, list(response.headers.items()))
        if response.chunks is not None:
            return _encoded(response.chunks)
        body = response.body
        return [body.encode("utf-8") if isinstance(body, str) else body]

    return answer


def _encoded(chunks: Generator[str, None, None]) -> Iterator[bytes]:
    """A body that is still to come. Waitress closes it when the client has left, and that ends the answering."""
    with closing(chunks):
        for chunk in chunks:
            yield chunk.encode("utf-8")


def _to_request(environ: Mapping[str, Any]) -> Request:
    from urllib.parse import parse_qsl

    headers = {name[5:].lower().replace("_", "-"): environ[name] for name in environ if name.startswith("HTTP_")}
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    return Request(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        query=dict(parse_qsl(environ.get("QUERY_STRING", ""))),
        headers=headers,
        body=environ["wsgi.input"].read(),
        source=SOURCE,
        request_id=_new_request_id(),
        can_stream=True,
    )


def _new_request_id() -> str:
    return os.urandom(8).hex()


class _JSONErrorTask(ErrorTask):  # type: ignore[misc]
    """What waitress refuses before there is a request: malformed HTTP, headers or a body over the limits."""

    def execute(self) -> None:
        refused = self.request.error
        message = f"{refused.reason.lower()}: {refused.body}"
        if refused.code == 413:
            message = f"the body must have at most {self.channel.adj.max_request_body_size - 1} bytes"
        response = failure_response(RequestError(refused.code, message), _new_request_id())
        self.status = response.status_line
        self.response_headers.extend(response.headers.items())
        self.set_close_on_finish()
        body = str(response.body).encode("ascii")
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    error_task_class = _JSONErrorTask
