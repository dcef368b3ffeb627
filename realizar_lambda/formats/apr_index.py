"""The tensor index of an `.apr` v2 file, binary or JSON, into checked rows; no header or checksum."""

from __future__ import annotations

import struct
from math import prod

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.apr_dtypes import APR_Q8, meanings, meanings_of_name, stored_bytes
from realizar_lambda.formats.json_text import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeGuard

    from realizar_lambda.blocks import BlockType

MAX_NAME_BYTES = 256
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 1 << 48
_SHORTEST_ENTRY = 21


class IndexRow:
    """One tensor as the index declares it: `blocks` are the names that its dtype may stand for, `offset` is
    relative to the data section, `at` is where in the file the entry lies.

    A named tuple would read as well; making its class takes 0.2 ms of every cold start.
    """

    __slots__ = ("at", "blocks", "name", "offset", "shape", "size")

    def __init__(
        self, name: str, shape: tuple[int, ...], blocks: tuple[str, ...], offset: int, size: int, at: int
    ) -> None:
        self.name = name
        self.shape = shape
        self.blocks = blocks
        self.offset = offset
        self.size = size
        self.at = at


def read_rows(path: str, data: memoryview, start: int, end: int, n_tensors: int) -> list[IndexRow]:
    """The rows of the index in `data[start:end]`.

    A binary entry starts with a u16 name length of at most 256: its first byte is `[` only when its second
    is 0. That is how one converter's JSON index is told from the binary one. Raises FormatError.
    """
    opening = bytes(data[start : min(start + 2, end)])
    if opening[:1] == b"[" and opening != b"[\0":
        return _read_json(path, data, start, end, n_tensors)
    if n_tensors * _SHORTEST_ENTRY > end - start:
        raise FormatError(
            path,
            8,
            f"{n_tensors} tensors are declared, the index of {end - start} bytes has no room for them",
        )
    rows = []
    position = start
    for _ in range(n_tensors):
        row, position = _read_entry(path, data, position, end)
        rows.append(row)
    return rows


def _read_entry(path: str, data: memoryview, at: int, end: int) -> tuple[IndexRow, int]:
    if at + _SHORTEST_ENTRY > end:
        raise FormatError(path, at, f"the tensor index ends at byte {end}, inside an entry")
    (n_name,) = struct.unpack_from("<H", data, at)
    if not 1 <= n_name <= MAX_NAME_BYTES:
        raise FormatError(path, at, f"a tensor name is {n_name} bytes long, it must be 1 to {MAX_NAME_BYTES}")
    position = at + 2 + n_name
    if position + 2 > end:
        raise FormatError(path, at, f"a tensor name of {n_name} bytes runs past the index's end at byte {end}")
    try:
        name = str(data[at + 2 : position], "utf-8")
    except UnicodeDecodeError:
        raise FormatError(path, at + 2, "a tensor name is not UTF-8") from None
    dtype, n_dims = data[position], data[position + 1]
    if n_dims > MAX_DIMENSIONS:
        raise FormatError(path, position + 1, f"tensor {name!r} has {n_dims} dimensions, at most {MAX_DIMENSIONS}")
    after = position + 2 + 8 * (n_dims + 2)
    if after > end:
        raise FormatError(path, position, f"the entry of tensor {name!r} runs past the index's end at byte {end}")
    *shape, offset, size = struct.unpack_from(f"<{n_dims + 2}Q", data, position + 2)
    return IndexRow(name, tuple(shape), _known(name, dtype, meanings(dtype)), offset, size, at), after


def _read_json(path: str, data: memoryview, start: int, end: int, n_tensors: int) -> list[IndexRow]:
    entries = parse(path, start, bytes(data[start:end]).rstrip(b"\0"))
    if not isinstance(entries, list) or len(entries) != n_tensors:
        found = f"{len(entries)} entries" if isinstance(entries, list) else "no array"
        raise FormatError(path, start, f"the JSON tensor index has {found}, the header declares {n_tensors}")
    rows = []
    for number, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        name, dtype, shape = fields.get("name"), fields.get("dtype"), fields.get("shape")
        offset, size = fields.get("offset"), fields.get("size")
        if not (isinstance(name, str) and 1 <= len(name) <= MAX_NAME_BYTES):
            raise FormatError(path, start, f"entry {number} of the JSON tensor index has no name of 1 to 256 bytes")
        if not isinstance(dtype, str):
            raise FormatError(path, start, f"tensor {name!r} has no dtype in the JSON tensor index")
        if not (isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS and all(map(_is_count, shape))):
            raise FormatError(path, start, f"tensor {name!r} needs a shape of at most 8 sizes, got {shape!r:.80}")
        if not (_is_count(offset) and _is_count(size)):
            raise FormatError(path, start, f"tensor {name!r} needs an offset and a size, got {offset!r}, {size!r}")
        rows.append(IndexRow(name, tuple(shape), _known(name, dtype, meanings_of_name(dtype)), offset, size, start))
    return rows


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 63


def _known(name: str, dtype: object, found: tuple[str, ...]) -> tuple[str, ...]:
    if not found:
        raise UnsupportedError(f"dtype {dtype!r} of tensor {name!r}", "F32, F16, BF16, F64, I8 to I64, U8, GGML blocks")
    return found


def resolve_block(path: str, row: IndexRow, shape: tuple[int, ...]) -> BlockType:
    """The block type that `row.size` bytes of `shape` must be.

    Raises FormatError where no meaning of the dtype gives that size, UnsupportedError for AprQ8 and for rows
    that end inside a block.
    """
    n_elements = prod(shape)
    if n_elements > MAX_ELEMENTS:
        raise FormatError(path, row.at, f"tensor {row.name!r} has {n_elements} elements, at most 2**48 are read")
    sizes = {name: stored_bytes(name, n_elements) for name in row.blocks}
    name = next((name for name, size in sizes.items() if size == row.size), None)
    if name is None:
        wanted = " or ".join(f"{size} ({name})" for name, size in sizes.items())
        raise FormatError(
            path,
            row.at,
            f"tensor {row.name!r} of shape {list(shape)} takes {row.size} bytes, it must take {wanted}",
        )
    if name == APR_Q8:
        raise UnsupportedError(
            f"AprQ8, one scale for the whole of tensor {row.name!r},", "AprQ4, Q8_0 and the other GGML blocks"
        )
    block: BlockType = BLOCKS[name]
    row_length = block.n_elements
    if row_length > 1 and (not shape or shape[-1] % row_length):
        raise UnsupportedError(
            f"tensor {row.name!r} of shape {list(shape)}, whose rows end inside a {name} block,",
            f"rows of a multiple of {row_length} values",
        )
    return block
