"""A GGUF file for the oracles, read by the `gguf` package and dequantised by it. Never imports the package."""

from __future__ import annotations

import gguf
import numpy as np
from gguf.quants import dequantize


def read(path):
    """`metadata, weights` of the file: plain values by key, f32 arrays (slowest dimension first) by tensor name."""
    reader = gguf.GGUFReader(path)
    metadata = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    weights = {}
    for tensor in reader.tensors:
        shape = tuple(int(size) for size in reversed(tensor.shape))
        weights[tensor.name] = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(shape)
    return metadata, weights
