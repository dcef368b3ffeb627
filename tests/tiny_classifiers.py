"""Small classifier files for tests, written by the package's own writers, and what they answer in plain Python."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from realizar_lambda.formats import apr_v1, apr_v2

LABELS = ["setosa", "versicolor", "virginica"]


def layers(sizes: Sequence[int], seed: int = 0) -> dict[str, tuple[tuple[int, ...], str, array[float]]]:
    """F32 tensors of a multi-layer perceptron: weights normal over the root of their inputs, small biases."""
    numbers = random.Random(seed)
    tensors = {}
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        weight = array("f", (numbers.gauss(0.0, n_in**-0.5) for _ in range(n_in * n_out)))
        tensors[f"layers.{i}.weight"] = ((n_out, n_in), "F32", weight)
        tensors[f"layers.{i}.bias"] = ((n_out,), "F32", array("f", (numbers.gauss(0.0, 0.1) for _ in range(n_out))))
    return tensors


def metadata(sizes: Sequence[int], **changes: object) -> dict[str, object]:
    """An MLP's metadata; `changes` replace keys, or leave out those that are None."""
    found = {"architecture": "mlp", "model_type": "mlp", "name": "tiny", "layer_sizes": list(sizes)} | changes
    return {key: value for key, value in found.items() if value is not None}


def write_mlp(path: Path, sizes: Sequence[int] = (4, 5, 3), *, seed: int = 0, **changes: object) -> str:
    """An `.apr` v2 file of a perceptron with inputs as they are; its path."""
    tensors = layers(sizes, seed)
    apr_v2.write(path, tensors, metadata(sizes, **changes))
    return str(path)


def write_logistic(path: Path, coefficients: Sequence[float], intercept: float, **custom: object) -> str:
    """An APRN v1 file of a logistic regression; its path."""
    apr_v1.write_logistic(path, coefficients, intercept, {"custom": custom} if custom else {})
    return str(path)


def mlp_answer(sizes: Sequence[int], features: Sequence[float], *, seed: int = 0) -> list[float]:
    """The probabilities of `write_mlp`'s model with relu and softmax, in float64."""
    tensors = layers(sizes, seed)
    x = [float(value) for value in features]
    for i in range(len(sizes) - 1):
        weight, bias = (tensors[f"layers.{i}.{part}"][2] for part in ("weight", "bias"))
        n = len(x)
        sums = [sum(w * v for w, v in zip(weight[r * n : r * n + n], x, strict=True)) for r in range(len(bias))]
        sums = [total + offset for total, offset in zip(sums, bias, strict=True)]
        x = sums if i == len(sizes) - 2 else [max(value, 0.0) for value in sums]
    powers = [math.exp(value - max(x)) for value in x]
    return [power / sum(powers) for power in powers]
