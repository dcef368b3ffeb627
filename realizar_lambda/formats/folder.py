"""Models of several files: Hugging Face folders and sharded safetensors, opened as one; it parses no tensor.

model.safetensors.index.json    {"metadata": {"total_size": n}, "weight_map": {tensor name: file name}}
model-00001-of-00002.safetensors, ...
config.json                     the architecture's hyper-parameters
"""

from __future__ import annotations

import os

from realizar_lambda.errors import FormatError
from realizar_lambda.formats import safetensors
from realizar_lambda.formats.json_text import parse_object
from realizar_lambda.formats.model_file import ModelFile, map_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.tensor import Tensor

INDEX_NAME = "model.safetensors.index.json"
MODEL_NAMES = (INDEX_NAME, "model.safetensors")
MODEL_SUFFIXES = (".safetensors", ".gguf", ".apr")
MAX_CONFIG_BYTES = 16 << 20
MAX_SHARDS = 1024


def find_model(folder: str) -> str:
    """The path of the one model in `folder`: Hugging Face's names first, else its only model file.

    Raises FormatError where there is none or no telling which.
    """
    names = sorted(os.listdir(folder))
    for name in MODEL_NAMES:
        if name in names:
            return os.path.join(folder, name)
    found = [name for name in names if name.endswith(MODEL_SUFFIXES)]
    if len(found) != 1:
        what = f"{len(found)} model files ({', '.join(found[:3])}, ...)" if found else "no model file"
        raise FormatError(
            folder,
            None,
            f"the folder has {what}; it must have {INDEX_NAME}, model.safetensors or one model file",
        )
    return os.path.join(folder, found[0])


def with_config(model: ModelFile) -> ModelFile:
    """`model` with the `config.json` beside it, if there is one, as `metadata["config"]`."""
    config_path = os.path.join(os.path.dirname(model.path), "config.json")
    if os.path.exists(config_path):
        model.metadata = {**model.metadata, "config": read_config(config_path)}
    return model


def read_config(path: str) -> dict[str, object]:
    """The JSON object in the file `path`, of at most 16 MiB. Raises FormatError, OSError."""
    data = map_file(path)
    if len(data) > MAX_CONFIG_BYTES:
        raise FormatError(path, None, f"the file has {len(data)} bytes, a configuration at most {MAX_CONFIG_BYTES}")
    return parse_object(path, 0, bytes(data))


def read_index(
    path: str, data: memoryview, *, verify: bool = False, huge_pages: bool = False, read_ahead: bool = False
) -> ModelFile:
    """The tensors of all shards that the index in `data`, the bytes of the file `path`, maps names to.

    Shards lie beside the index; a name with a folder in it is refused. `buffer` is a tuple of the shards'
    maps, `offset` of a tensor counts in its own shard. Tensors of a shard that the index does not name are
    left out. Raises FormatError, OSError for a shard that is not there.
    """
    if len(data) > safetensors.MAX_HEADER_BYTES:
        raise FormatError(path, None, f"the index has {len(data)} bytes, at most {safetensors.MAX_HEADER_BYTES}")
    index = parse_object(path, 0, bytes(data))
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(path, 0, 'a JSON model file is a shard index with a "weight_map", this one has none')
    for name, shard in weight_map.items():
        if not _is_shard_name(shard):
            raise FormatError(path, 0, f"tensor {name!r} is mapped to {shard!r:.80}, not to a safetensors file")
    shards = sorted(set(weight_map.values()))
    if len(shards) > MAX_SHARDS:
        raise FormatError(path, 0, f"the index names {len(shards)} shards, at most {MAX_SHARDS} are opened")
    folder = os.path.dirname(path)
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, object] = {}
    buffers, n_found = [], 0
    for shard in shards:
        shard_path = os.path.join(folder, shard)
        mapped = map_file(shard_path, huge_pages=huge_pages, read_ahead=read_ahead)
        model = safetensors.read(shard_path, mapped, verify=verify)
        buffers.append(model.buffer)
        metadata.update(model.metadata)
        tensors.update((name, tensor) for name, tensor in model.tensors.items() if weight_map.get(name) == shard)
        n_found += sum(tensor.n_bytes for tensor in model.tensors.values())
    for name, shard in weight_map.items():
        if name not in tensors:
            raise FormatError(
                os.path.join(folder, shard), None, f"tensor {name!r}, which the index maps here, is not in it"
            )
    return ModelFile(
        path=path,
        format="safetensors",
        metadata=metadata,
        tensors=tensors,
        checks={"shards": f"{len(shards)}, {_check_size(index.get('metadata'), n_found)}"},
        buffer=tuple(buffers),
    )


def _is_shard_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and "/" not in name and "\0" not in name


def _check_size(metadata: object, n_found: int) -> str:
    declared = metadata.get("total_size") if isinstance(metadata, dict) else None
    if declared is None:
        return "total size absent"
    return "total size ok" if declared == n_found else f"{n_found} bytes of tensors, {declared!r:.40} declared"
