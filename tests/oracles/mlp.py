"""What an `.apr` classifier answers, in float64 NumPy, straight from the file's bytes.

Slow and obvious, and written from the format's description alone: it never imports the package.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0.0),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "tanh": np.tanh,
}


def probabilities(path: Path, rows: NDArray[np.generic]) -> F64:
    """rows (n, n_inputs) raw -> probabilities (n, n_outputs)."""
    raw = Path(path).read_bytes()
    x = np.asarray(rows, np.float64)
    return _logistic(raw, x) if raw[:4] == b"APRN" else _mlp(raw, x)


def _logistic(raw: bytes, x: F64) -> F64:
    (n_metadata,) = struct.unpack_from("<I", raw, 8)
    at = 32 + n_metadata
    present, n_weights = struct.unpack_from("<BQ", raw, at)
    assert present == 1
    *weights, intercept = struct.unpack_from(f"<{n_weights + 1}f", raw, at + 9)
    p1 = 1.0 / (1.0 + np.exp(-(x @ np.array(weights) + intercept)))
    return np.stack([1.0 - p1, p1], axis=1)


def _mlp(raw: bytes, x: F64) -> F64:
    metadata, tensors = read_apr_v2(raw)
    rule = metadata["normalization"]
    mean, std = (np.repeat(np.array(rule[key]), x.shape[1] // len(rule[key])) for key in ("mean", "std"))
    x = (x * rule["scale"] - mean) / std
    n_layers = len(metadata["layer_sizes"]) - 1
    for index in range(n_layers):
        weight = tensors[f"layers.{index}.weight"]
        x = np.pad(x, ((0, 0), (0, weight.shape[1] - x.shape[1])))
        x = x @ weight.T + tensors[f"layers.{index}.bias"]
        if index < n_layers - 1:
            x = ACTIVATIONS[metadata["activation"]](x)
    assert metadata["output"] == "softmax"
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def read_apr_v2(raw: bytes) -> tuple[dict, dict[str, F64]]:
    """The metadata and the tensors, dequantised, of a well-formed `.apr` v2 file."""
    assert raw[:4] == b"APR\0"
    n_tensors, metadata_at, n_metadata, at, data_at = struct.unpack_from("<IQIQQ", raw, 8)
    metadata = json.loads(raw[metadata_at : metadata_at + n_metadata])
    tensors = {}
    for _ in range(n_tensors):
        (n_name,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + n_name].decode()
        at += 2 + n_name
        dtype, n_dims = raw[at], raw[at + 1]
        *shape, offset, size = struct.unpack_from(f"<{n_dims + 2}Q", raw, at + 2)
        at += 2 + 8 * (n_dims + 2)
        content = raw[data_at + offset : data_at + offset + size]
        tensors[name] = DECODERS[dtype](content).astype(np.float64).reshape(shape)
    return metadata, tensors


def _q8_0(content: bytes) -> F64:
    blocks = np.frombuffer(content, np.dtype([("scale", "<f2"), ("values", "i1", 32)]))
    return (blocks["scale"].astype(np.float64)[:, None] * blocks["values"]).ravel()


DECODERS = {
    0: lambda content: np.frombuffer(content, "<f4"),
    1: lambda content: np.frombuffer(content, "<f2"),
    8: _q8_0,
}
