"""What the packaging tests share: the scripts of `packaging/` on the path, which are no package, and the engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = str(ROOT / "packaging")
if SCRIPTS not in sys.path:
    sys.path.append(SCRIPTS)

STAND_IN_BASE = "local/python:3.11-slim"
"""Where nothing can be pulled: a base image made on the machine itself."""


@pytest.fixture(scope="session")
def engine() -> str:
    """The docker client, where an engine answers it."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker client on PATH")
    if subprocess.run([docker, "info"], capture_output=True, timeout=60, check=False).returncode != 0:
        pytest.skip("no Docker engine answers")
    return docker


@pytest.fixture(scope="session")
def base_image(engine: str) -> str | None:
    """`$REALIZAR_BASE_IMAGE`, else the stand-in where the engine has it, else None: the Dockerfile's own."""
    configured = os.environ.get("REALIZAR_BASE_IMAGE")
    if configured:
        return configured
    has = subprocess.run([engine, "image", "inspect", STAND_IN_BASE], capture_output=True, check=False).returncode == 0
    return STAND_IN_BASE if has else None


@pytest.fixture(scope="session")
def image(engine: str, base_image: str | None) -> str:
    """The function's image, built from the working tree; the engine's cache makes a second build short."""
    name = "realizar-lambda:tested"
    arguments = ["--build-arg", f"BASE_IMAGE={base_image}"] if base_image else []
    command = [engine, "build", "-f", "Dockerfile.lambda", *arguments, "-t", name, "."]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return name
