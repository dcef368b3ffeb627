"""Importance of columns, from an importance-matrix file as llama.cpp's `llama-imatrix` writes it (GGUF).

    NAME.in_sum2   f32   sums of squares of what the columns of the tensor NAME were multiplied with
    NAME.counts    f32   how many rows were summed

It knows no recipe and no codec.
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.errors import FormatError
from realizar_lambda.formats import open_model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.quantize.bits import Floats

_SUMS, _COUNTS = ".in_sum2", ".counts"


def read_importance(path: str) -> dict[str, Floats]:
    """Tensor name -> mean squares (n_columns,) f32; the experts of a mixture are averaged.

    Raises FormatError where there are none or they are no finite numbers, OSError.
    """
    tensors = open_model(path).tensors
    found = {}
    for name, tensor in tensors.items():
        if not name.endswith(_SUMS) or tensor.block.name != "F32":
            continue
        counts = tensors.get(name.removesuffix(_SUMS) + _COUNTS)
        n_rows = float(np.frombuffer(counts.data, "<f4").sum()) if counts and counts.block.name == "F32" else 0.0
        sums = np.frombuffer(tensor.data, "<f4").reshape(-1, tensor.shape[-1]).sum(axis=0, dtype=np.float64)
        if n_rows > 0:
            means = (sums / n_rows).astype(np.float32)
            if not np.isfinite(means).all() or (means < 0).any():
                raise FormatError(path, tensor.offset, f"{name} must hold finite sums of squares")
            found[name.removesuffix(_SUMS)] = means
    if not found:
        raise FormatError(path, None, f"no tensor NAME{_SUMS} with its NAME{_COUNTS}: not an importance matrix")
    return found
