"""The kernels of AVX-512, tested on a CPU that lacks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realizar_lambda import native
from realizar_lambda.kernels import build

HERE = Path(__file__).parent
MACHINE = os.uname().machine
HAS_AVX2_ALONE = MACHINE == "x86_64" and native.choose_isa(MACHINE, native.cpu_flags()) == "x86_64_v3"
APART = ("test_build.py", "test_library_file.py", "test_wide_library.py")
"""What is not of kernels' answers."""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_AVX2_ALONE, reason="for an x86_64 CPU without AVX-512: others run their own kernels")
def test_every_test_of_kernels_passes_with_vectors_of_16_lanes(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "REALIZAR"))}
    environment |= {"PYTHONPATH": str(build.PACKAGE.parent), native.LIBRARY_VARIABLE: str(tmp_path)}
    for command in (
        [str(HERE / "wide_library.py"), str(tmp_path)],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", str(HERE)]
        + [f"--ignore={HERE / name}" for name in APART],
    ):
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert " passed" in done.stdout
