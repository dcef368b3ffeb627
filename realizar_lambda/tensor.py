"""A tensor: a name, a shape and the bytes that hold it, still where they lie in the file. No arithmetic."""

from __future__ import annotations

from math import prod

from realizar_lambda.record import namedtuple


class Tensor(namedtuple("Tensor", "name shape block data offset")):
    """A validated view of stored elements.

    `shape` is row-major, slowest dimension first (a matmul weight is `(n_rows, n_columns)` = (out, in));
    `block` a `blocks.BlockType`; `data` a read-only `memoryview` of format "B" over exactly the tensor's
    bytes; `offset` their position in the file. A reader makes one only after checking that
    `prod(shape)` elements of `block` take exactly `len(data)` bytes and that rows are whole blocks.
    """

    __slots__ = ()

    @property
    def n_elements(self) -> int:
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        return len(self.data)
