"""Rewriting a model as GGUF with other block types, a few rows of one tensor at a time; it prints nothing.

At most one written tensor is in memory; sources stay in their maps.
"""

from __future__ import annotations

import os
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import FormatError, RequestError
from realizar_lambda.formats import gguf_writer
from realizar_lambda.formats.gguf import Metadata
from realizar_lambda.quantize.codecs import decode, encode
from realizar_lambda.quantize.recipes import RECIPES, assign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from realizar_lambda.quantize.bits import Floats
    from realizar_lambda.quantize.source import Source, SourceTensor

    Importance = Mapping[str, Floats]

_CHUNK_ELEMENTS = 1 << 18


class Planned(namedtuple("Planned", "tensor target")):
    """A source tensor and the name of the block type it is to be written in."""

    __slots__ = ()

    tensor: SourceTensor
    target: str

    @property
    def n_bytes(self) -> int:
        """Bytes once written."""
        return self.tensor.n_rows * BLOCKS[self.target].row_bytes(self.tensor.n_columns)


class Written(namedtuple("Written", "name source target n_bytes relative_error")):
    """What became of a tensor. `relative_error` is rms(written - source) / rms(source), 0 where nothing changed."""

    __slots__ = ()


def plan(
    source: Source,
    recipe_name: str,
    *,
    has_importance: bool = False,
    is_pure: bool = False,
    overrides: Iterable[tuple[str, str]] = (),
) -> list[Planned]:
    """The block type of every tensor of `source` under a recipe: see `recipes.assign`.

    What recipes leave alone keeps its type, but that halves become F32.
    """
    n_heads = source.number("attention.head_count", 1)
    assigned = assign(
        recipe_name,
        {name: tensor.shape for name, tensor in source.tensors.items()},
        n_layers=source.number("block_count", 1),
        n_heads_per_kv=n_heads // source.number("attention.head_count_kv", n_heads),
        has_importance=has_importance,
        is_pure=is_pure,
        overrides=overrides,
    )
    return [Planned(tensor, assigned.get(name, _kept(tensor))) for name, tensor in source.tensors.items()]


def rewrite(
    source: Source,
    planned: list[Planned],
    path: str,
    *,
    recipe_name: str,
    importance: Importance | None = None,
    n_threads: int = 1,
    progress: Callable[[str, int], None] = lambda name, n_bytes: None,
) -> list[Written]:
    """Write `planned` to `path`, which is replaced when all is written.

    `importance` maps tensor names to (n_columns,) f32; `progress(name, n_bytes)` is told of every `n_bytes` read
    of a tensor. Bytes do not depend on `n_threads`. Raises FormatError for values that a type cannot hold,
    RequestError where `path` is the source itself or importance does not fit, OSError.
    """
    if os.path.exists(path) and os.path.samefile(path, source.path):
        raise RequestError(400, f"{path} is the file that is read; write to another one", "output")
    metadata = Metadata()
    metadata.update(source.metadata)
    metadata.types.update(source.metadata.types)
    for key, value in (("general.file_type", RECIPES[recipe_name].file_type), ("general.quantization_version", 2)):
        metadata[key] = value
        metadata.types[key] = "u32"
    written: list[Written] = []
    with ThreadPoolExecutor(n_threads) as pool:

        def content_of(item: Planned) -> Callable[[], bytearray]:
            def content() -> bytearray:
                weights = None if importance is None else importance.get(item.tensor.name)
                data, record = _convert(source.path, item, weights, pool, progress)
                written.append(record)
                return data

            return content

        contents = {item.tensor.name: (item.tensor.shape, item.target, content_of(item)) for item in planned}
        gguf_writer.write(path, metadata, contents)
    return written


def _convert(
    path: str,
    item: Planned,
    importance: Floats | None,
    pool: ThreadPoolExecutor,
    progress: Callable[[str, int], None],
) -> tuple[bytearray, Written]:
    tensor = item.tensor
    row_bytes = BLOCKS[item.target].row_bytes(tensor.n_columns)
    n_at_once = max(1, _CHUNK_ELEMENTS // tensor.n_columns)
    starts = range(0, tensor.n_rows, n_at_once)
    is_copy = tensor.block.name == item.target and not tensor.added

    def convert(start: int) -> tuple[bytes, float, float]:
        """The written rows from `start`, and the sums of squares of the error and of the source."""
        stop = min(start + n_at_once, tensor.n_rows)
        if is_copy:
            return tensor.raw_rows(start, stop).tobytes(), 0.0, 0.0
        values = tensor.rows(start, stop)
        try:
            data = encode(item.target, values, importance)
        except RequestError as fault:
            where = f"tensor {tensor.name!r}, from row {start}"
            raise FormatError(path, None, f"{where}: {fault.message}") from None
        with np.errstate(invalid="ignore", over="ignore"):
            error = decode(item.target, data).reshape(values.shape) - values
            return data, float(np.vdot(error, error)), float(np.vdot(values, values))

    output = bytearray(tensor.n_rows * row_bytes)
    squared_error = squared = 0.0
    for start, (data, chunk_error, chunk_square) in zip(starts, pool.map(convert, starts), strict=True):
        output[start * row_bytes : start * row_bytes + len(data)] = data
        squared_error += chunk_error
        squared += chunk_square
        progress(tensor.name, tensor.block.row_bytes(tensor.n_columns) * (len(data) // row_bytes))
    relative = (squared_error / squared) ** 0.5 if squared else 0.0
    return output, Written(tensor.name, tensor.block.name, item.target, len(output), relative)


def _kept(tensor: SourceTensor) -> str:
    """The type of a tensor that no recipe speaks of: F32 for halves, which nothing is saved by, else its own."""
    return "F32" if tensor.block.name in ("F16", "BF16") else tensor.block.name
