"""Fixtures shared by the whole suite: where the reference data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def find_data_dir() -> Path | None:
    """The reference data: `$REALIZAR_TEST_DATA`, else `../shared/data` beside the checkout, else None."""
    configured = os.environ.get("REALIZAR_TEST_DATA")
    folder = Path(configured) if configured else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of reference models, events and malformed files."""
    folder = find_data_dir()
    if folder is None:
        pytest.skip("no reference data: set REALIZAR_TEST_DATA or put it in ../shared/data")
    return folder
