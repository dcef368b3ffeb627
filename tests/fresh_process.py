"""Python in a process of its own: what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from realizar_lambda import native

ROOT = Path(native.__file__).resolve().parent.parent

EMULATED = bool(os.environ.get("REALIZAR_TEST_EMULATED"))
"""Whether an emulator of another machine's processes (qemu-user) runs the tests."""


def python(code: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """What a fresh process prints; its stderr follows where it fails, and the tests look for their words in either."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("REALIZAR", "XDG"))}
    settings = {**inherited, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    for name in (native.LIBRARY_VARIABLE, "XDG_CACHE_HOME"):
        if name in os.environ:
            settings[name] = os.environ[name]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=settings | (environment or {}), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return result.stdout if result.returncode == 0 else f"exit {result.returncode}\n{result.stderr}"
