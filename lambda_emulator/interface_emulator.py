"""A Lambda function run by the vendor's Runtime Interface Emulator (RIE). It knows no handler.

The binary comes inside the PyPI package aws-sam-cli and runs by itself. What it prints is taken with care:
only `INIT REPORT(durationMs: ...)` is a true init time; its REPORT line's Init Duration and Max Memory Used
are not measurements, so the total is our clock's and memory is the kernel's.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lambda_emulator.environment import function_environment, program
from lambda_emulator.function import EXITED, INIT_SECONDS, TIMED_OUT, encoded_event
from lambda_emulator.memory import child_pids, read_memory
from lambda_emulator.process import RuntimeProcess
from lambda_emulator.records import ColdStart, EmulatorError, Invocation, Memory

_BINARIES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
_INVOKE_PATH = "/2015-03-31/functions/function/invocations"
_INIT_REPORT = re.compile(r"INIT REPORT\(durationMs: ([0-9.]+)\)")
_START_LINE = re.compile(r"START RequestId: (\S+)")
_LOG_SECONDS = 2.0
_LOG_TAIL_BYTES = 65536
_POLL_SECONDS = 0.005


def find_interface_emulator() -> Path | None:
    """The binary for this machine: on PATH as `aws-lambda-rie`, else inside an importable aws-sam-cli, else inside
    that of the `sam` on PATH."""
    on_path = shutil.which("aws-lambda-rie")
    if on_path is not None:
        return Path(on_path).resolve()
    name = _BINARIES.get(platform.machine())
    if name is None:
        return None
    spec = importlib.util.find_spec("samcli")
    packages = [Path(spec.origin).resolve().parent] if spec is not None and spec.origin is not None else []
    sam = shutil.which("sam")
    if sam is not None:
        packages += sorted(Path(sam).resolve().parent.parent.glob("lib/python3*/site-packages/samcli"))
    binaries = [package / "local" / "rapid" / name for package in packages]
    return next((binary for binary in binaries if os.access(binary, os.X_OK)), None)


class InterfaceEmulatorFunction:
    """`aws-lambda-rie python -m awslambdaric handler`, as a context manager like `function.Function`.

    `binary` is the emulator's path (default: found). Raises EmulatorError where there is none, or where it
    does not start. Cold-start and answer times contain the emulator's own work between its two servers.
    """

    start_seconds = 10.0
    """How long the emulator may take until it listens."""

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
        binary: Path | None = None,
    ) -> None:
        found = binary or find_interface_emulator()
        if found is None:
            raise EmulatorError("no Runtime Interface Emulator: install aws-sam-cli, or put aws-lambda-rie on PATH")
        self.cold_start: ColdStart | None = None
        self._binary = found.resolve()
        self._launcher = [str(self._binary)]
        self._command = list(command) if command else [program(python), "-m", "awslambdaric", handler]
        self._cwd = Path(cwd).resolve()
        self._timeout_seconds = timeout_seconds
        self._environment = function_environment(
            handler=handler,
            task_root=self._cwd,
            memory_mb=memory_mb,
            timeout_seconds=timeout_seconds,
            extra=env or {},
        )
        self._port = 0

    def __enter__(self) -> InterfaceEmulatorFunction:
        self._log = tempfile.TemporaryFile()
        self._port, runtime_port = _free_ports(2)
        addresses = {
            "--runtime-interface-emulator-address": f"127.0.0.1:{self._port}",
            "--runtime-api-address": f"127.0.0.1:{runtime_port}",
        }
        flags = [word for flag in addresses.items() for word in flag]
        self._process = RuntimeProcess(
            [*self._launcher, *flags, *self._command],
            environment=self._environment,
            cwd=self._cwd,
            log=self._log,
        )
        self._wait_until_listening()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runtimes = child_pids(self._process.pid) if self._process.exit_status is None else []
        self._process.terminate()
        self._process.wait(_LOG_SECONDS)
        self._process.kill()
        for pid in runtimes:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue  # the emulator ended it, as it should
        self._log.close()

    def invoke(self, event: object) -> Invocation:
        """One invocation. `event` is JSON-able, or bytes that are sent as they are.

        Raises EventTooLargeError for an event over Lambda's limit.
        """
        body = encoded_event(event)
        seconds = INIT_SECONDS + self._timeout_seconds + self.start_seconds
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=seconds)
        try:
            connection.connect()
            start_ns = time.monotonic_ns()
            connection.request("POST", _INVOKE_PATH, body)
            answer = connection.getresponse()
            raw = answer.read()
            duration_ms = (time.monotonic_ns() - start_ns) / 1e6
        except (OSError, http.client.HTTPException) as error:
            raise EmulatorError(f"the Runtime Interface Emulator gave no answer: {error!r}") from error
        finally:
            connection.close()
        error_type = _error_type(answer.status, raw)
        if self.cold_start is None and error_type is None:
            init_ms = self._init_ms()
            self.cold_start = ColdStart(start_ns, init_ms, duration_ms - init_ms, duration_ms)
        return Invocation(
            request_id=self._request_id(),
            raw=raw,
            is_error=error_type is not None,
            error_type=error_type,
            duration_ms=duration_ms,
        )

    def memory(self) -> Memory:
        """Memory of the live runtime process. Raises EmulatorError where there is none."""
        return read_memory(self.pid)

    def peak_memory_bytes(self) -> int:
        """High-water mark of the live runtime process's resident set."""
        return self.memory().peak

    @property
    def pid(self) -> int:
        """Process id of the live runtime, the emulator's child. Raises EmulatorError where there is none."""
        children = child_pids(self._process.pid)
        if not children:
            raise EmulatorError("no runtime process is running; invoke the function first")
        return children[-1]

    def logs(self) -> str:
        """Everything the emulator and the runtime wrote so far."""
        return self._read_log(0)

    def _read_log(self, start: int) -> str:
        descriptor = self._log.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size - start, start).decode("utf-8", "replace")

    def _request_id(self) -> str:
        """The last invocation's id, which the emulator only prints."""
        n_bytes = os.fstat(self._log.fileno()).st_size
        for start in (max(0, n_bytes - _LOG_TAIL_BYTES), 0):
            found = _START_LINE.findall(self._read_log(start))
            if found:
                return str(found[-1])
        raise EmulatorError(f"the Runtime Interface Emulator named no invocation; it said:\n{self.logs()}")

    def _wait_until_listening(self) -> None:
        limit = time.monotonic() + self.start_seconds
        while time.monotonic() < limit and self._process.exit_status is None:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                time.sleep(_POLL_SECONDS)
            else:
                return
        self._process.kill()
        said = self.logs()
        self._log.close()
        raise EmulatorError(f"the Runtime Interface Emulator did not start; it said:\n{said}")

    def _init_ms(self) -> float:
        """The first init time in the log, which may be written a little after the answer."""
        limit = time.monotonic() + _LOG_SECONDS
        while time.monotonic() < limit:
            match = _INIT_REPORT.search(self.logs())
            if match is not None:
                return float(match[1])
            time.sleep(_POLL_SECONDS)
        raise EmulatorError(f"the Runtime Interface Emulator reported no init time; it said:\n{self.logs()}")


def _error_type(status: int, raw: bytes) -> str | None:
    """The error's name, or None for an answer: RIE gives both with status 200, told apart by their shape."""
    if raw.startswith(b"Task timed out after"):
        return TIMED_OUT
    try:
        described = json.loads(raw)
    except ValueError:
        described = None
    if isinstance(described, dict) and {"errorType", "errorMessage"} <= described.keys():
        return str(described["errorType"])
    return None if status == http.HTTPStatus.OK else EXITED


def _free_ports(n: int) -> list[int]:
    """`n` ports that were free a moment ago."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
