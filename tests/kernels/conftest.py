"""One kernel library for each instruction set that this CPU can run, and a clear word where one is stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from realizar_lambda import native
from realizar_lambda.kernels import build

FLAGS = native.cpu_flags()
RUNNABLE = [name for name, needed in native.ISAS[os.uname().machine] if FLAGS.issuperset(needed.split())]


@pytest.fixture(scope="session")
def native_folder() -> Path:
    """The folder of libraries built from the sources as they are."""
    folder = Path(os.environ.get(native.LIBRARY_VARIABLE) or native.FOLDER)
    if not build.is_current(folder, RUNNABLE):
        pytest.fail(f"the kernel libraries in {folder} are missing or stale: run `make kernels`")
    return folder


@pytest.fixture(scope="session", params=RUNNABLE)
def library(request: pytest.FixtureRequest, native_folder: Path) -> native.Library:
    """Each library that this CPU can run, in turn."""
    return native.Library(request.param, str(native_folder / f"{request.param}.so"))


@pytest.fixture(scope="session")
def libraries(native_folder: Path) -> list[native.Library]:
    """All of them at once."""
    return [native.Library(name, str(native_folder / f"{name}.so")) for name in RUNNABLE]
