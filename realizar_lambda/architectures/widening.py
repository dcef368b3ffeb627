"""Norms, biases and position tables in F32: what kernels read only so is converted once, at load. No equations.

Hugging Face's files keep them in the model's own type, F16 or BF16; matrices stay as they are, in the file.
"""

from __future__ import annotations

from realizar_lambda import native
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder
from realizar_lambda.formats.model_file import ModelFile
from realizar_lambda.ops import MATMUL_BLOCKS
from realizar_lambda.program import MAX_WIDTH
from realizar_lambda.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.tensor import Tensor


def with_f32_vectors(file: ModelFile, positions: tuple[str, ...]) -> ModelFile:
    """The file, or where vectors in it have another plain type or positions another type, one with copies in F32.

    `positions` is how the names of position tables end.
    """
    found = {name: _widened(tensor) for name, tensor in file.tensors.items() if _is_due(tensor, positions)}
    return replaced(file, {**file.tensors, **found}) if found else file


def replaced(file: ModelFile, tensors: dict[str, Tensor]) -> ModelFile:
    """The file with other tensors."""
    return ModelFile(
        path=file.path, format=file.format, metadata=file.metadata, tensors=tensors, checks=file.checks,
        buffer=file.buffer,
    )  # fmt: skip


def _is_due(tensor: Tensor, positions: tuple[str, ...]) -> bool:
    is_wide = not tensor.shape or tensor.shape[-1] > MAX_WIDTH
    if tensor.block.name == "F32" or tensor.block.name not in MATMUL_BLOCKS or is_wide:
        return False
    if len(tensor.shape) == 1:
        return not tensor.block.is_quantized
    return len(tensor.shape) == 2 and tensor.name.endswith(positions)


def _widened(tensor: Tensor) -> Tensor:
    """A copy in F32, whose rows an embedding gathers in order."""
    n_columns = tensor.shape[-1]
    n_rows = tensor.n_elements // n_columns
    b = Builder(max_tokens=n_rows)
    ids = b.input("ids", 1, "i32")
    rows = b.embed(ids, tensor._replace(shape=(n_rows, n_columns)))
    session = Session(b.finish(rows), native.Team(1, native.library()))
    view = session.view(ids, n_rows)
    for row in range(n_rows):
        view[row] = row
    session.run(n_rows)
    return tensor._replace(block=BLOCKS["F32"], data=session.view(rows, n_rows).cast("B").toreadonly())
