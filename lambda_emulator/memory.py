"""Memory and children of a process, read from /proc; it knows nothing of Lambda.

The high-water mark is `VmHWM` and not `getrusage`'s maximum: the latter survives exec, so a child would
report the resident set of the larger process that spawned it.
"""

from __future__ import annotations

import os
from pathlib import Path

from lambda_emulator.records import Memory

_KIB = 1024


def _kib_fields(text: str) -> dict[str, int]:
    fields = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB":
            fields[name] = int(words[0]) * _KIB
    return fields


def read_memory(pid: int) -> Memory:
    """Memory of process `pid`. Raises ProcessLookupError where it is gone."""
    folder = Path("/proc") / str(pid)
    try:
        status = _kib_fields((folder / "status").read_text())
        rollup = _kib_fields((folder / "smaps_rollup").read_text())
        return Memory(peak=status["VmHWM"], resident=status["VmRSS"], proportional=rollup["Pss"])
    except (FileNotFoundError, KeyError) as error:
        raise ProcessLookupError(f"process {pid} has ended; its memory cannot be read") from error


def child_pids(pid: int) -> list[int]:
    """Live direct children of process `pid`, oldest first."""
    children = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = Path("/proc", name, "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if int(parent) == pid and state != "Z":
            children.append(int(name))
    return sorted(children)
