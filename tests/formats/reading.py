"""Reading bytes as each format's reader does, and going over all that was read: what a fuzz target runs."""

from __future__ import annotations

from realizar_lambda.errors import RealizarError
from realizar_lambda.formats import READERS, ModelFile, apr_v1, apr_v2, gguf, safetensors

MODULES = {"apr_v1": apr_v1, "apr_v2": apr_v2, "gguf": gguf}
SMALLEST_MAGIC = 4


def read(data: bytes) -> ModelFile:
    """As `open_model` reads a file of these bytes. Raises the package's errors."""
    module = READERS.get(data[:SMALLEST_MAGIC])
    reader = safetensors if module is None else MODULES[module]
    return reader.read("fuzzed", memoryview(data), verify=True)


def go_over(data: bytes) -> ModelFile | None:
    """Read `data` and touch every value and tensor; None where it was refused.

    Raises AssertionError where a reader lets something through that its users rely on, and whatever else a
    reader raises that is not one of the package's errors.
    """
    try:
        model = read(data)
    except RealizarError:
        return None
    for tensor in model.tensors.values():
        block = tensor.block
        assert tensor.n_elements % block.n_elements == 0
        assert tensor.n_bytes == tensor.n_elements // block.n_elements * block.n_bytes
        assert block.n_elements == 1 or tensor.shape[-1] % block.n_elements == 0
        assert tensor.data.format == "B"
        assert tensor.data.readonly
        assert tensor.offset + tensor.n_bytes <= model.n_bytes
        tensor.name.encode()
    for key, value in model.metadata.items():
        assert key.encode() or model.format != "gguf"
        if not isinstance(value, str | int | float | dict | bytes | None):
            items = list(value)
            assert len(items) == len(value)
            assert not items or value[len(items) - 1] == items[-1] or items[-1] != items[-1]
    return model
