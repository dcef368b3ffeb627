"""A model that is to be rewritten as GGUF: metadata under GGUF's keys, tensors a few rows at a time under its names.

It knows no recipe and no target type; what Hugging Face's files need is `huggingface`'s matter.
"""

from __future__ import annotations

from collections import namedtuple
from math import prod

import numpy as np

from realizar_lambda.blocks import BLOCKS, BlockType
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.formats.gguf import Metadata
from realizar_lambda.quantize.codecs import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from realizar_lambda.formats import ModelFile
    from realizar_lambda.quantize.bits import Bytes, Floats
    from realizar_lambda.tensor import Tensor


class SourceTensor(namedtuple("SourceTensor", "name shape block raw_rows added", defaults=(0.0,))):
    """A tensor of `shape` (row-major) stored as `block`.

    `raw_rows(start, stop)` gives stored rows (n, row bytes) u8; a tensor of one dimension is one row. `added` is
    to be added to every element.
    """

    __slots__ = ()

    name: str
    shape: tuple[int, ...]
    block: BlockType
    raw_rows: Callable[[int, int], Bytes]
    added: float

    @property
    def n_columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def n_rows(self) -> int:
        return prod(self.shape[:-1])

    @property
    def n_bytes(self) -> int:
        return self.n_rows * self.block.row_bytes(self.n_columns)

    def rows(self, start: int, stop: int) -> Floats:
        """Rows `start` to `stop` decoded, (n, n_columns) f32."""
        raw = np.ascontiguousarray(self.raw_rows(start, stop))
        values = decode(self.block.name, raw.reshape(-1).data).reshape(stop - start, self.n_columns)
        return values + np.float32(self.added) if self.added else values


class Source(namedtuple("Source", "path metadata tensors")):
    """`metadata` a `formats.gguf.Metadata`, `tensors` name -> SourceTensor in the order to be written."""

    __slots__ = ()

    path: str
    metadata: Metadata
    tensors: Mapping[str, SourceTensor]

    def number(self, key: str, default: int) -> int:
        """The integer that the architecture's `key` holds; the largest of a list of one for each layer."""
        value = self.metadata.get(f"{self.metadata.get('general.architecture')}.{key}", default)
        if isinstance(value, memoryview | list | tuple):
            value = max(value, default=default)
        return value if isinstance(value, int) and value > 0 else default


def from_gguf(model: ModelFile) -> Source:
    """The source that the GGUF file `model` is. Raises UnsupportedError for one part of a split model."""
    metadata = Metadata()
    metadata.update(model.metadata)
    if isinstance(model.metadata, Metadata):
        metadata.types.update(model.metadata.types)
    if isinstance(n_parts := metadata.get("split.count"), int) and n_parts > 1:
        raise UnsupportedError(f"{model.path}: one of {n_parts} parts of a split GGUF model", "models in one file")
    tensors = {name: stored(name, tensor) for name, tensor in model.tensors.items()}
    return Source(model.path, metadata, tensors)


def stored(name: str, tensor: Tensor) -> SourceTensor:
    """`tensor` under another name, as it lies in its file."""
    n_columns = tensor.shape[-1] if tensor.shape else 1
    table = np.frombuffer(tensor.data, np.uint8).reshape(-1, tensor.block.row_bytes(n_columns))
    return SourceTensor(name, tensor.shape, tensor.block, lambda start, stop: table[start:stop])


def reordered(name: str, tensor: Tensor, order: NDArray[np.integer]) -> SourceTensor:
    """`tensor` with row i, or element i of a vector, taken from `order[i]`."""
    table = np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape[0], -1)
    if len(tensor.shape) == 1:
        return SourceTensor(name, tensor.shape, tensor.block, lambda start, stop: table[order].reshape(1, -1))
    return SourceTensor(name, tensor.shape, tensor.block, lambda start, stop: table[order[start:stop]])


def transposed(name: str, tensor: Tensor) -> SourceTensor:
    """The matrix `tensor`, of a plain type, with rows and columns exchanged."""
    n_rows, n_columns = tensor.shape
    table = np.frombuffer(tensor.data, np.uint8).reshape(n_rows, n_columns, -1)
    return SourceTensor(
        name,
        (n_columns, n_rows),
        tensor.block,
        lambda start, stop: table[:, start:stop].transpose(1, 0, 2).reshape(stop - start, -1),
    )


def computed(name: str, values: Floats) -> SourceTensor:
    """A tensor of its own, values f32."""
    raw = np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(-1, 4 * values.shape[-1])
    return SourceTensor(name, values.shape, BLOCKS["F32"], lambda start, stop: raw[start:stop])
