"""Each kernel library that this CPU can run, in turn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from realizar_lambda import native

FLAGS = native.cpu_flags()
RUNNABLE = [name for name, needed in native.ISAS[os.uname().machine] if FLAGS.issuperset(needed.split())]


@pytest.fixture(scope="session", params=RUNNABLE)
def library(request: pytest.FixtureRequest) -> native.Library:
    """A library built from this checkout, or the one of a first use."""
    shipped = Path(os.environ.get(native.LIBRARY_VARIABLE) or native.FOLDER) / f"{request.param}.so"
    if not shipped.exists():
        pytest.fail(f"no {shipped}: run `make kernels`")
    return native.Library(request.param, str(shipped))
