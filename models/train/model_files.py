"""Trained weights to `.apr` files. It knows no training; the layouts are the package's own writers'.

A quantised row must be a whole number of blocks: where it is not, zero columns are appended and the
metadata's `padding` gives, for each such weight, the columns that count and the columns stored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.formats import apr_v1, apr_v2, open_model
from realizar_lambda.quantize import encode

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .datasets import Dataset
    from .mlp import Layers, Normalization

# Ten digits make the metadata the 47 bytes of the format's known files. No clock: 2026-01-01T00:00:00Z.
CREATED_AT = "1767225600"


def write_logistic(
    path: Path, coefficients: NDArray[np.float32], intercept: float, *, max_iter: int, tol: float
) -> None:
    """Write a two-class model in APRN v1. The fit has no learning rate, so the format's field holds 0."""
    metadata = {"created_at": CREATED_AT, "aprender_version": "0.11.0"}
    apr_v1.write_logistic(
        path, coefficients.tolist(), intercept, metadata, learning_rate=0.0, max_iter=max_iter, tol=tol
    )


def write_mlp(
    path: Path,
    layers: Layers,
    normalization: Normalization,
    dataset: Dataset,
    *,
    name: str,
    description: str,
    block: str,
) -> None:
    """Write an MLP in `.apr` v2; layers hold weight (out, in) f32 and bias (out,) f32."""
    metadata: dict[str, object] = {
        "architecture": "mlp",
        "model_type": "mlp",
        "name": name,
        "description": description,
        "license": "MIT",
        "source": f"trained on {dataset.title} ({dataset.source})",
        "input_shape": list(dataset.input_shape),
        "layer_sizes": [layers[0][0].shape[1], *(len(bias) for _, bias in layers)],
        "activation": "relu",
        "output": "softmax",
        "labels": list(dataset.labels),
        "normalization": {
            "scale": normalization.scale,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
    }
    if len(dataset.input_shape) > 1:
        metadata["input_range"] = [0, 255]
    weights = {f"layers.{index}.weight": weight for index, (weight, _) in enumerate(layers)}
    biases = {f"layers.{index}.bias": bias for index, (_, bias) in enumerate(layers)}
    _write(path, weights, biases, metadata, block)


def requantize(path: Path, original: Path, *, name: str, block: str) -> None:
    """Write the MLP of `original` (F32) with its weights stored as `block`."""
    model = open_model(str(original))
    arrays = {
        key: np.frombuffer(tensor.data, np.float32).reshape(tensor.shape) for key, tensor in model.tensors.items()
    }
    weights = {key: array for key, array in arrays.items() if key.endswith(".weight")}
    biases = {key: array for key, array in arrays.items() if key.endswith(".bias")}
    bits = 8 * BLOCKS[block].n_bytes / BLOCKS[block].n_elements
    metadata = dict(model.metadata) | {
        "name": name,
        "quantization": {"quant_type": block, "bits": bits, "block_size": BLOCKS[block].n_elements},
    }
    _write(path, weights, biases, metadata, block)


def _write(
    path: Path,
    weights: dict[str, NDArray[np.float32]],
    biases: dict[str, NDArray[np.float32]],
    metadata: dict[str, object],
    block: str,
) -> None:
    tensors: dict[str, tuple[tuple[int, ...], str, bytes]] = {}
    padding = {}
    for key, weight in weights.items():
        n_columns = weight.shape[1]
        n_stored = math.ceil(n_columns / BLOCKS[block].n_elements) * BLOCKS[block].n_elements
        if n_stored != n_columns:
            padding[key] = {"columns": n_columns, "stored_columns": n_stored}
        stored = np.pad(weight, ((0, 0), (0, n_stored - n_columns)))
        tensors[key] = (stored.shape, block, encode(block, stored))
    for key, bias in biases.items():
        tensors[key] = (bias.shape, "F32", bias.astype("<f4").tobytes())
    apr_v2.write(path, tensors, metadata | ({"padding": padding} if padding else {}))
