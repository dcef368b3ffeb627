"""A Lambda function's image behind the vendor's emulator, in a container with a memory size's CPU share. It knows no
handler, and it builds no image.

Lambda gives one CPU at 1,769 MB and less in proportion. The container has the same share, in the 100 ms periods of the
kernel's quota: a function of 128 MB works for 7 ms of each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lambda_emulator.interface_emulator import InterfaceEmulatorFunction
from lambda_emulator.memory import child_pids
from lambda_emulator.records import EmulatorError

MB_PER_CPU = 1769
_CGROUPS = Path("/sys/fs/cgroup")
_PEAKS = ("memory.peak", "memory.max_usage_in_bytes")
_KILLS = (("memory.events", re.compile(r"oom_kill (\d+)")), ("memory.oom_control", re.compile(r"oom_kill (\d+)")))


def cpu_share(memory_mb: int) -> float:
    """CPUs of a function of this size."""
    return memory_mb / MB_PER_CPU


def entry_of(image: str, *, engine: str = "docker") -> list[str]:
    """The image's entry point, which the emulator is to start."""
    found = json.loads(_output(engine, "image", "inspect", "--format", "{{json .Config.Entrypoint}}", image))
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise EmulatorError(f"the image {image} has no entry point that can be read: {found!r}")
    return found


class ContainerFunction(InterfaceEmulatorFunction):
    """`aws-lambda-rie ENTRYPOINT handler` in a container of `image`, as a context manager.

    `entry` replaces the image's entry point; `volumes` are (folder here, path inside, "ro" or "rw").
    """

    start_seconds = 60.0

    def __init__(
        self,
        handler: str,
        *,
        image: str,
        memory_mb: int,
        env: Mapping[str, str] | None = None,
        entry: Sequence[str] | None = None,
        volumes: Sequence[tuple[Path, str, str]] = (),
        timeout_seconds: float = 120.0,
        engine: str = "docker",
    ) -> None:
        command = [*(entry or entry_of(image, engine=engine)), handler]
        super().__init__(handler, command=command, timeout_seconds=timeout_seconds, memory_mb=memory_mb, cwd=Path("/"))
        self._engine = engine
        self._name = f"realizar-lambda-{uuid.uuid4().hex[:12]}"
        self._mounted = [inside for _, inside, _ in volumes] + ["/emulator"]
        given = {
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": f"{round(timeout_seconds)}",
            **(env or {}),
        }
        flags = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
        for here, inside, mode in volumes:
            flags += ["--volume", f"{here.resolve()}:{inside}:{mode}"]
        self._launcher = [
            *(engine, "run", "--name", self._name, "--network", "host"),
            *("--memory", f"{memory_mb}m", "--memory-swap", f"{memory_mb}m", f"--cpus={cpu_share(memory_mb):.4f}"),
            *("--volume", f"{self._binary}:/emulator:ro", "--entrypoint", "/emulator"),
            *(*flags, image),
        ]
        self._environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([self._engine, "rm", "-f", self._name], capture_output=True, check=False)
        super().__exit__(kind, error, trace)

    @property
    def pid(self) -> int:
        """Process id of the live runtime, the emulator's child. Raises EmulatorError where there is none."""
        children = child_pids(self._emulator_pid())
        if not children:
            raise EmulatorError("no runtime process is running; invoke the function first")
        return children[-1]

    def peak_group_bytes(self) -> int:
        """The most that the whole container ever had: processes, the emulator's among them, and the pages of files
        that no container had read before."""
        for name in _PEAKS:
            path = self._memory_group() / name
            if path.exists():
                return int(path.read_text())
        raise EmulatorError(f"the kernel keeps no peak of the container: {self._memory_group()} has none of {_PEAKS}")

    def n_killed(self) -> int:
        """How many of its processes were killed for memory."""
        for name, pattern in _KILLS:
            path = self._memory_group() / name
            match = pattern.search(path.read_text()) if path.exists() else None
            if match is not None:
                return int(match[1])
        return 0

    def processes(self) -> list[str]:
        """The command lines of what runs in the container now."""
        pids = (self._memory_group() / "cgroup.procs").read_text().split()
        return [Path("/proc", pid, "cmdline").read_text().replace("\0", " ").strip() for pid in pids]

    def mapped_files(self) -> set[str]:
        """The files that the runtime has mapped: libraries and models."""
        lines = Path("/proc", str(self.pid), "maps").read_text().splitlines()
        return {line.split(maxsplit=5)[5] for line in lines if line.count("/") and len(line.split(maxsplit=5)) == 6}

    def written_files(self) -> list[str]:
        """What differs from the image by now, mount points aside."""
        lines = _output(self._engine, "diff", self._name).splitlines()
        parents = {"/", *(parent.as_posix() for path in self._mounted for parent in Path(path).parents)}
        return [line[2:] for line in lines if line[2:] not in parents and line[2:] not in self._mounted]

    def _emulator_pid(self) -> int:
        return int(_output(self._engine, "inspect", "--format", "{{.State.Pid}}", self._name))

    def _memory_group(self) -> Path:
        """The folder of the container's control group, in either version of the kernel's interface."""
        for line in Path("/proc", str(self._emulator_pid()), "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                return _CGROUPS / "memory" / path.strip("/")
            if not controllers and (_CGROUPS / "cgroup.controllers").exists():
                return _CGROUPS / path.strip("/")
        raise EmulatorError("the container has no control group for memory")


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EmulatorError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()
