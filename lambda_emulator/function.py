"""A Lambda function run by our own Runtime API: start, invoke, time out, measure. It knows no handler."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lambda_emulator.environment import function_environment, program
from lambda_emulator.memory import read_memory
from lambda_emulator.process import RuntimeProcess
from lambda_emulator.records import (
    MAX_PAYLOAD_BYTES,
    ColdStart,
    EmulatorError,
    EventTooLargeError,
    Invocation,
    Memory,
)
from lambda_emulator.runtime_api import RuntimeApi
from lambda_emulator.task import Task

INIT_SECONDS = 10.0
"""What Lambda gives an on-demand function's init before it runs it again inside the first invocation."""

EXITED = "Runtime.ExitError"
TIMED_OUT = "Sandbox.Timedout"


class Function:
    """`python -m awslambdaric handler` behind our Runtime API, as a context manager.

    The process is spawned by the first `invoke`, its event already waiting, as Lambda does it; after a
    timeout, an init error or a death the next `invoke` spawns another. `command` replaces the whole command
    line (the handler's name is still in `_HANDLER`); `env` is added to a Lambda-like environment. Times are
    the monotonic clock's.
    """

    def __init__(
        self,
        handler: str,
        *,
        env: Mapping[str, str] | None = None,
        python: str = sys.executable,
        cwd: str | Path = ".",
        command: Sequence[str] | None = None,
        timeout_seconds: float = 30.0,
        memory_mb: int = 1769,
        init_seconds: float = INIT_SECONDS,
    ) -> None:
        self.cold_start: ColdStart | None = None
        self._command = list(command) if command else [program(python), "-m", "awslambdaric", handler]
        self._cwd = Path(cwd).resolve()
        self._timeout_seconds = timeout_seconds
        self._init_seconds = init_seconds
        self._environment = function_environment(
            handler=handler,
            task_root=self._cwd,
            memory_mb=memory_mb,
            timeout_seconds=timeout_seconds,
            extra=env or {},
        )
        self._process: RuntimeProcess | None = None

    def __enter__(self) -> Function:
        self._log = tempfile.TemporaryFile()
        self._api = RuntimeApi()
        self._environment["AWS_LAMBDA_RUNTIME_API"] = self._api.address
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._api.close()
        self._log.close()

    def invoke(
        self, event: object, *, client_context: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Invocation:
        """One invocation. `event` is JSON-able, or bytes that are sent as they are; `headers` are added to those of
        the Runtime API, and win.

        Raises EventTooLargeError for an event over Lambda's limit.
        """
        task = Task(encoded_event(event), self._timeout_seconds, _trace_id(), client_context, headers or {})
        submitted_ns = time.monotonic_ns()
        process = self._process
        if process is not None and self._is_ready(process):
            self._api.submit(task)
        else:
            process = self._spawn(task, is_init_in_timeout=process is not None)
        if not self._outcome(task, process):
            self._stop()
            process = self._spawn(task, is_init_in_timeout=True)
            self._outcome(task, process)
        if task.error_type == TIMED_OUT or self._api.init_error is not None:
            self._stop()
        if self.cold_start is None and task.taken_ns is not None and task.finished_ns is not None:
            ready_ns = self._api.first_next_ns or task.taken_ns
            self.cold_start = ColdStart(
                start_ns=process.spawned_ns,
                init_ms=(ready_ns - process.spawned_ns) / 1e6,
                first_answer_ms=(task.finished_ns - ready_ns) / 1e6,
                total_ms=(task.finished_ns - process.spawned_ns) / 1e6,
            )
        return task.invocation(submitted_ns)

    def memory(self) -> Memory:
        """Memory of the live runtime process. Raises EmulatorError where there is none."""
        return read_memory(self.pid)

    def peak_memory_bytes(self) -> int:
        """High-water mark of the live runtime process's resident set."""
        return self.memory().peak

    @property
    def pid(self) -> int:
        """Process id of the live runtime. Raises EmulatorError where there is none."""
        if self._process is None or self._process.exit_status is not None:
            raise EmulatorError("no runtime process is running; invoke the function first")
        return self._process.pid

    def logs(self) -> str:
        """Everything the runtime wrote so far."""
        descriptor = self._log.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", "replace")

    def _is_ready(self, process: RuntimeProcess) -> bool:
        """Wait until the runtime asks for an event again; False where it ended, or was killed for not asking."""
        with self._api.changed:
            self._api.changed.wait_for(
                lambda: self._api.is_asking or process.exit_status is not None, self._timeout_seconds
            )
            if self._api.is_asking and process.exit_status is None:
                return True
        self._stop()
        return False

    def _spawn(self, task: Task, *, is_init_in_timeout: bool) -> RuntimeProcess:
        """Start a runtime, `task` already waiting for it."""
        if is_init_in_timeout:
            task.deadline_ns = time.monotonic_ns() + round(self._timeout_seconds * 1e9)
        self._api.forget_runtime()
        self._api.submit(task)
        self._process = RuntimeProcess(
            self._command,
            environment=self._environment,
            cwd=self._cwd,
            log=self._log,
            on_exit=self._api.notify,
        )
        return self._process

    def _outcome(self, task: Task, process: RuntimeProcess) -> bool:
        """Wait until `task` has finished, failing it where it must; False where init took too long."""
        init_limit_ns = process.spawned_ns + round(self._init_seconds * 1e9)
        request = f"RequestId: {task.request_id} Error:"
        with self._api.changed:
            while task.finished_ns is None:
                limit_ns = init_limit_ns if task.deadline_ns is None else task.deadline_ns
                remaining_ns = limit_ns - time.monotonic_ns()
                if self._api.init_error is not None:
                    task.end_with(*self._api.init_error)
                elif process.exit_status is not None:
                    task.fail(EXITED, f"{request} Runtime exited with error: {process.exit_status}")
                elif remaining_ns > 0:
                    self._api.changed.wait(remaining_ns / 1e9)
                elif task.deadline_ns is None:
                    return False
                else:
                    task.fail(TIMED_OUT, f"{request} Task timed out after {self._timeout_seconds:.2f} seconds")
            return True

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()


def encoded_event(event: object) -> bytes:
    """An event as the bytes of its JSON. Raises EventTooLargeError for one over Lambda's limit."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    if len(body) > MAX_PAYLOAD_BYTES:
        raise EventTooLargeError(len(body))
    return body


def _trace_id() -> str:
    root = uuid.uuid4().hex
    return f"Root=1-{int(time.time()):08x}-{root[:24]};Parent={root[16:]};Sampled=0"
