"""One runtime process: spawned, watched, killed. It does not know what the process serves."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO


class RuntimeProcess:
    """A child in a session of its own, its output going to `log`. `spawned_ns` is `time.monotonic_ns`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        log: IO[bytes],
        on_exit: Callable[[], None] | None = None,
    ) -> None:
        self._on_exit = on_exit
        self.spawned_ns = time.monotonic_ns()
        self._child = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def exit_status(self) -> str | None:
        """How it ended in Lambda's words, "exit status 3" or "signal: killed"; None while it runs."""
        code = self._child.returncode
        if code is None:
            return None
        if code >= 0:
            return f"exit status {code}"
        return "signal: " + (signal.strsignal(-code) or str(-code)).lower()

    def kill(self) -> None:
        """Kill it and all of its session, and wait until it is gone."""
        if self._child.returncode is None:
            try:
                os.killpg(self._child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself a moment ago
        self._watcher.join()

    def terminate(self) -> None:
        """Ask it to end."""
        if self._child.returncode is None:
            self._child.terminate()

    def wait(self, seconds: float) -> bool:
        """Whether it ended within `seconds`."""
        self._watcher.join(seconds)
        return not self._watcher.is_alive()

    def _watch(self) -> None:
        self._child.wait()
        if self._on_exit is not None:
            self._on_exit()
