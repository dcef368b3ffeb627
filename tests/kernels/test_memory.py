from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from realizar_lambda import native

HERE = Path(__file__).resolve().parent


def test_no_kernel_reads_past_the_last_byte_of_a_weight(library: native.Library) -> None:
    """A tensor may end where its file's map ends: the next byte is a fault."""
    folders = (HERE, HERE.parent, Path(native.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    result = subprocess.run(
        [sys.executable, str(HERE / "guarded_weights.py"), library.isa, library.path],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "no read past the end\n"), result.stderr


@pytest.mark.parametrize("element", ["<u2", "<u4"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 5), (33, 17)])
def test_a_transpose_moves_every_element(library: native.Library, element: str, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 1 << 16, shape).astype(element)
    out = np.zeros(shape[::-1], element)
    library.transpose(native.address(out), native.address(x), *shape, x.itemsize)
    assert np.array_equal(out, x.T)
