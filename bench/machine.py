"""Facts that a stored result needs to be read years later; no host name and no path is among them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from realizar_lambda import native

ROOT = Path(__file__).resolve().parent.parent

_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def cpu(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The CPU's name, on x86_64 with its family and model and the kernel library that it wants: a hypervisor may give
    processors of several generations one name."""
    facts: dict[str, str] = {}
    for line in Path(cpuinfo).read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    found = facts.get("model name") or facts.get("CPU part", "unknown")
    if "cpu family" not in facts:
        return found
    isa = native.choose_isa(platform.machine(), native.listed_flags(cpuinfo))
    return f"{found} (family {facts['cpu family']}, model {facts.get('model', 'unknown')}, {isa})"


def machine() -> dict[str, object]:
    """CPU, cores that this process may use, memory, kernel, C library."""
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "architecture": platform.machine(),
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(n_bytes / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "libc": " ".join(platform.libc_ver()),
    }


def versions(python: str, packages: Iterable[str]) -> dict[str, str]:
    """Version of an interpreter and of those of `packages` that it has."""
    done = subprocess.run([python, "-c", _VERSIONS, *packages], capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def commit() -> str:
    """The commit that is measured; "-dirty" where tracked files outside results and documents differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()

    try:
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results", ":!docs", ":!README.md"
        )
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def stamp(*, pythons: Iterable[str] = (sys.executable,), packages: Iterable[str] = ()) -> dict[str, object]:
    """What every stored result begins with."""
    found: dict[str, str] = {}
    for python in pythons:
        found |= versions(python, packages)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "versions": dict(sorted(found.items())),
    }
