"""What a model file is, in a few words and numbers, from its header alone. It loads no model.

| key | meaning |
|---|---|
| `kind` | "generate" or "classify" |
| `quantization` | the block type that holds the most bytes |
| `parameters` | elements of all tensors |
| `context_length` | tokens, None for classifiers |
| `error` | in place of all but `size_bytes`, for a file that is no sound model |
"""

from __future__ import annotations

from realizar_lambda.errors import RealizarError
from realizar_lambda.formats import open_model
from realizar_lambda.registry import size_of, without_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from realizar_lambda.formats import ModelFile

CLASSIFIERS = ("mlp", "logistic_regression", "linear_regression")


def summarise_file(path: str) -> dict[str, Any]:
    """The summary of the model file at `path`. A file that is no sound model has an `error` instead."""
    size = {"size_bytes": size_of(path)}
    try:
        return {**_summarise(open_model(path)), **size}
    except RealizarError as error:
        return {"error": str(without_folder(error, path)), **size}


def _summarise(file: ModelFile) -> dict[str, Any]:
    config = file.metadata.get("config")  # Hugging Face's, beside the weights
    metadata = {**config, **file.metadata} if isinstance(config, dict) else file.metadata
    architecture = _first_text(metadata, "general.architecture", "architecture", "model_type")
    n_bytes_by_type: dict[str, int] = {}
    for tensor in file.tensors.values():
        n_bytes_by_type[tensor.block.name] = n_bytes_by_type.get(tensor.block.name, 0) + tensor.n_bytes
    is_classifier = architecture in CLASSIFIERS
    keys = (f"{architecture}.context_length", "max_position_embeddings", "context_length", "n_positions")
    lengths = [metadata[key] for key in keys if isinstance(metadata.get(key), int)]
    return {
        "name": _first_text(metadata, "general.name", "name", "model_name"),
        "description": _first_text(metadata, "general.description", "description"),
        "kind": "classify" if is_classifier else "generate",
        "format": file.format,
        "architecture": architecture,
        "quantization": max(n_bytes_by_type, key=n_bytes_by_type.__getitem__, default=None),
        "parameters": sum(tensor.n_elements for tensor in file.tensors.values()),
        "context_length": lengths[0] if lengths and not is_classifier else None,
    }


def _first_text(metadata: Mapping[str, object], *keys: str) -> str | None:
    return next((text for key in keys if isinstance(text := metadata.get(key), str)), None)
