"""The Runtime API, 2018-06-01, as an HTTP server thread: next, response, error, init error.

It hands events to whichever runtime asks and keeps what the runtime answers and when. It does not start,
time out or kill the runtime: `function` does.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable

from lambda_emulator.records import MAX_PAYLOAD_BYTES, MAX_STREAMED_BYTES
from lambda_emulator.task import ERROR_BODY, ERROR_TYPE, JSON_TYPE, Task, decoded_detail, error_name
from lambda_emulator.wire import Connection, Head, WireError

FUNCTION_ARN = "arn:aws:lambda:us-east-1:012345678912:function:function"
TOO_LARGE = "Function.ResponseSizeTooLarge"
TRUNCATED = "Runtime.TruncatedResponse"

_PREFIX = "/2018-06-01/runtime"
_ANSWER_PATH = re.compile(rf"{_PREFIX}/invocation/([^/]+)/(response|error)")
_MODE = "lambda-runtime-function-response-mode"


class RuntimeApi:
    """The server. `changed` guards everything and is notified whenever something a caller waits for changes.

    `first_next_ns` is when this runtime first asked for an event, `is_asking` whether one waits for an event
    now, `init_error` the name and description of what it reported instead.

    One runtime at a time: `forget_runtime` makes the connections of the last one useless before the next
    one starts, so that a dead runtime's pending `next` cannot swallow an event.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.first_next_ns: int | None = None
        self.is_asking = False
        self.init_error: tuple[str, bytes] | None = None
        self._waiting: Task | None = None
        self._current: Task | None = None
        self._generation = 0
        self._is_closed = False
        self._connections: set[Connection] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start_thread(self._accept)

    @property
    def address(self) -> str:
        """`host:port`, what AWS_LAMBDA_RUNTIME_API holds."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """End every connection and thread."""
        with self.changed:
            self._is_closed = True
            connections = list(self._connections)
            self.changed.notify_all()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it never had a connection to shut down; closing it is enough
        for connection in connections:
            connection.wake()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def submit(self, task: Task) -> None:
        """Give the runtime's next `next` this task. One at a time, as Lambda does."""
        with self.changed:
            self._waiting = task
            self._current = None
            self.changed.notify_all()

    def forget_runtime(self) -> None:
        """Prepare for a new runtime process: whatever the last one still sends is refused."""
        with self.changed:
            self._generation += 1
            self._current = None
            self.is_asking = False
            self.first_next_ns = None
            self.init_error = None
            self.changed.notify_all()

    def notify(self) -> None:
        """Wake whoever waits for a change: something outside this server happened."""
        with self.changed:
            self.changed.notify_all()

    def _start_thread(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return  # the listener was shut down
            connection = Connection(accepted)
            with self.changed:
                if self._is_closed:
                    connection.close()
                    return
                self._connections.add(connection)
                generation = self._generation
            self._start_thread(self._serve, connection, generation)

    def _serve(self, connection: Connection, generation: int) -> None:
        try:
            while True:
                head = connection.read_head()
                if head is None or not self._answer(connection, head, generation):
                    return
        except WireError as error:
            self._refuse(connection, 400, "InvalidRequest", str(error))
        except OSError:
            return  # the runtime is gone; the process watcher reports it
        finally:
            with self.changed:
                self._connections.discard(connection)
            connection.close()

    def _answer(self, connection: Connection, head: Head, generation: int) -> bool:
        """Serve one request; False ends the connection."""
        if (head.method, head.path) == ("GET", f"{_PREFIX}/invocation/next"):
            return self._next(connection, generation)
        if (head.method, head.path) == ("POST", f"{_PREFIX}/init/error"):
            return self._take_init_error(connection, head)
        match = _ANSWER_PATH.fullmatch(head.path)
        if head.method != "POST" or match is None:
            self._drain(connection, head)
            message = f"the Runtime API has no {head.method} {head.path}"
            return self._refuse(connection, 404, "InvalidPath", message)
        with self.changed:
            task = self._current if generation == self._generation else None
            if task is None or task.request_id != match[1] or task.finished_ns is not None:
                task = None
        if task is None:
            self._drain(connection, head)
            return self._refuse(connection, 400, "InvalidRequestID", "Invalid request ID")
        if match[2] == "error":
            return self._take_error(connection, head, task)
        if head.headers.get(_MODE, "").lower() == "streaming":
            return self._take_stream(connection, head, task)
        return self._take_response(connection, head, task)

    def _next(self, connection: Connection, generation: int) -> bool:
        now = time.monotonic_ns()
        with self.changed:
            if generation == self._generation and self.first_next_ns is None:
                self.first_next_ns = now
            if generation == self._generation:
                self.is_asking = True
                self.changed.notify_all()
            self.changed.wait_for(
                lambda: self._is_closed or generation != self._generation or self._waiting is not None
            )
            task = self._waiting
            if self._is_closed or generation != self._generation or task is None:
                return False
            self._waiting = None
            self._current = task
            self.is_asking = False
            task.taken_ns = time.monotonic_ns()
            if task.deadline_ns is None:
                task.deadline_ns = task.taken_ns + round(task.timeout_seconds * 1e9)
            remaining_ms = (task.deadline_ns - task.taken_ns) // 1_000_000
            self.changed.notify_all()
        headers = {
            "Content-Type": JSON_TYPE,
            "Lambda-Runtime-Aws-Request-Id": task.request_id,
            "Lambda-Runtime-Deadline-Ms": str(time.time_ns() // 1_000_000 + remaining_ms),
            "Lambda-Runtime-Invoked-Function-Arn": FUNCTION_ARN,
            "Lambda-Runtime-Trace-Id": task.trace_id,
        }
        if task.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = task.client_context
        connection.send(200, headers | dict(task.headers), task.event)
        return True

    def _take_response(self, connection: Connection, head: Head, task: Task) -> bool:
        pieces = []
        n_bytes = 0
        for data in connection.read_body(head):
            n_bytes += len(data)
            if n_bytes <= MAX_PAYLOAD_BYTES:
                pieces.append((time.monotonic_ns(), data))
        if n_bytes > MAX_PAYLOAD_BYTES:
            with self.changed:
                task.fail(
                    TOO_LARGE,
                    f"Response payload size ({n_bytes} bytes) exceeded maximum allowed payload size "
                    f"({MAX_PAYLOAD_BYTES} bytes).",
                )
                self.changed.notify_all()
            message = f"Exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes)."
            return self._refuse(connection, 413, "RequestEntityTooLarge", message)
        self._finish(task, pieces, head)
        return self._accept_answer(connection)

    def _take_error(self, connection: Connection, head: Head, task: Task) -> bool:
        body = self._drain(connection, head)
        self._finish(task, [(time.monotonic_ns(), body)], head, error_type=error_name(head, body))
        return self._accept_answer(connection)

    def _take_stream(self, connection: Connection, head: Head, task: Task) -> bool:
        n_bytes = 0
        try:
            for data in connection.read_body(head):
                n_bytes += len(data)
                if n_bytes > MAX_STREAMED_BYTES:
                    raise WireError(f"a streamed answer may have {MAX_STREAMED_BYTES} bytes")
                with self.changed:
                    task.pieces.append((time.monotonic_ns(), data))
                    task.is_streamed = True
                    self.changed.notify_all()
        except (WireError, OSError):
            self._finish(task, task.pieces, head, error_type=TRUNCATED)
            raise
        error_type = head.trailers.get(ERROR_TYPE)
        if error_type is not None:
            task.error_detail = decoded_detail(head.trailers.get(ERROR_BODY, ""))
        task.is_streamed = True
        self._finish(task, task.pieces, head, error_type=error_type)
        return self._accept_answer(connection)

    def _take_init_error(self, connection: Connection, head: Head) -> bool:
        body = self._drain(connection, head)
        with self.changed:
            self.init_error = (error_name(head, body), body)
            self.changed.notify_all()
        return self._accept_answer(connection)

    def _finish(self, task: Task, pieces: list[tuple[int, bytes]], head: Head, error_type: str | None = None) -> None:
        with self.changed:
            if task.finished_ns is None:
                task.pieces = pieces
                task.content_type = head.headers.get("content-type", JSON_TYPE)
                task.error_type = error_type
                task.finished_ns = time.monotonic_ns()
            self.changed.notify_all()

    @staticmethod
    def _drain(connection: Connection, head: Head) -> bytes:
        kept = b""
        for data in connection.read_body(head):
            if len(kept) <= MAX_PAYLOAD_BYTES:
                kept += data
        return kept[:MAX_PAYLOAD_BYTES]

    @staticmethod
    def _accept_answer(connection: Connection) -> bool:
        connection.send(202, {"Content-Type": JSON_TYPE}, b'{"status":"OK"}\n')
        return True

    @staticmethod
    def _refuse(connection: Connection, status: int, error_type: str, message: str) -> bool:
        body = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
        try:
            connection.send(status, {"Content-Type": JSON_TYPE}, body)
        except OSError:
            return False
        return True
