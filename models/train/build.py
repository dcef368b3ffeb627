"""One model from its recipe to its file, its measured accuracy and its manifest entry."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from math import prod
from typing import TYPE_CHECKING, Any

import torch

from realizar_lambda.formats import open_model

from . import logistic, manifest, mlp, model_files
from .datasets import DATASETS
from .evaluate import measure
from .recipes import MODELS, Quantized, Trained

if TYPE_CHECKING:
    from pathlib import Path

    from .datasets import Split


def build(name: str, *, data: Path, folder: Path, environment: dict[str, str]) -> None:
    """Train or quantise the model `name`, write `folder/name.apr` and record it in the folder's manifest.

    `environment` are the variables that pin the arithmetic; they are recorded, not set.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    row = MODELS[name]
    dataset = DATASETS[row.dataset]
    split = dataset.read(data)
    path = folder / f"{name}.apr"
    print(f"{name}: {dataset.title}; trained on {split.train_rows}", flush=True)
    packages: tuple[str, ...]
    if isinstance(row, Quantized):
        model_files.requantize(path, folder / f"{row.original}.apr", name=name, block=row.block)
        how: dict[str, Any] = {"quantized_from": f"{row.original}.apr", "seed": None, "parameters": asdict(row)}
        packages = ("numpy",)
    elif isinstance(row.recipe, logistic.LogisticRecipe):
        how, packages = _fit_logistic(row, row.recipe, split, path), ("numpy", "scikit-learn", "scipy")
    else:
        how, packages = _train_mlp(row, row.recipe, split, path, name), ("numpy", "torch")
    model = open_model(str(path))
    entry = {
        **manifest.identity(path),
        "kind": "classifier",
        "format": model.format,
        "architecture": "logistic" if model.format == "apr-v1" else "mlp",
        "input_shape": list(dataset.input_shape),
        "labels": list(dataset.labels),
        "licence": "MIT",
        "dataset": row.dataset,
        "data": dataset.provenance(data, split),
        "split": {"train": split.train_rows, "test": split.test_rows},
        **how,
        "command": f"python -m models.train --data DATA {name}",
        "environment": environment,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
    }
    manifest.record(folder, name, entry)
    accuracy = measure(path, split)
    manifest.record(folder, name, entry | {"accuracy": accuracy})
    print(f"{name}: {path.stat().st_size:,} bytes, {accuracy['value']:.2%} of {split.test_rows}", flush=True)


def _fit_logistic(row: Trained, recipe: logistic.LogisticRecipe, split: Split, path: Path) -> dict[str, Any]:
    coefficients, intercept = logistic.train(recipe, split)
    model_files.write_logistic(path, coefficients, intercept, max_iter=recipe.max_iter, tol=recipe.tol)
    return {
        "description": row.description,
        "layer_sizes": [len(coefficients), 1],
        "n_parameters": len(coefficients) + 1,
        "seed": None,
        "parameters": asdict(recipe),
    }


def _train_mlp(row: Trained, recipe: mlp.MlpRecipe, split: Split, path: Path, name: str) -> dict[str, Any]:
    dataset = DATASETS[row.dataset]
    layers, normalization = mlp.train(
        recipe,
        split,
        dataset.input_shape,
        len(dataset.labels),
        report=lambda line: print(f"{name}: {line}", flush=True),
    )
    model_files.write_mlp(path, layers, normalization, dataset, name=name, description=row.description, block=row.block)
    return {
        "description": row.description,
        "layer_sizes": [prod(dataset.input_shape), *recipe.hidden, len(dataset.labels)],
        "n_parameters": sum(weight.size + bias.size for weight, bias in layers),
        "seed": recipe.seed,
        "parameters": asdict(recipe),
    }
