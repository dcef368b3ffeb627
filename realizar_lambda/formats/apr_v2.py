"""`.apr` v2 files (`APR\\0`): the lenient reader and the strict writer; not what the tensors are for.

    0    header, 64 bytes      magic, version, flags, counts, offsets, CRC-32 of the header
    64   metadata              UTF-8 JSON object, zero-padded to 64
         tensor index          sorted by name, zero-padded to 64
         data                  each tensor zero-padded to 64
         footer                CRC-32 of everything before it

Four programs write this format and three of them depart from it: no footer, no header checksum, unsorted
index, unaligned data, JSON index, GGML's type numbers and GGML's order of dimensions. All of these are read.
"""

from __future__ import annotations

import os
import struct
import zlib

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import FormatError, RequestError, UnsupportedError
from realizar_lambda.formats.apr_dtypes import DTYPE_OF_BLOCK
from realizar_lambda.formats.apr_index import MAX_DIMENSIONS, MAX_NAME_BYTES, read_rows, resolve_block
from realizar_lambda.formats.json_text import parse_object
from realizar_lambda.formats.model_file import ModelFile
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

    from realizar_lambda.formats.apr_index import IndexRow

MAGIC = b"APR\0"
MAX_METADATA_BYTES = 16 << 20
MAX_CHECKED_BYTES = 1 << 20
"""The footer of a larger file is checked only on request: CRC-32 reads about 1 GB/s of cold start."""

_HEADER = struct.Struct("<4sBBHIQIQQI20s")
_ALIGNMENT = 64

LZ4, ZSTD, ENCRYPTED, SIGNED, SHARDED, QUANTIZED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ROW_MAJOR, COLUMN_MAJOR = 0x400, 0x800


def read(path: str, data: memoryview, *, verify: bool = False) -> ModelFile:
    """The model in `data`, the bytes of the file `path`.

    The header's checksum is always checked where there is one (0 means absent). The footer's is checked in
    files of at most `MAX_CHECKED_BYTES`, and in any file with `verify`; `checks` says what was done.
    Every offset and size is checked in any case, so a corrupt body gives wrong numbers, never a wild read.
    Raises FormatError, UnsupportedError, CapacityError.
    """
    if len(data) < _HEADER.size:
        raise FormatError(path, len(data), f"an .apr v2 header is 64 bytes long, the file has {len(data)}")
    _, major, minor, flags, *_, header_crc, _ = header = _HEADER.unpack_from(data)
    if major != 2:
        raise UnsupportedError(f"{path}: version {major}.{minor} of APR\\0 files", "2.x")
    crc = zlib.crc32(data[44:64], zlib.crc32(data[:40]))
    if header_crc not in (0, crc):
        raise FormatError(path, 40, f"the header's CRC-32 is {crc:08x}, {header_crc:08x} is stored")
    if flags & COLUMN_MAJOR:
        raise UnsupportedError(f"{path}: column-major layout", "row-major .apr files: convert the model again")
    if flags & ENCRYPTED:
        raise UnsupportedError(f"{path}: an encrypted .apr file", "plain .apr files: decrypt it first")
    checks = {"header checksum": "ok" if header_crc else "absent"}
    buffer = data
    try:
        rows, metadata, data_offset, end = _read_sections(path, data, *header[4:9])
    except (FormatError, UnsupportedError):
        if not flags & (LZ4 | ZSTD):
            raise
        from realizar_lambda.formats.compression import decompress_lz4, decompress_zstd

        content = (decompress_lz4 if flags & LZ4 else decompress_zstd)(path, 64, data[64:])
        buffer = memoryview(b"".join((data[:64], content)))
        rows, metadata, data_offset, end = _read_sections(path, buffer, *header[4:9])
        checks["compression"] = "LZ4" if flags & LZ4 else "zstd"
    checks["footer checksum"] = _check_footer(path, buffer, end, verify)
    if flags & SIGNED:
        checks["signature"] = "not checked: the format declares signatures but defines none"
    if flags & SHARDED:
        checks["shards"] = "one of several, the tensors of the others are not here"
    is_reversed = _is_ggml_order(flags, rows)
    if is_reversed:
        checks["dimensions"] = "stored fastest first, as GGML has them; reversed"
    tensors = {}
    for row in rows:
        shape = row.shape[::-1] if is_reversed else row.shape
        start = data_offset + row.offset
        block = resolve_block(path, row, shape)
        tensors[row.name] = Tensor(row.name, shape, block, buffer[start : start + row.size], start)
    if len(tensors) != len(rows):
        raise FormatError(path, header[7], "two tensors have the same name")
    return ModelFile(path=path, format="apr-v2", metadata=metadata, tensors=tensors, checks=checks, buffer=buffer)


def _read_sections(
    path: str,
    data: memoryview,
    n_tensors: int,
    metadata_at: int,
    n_metadata: int,
    index_at: int,
    data_at: int,
) -> tuple[list[IndexRow], dict[str, object], int, int]:
    if n_metadata > MAX_METADATA_BYTES:
        raise FormatError(path, 20, f"the metadata is {n_metadata} bytes long, at most {MAX_METADATA_BYTES}")
    if not 64 <= metadata_at <= metadata_at + n_metadata <= index_at <= data_at <= len(data):
        raise FormatError(
            path,
            12,
            f"metadata at {metadata_at} ({n_metadata} bytes), index at {index_at} and data at {data_at} must "
            f"follow each other from byte 64 within the file's {len(data)} bytes",
        )
    raw = bytes(data[metadata_at : metadata_at + n_metadata]).rstrip(b"\0")
    metadata = parse_object(path, metadata_at, raw) if raw else {}
    rows = read_rows(path, data, index_at, data_at, n_tensors)
    return rows, metadata, data_at, data_at + _end_of_data(path, rows, len(data) - data_at)


def _end_of_data(path: str, rows: list[IndexRow], n_bytes: int) -> int:
    """Where the last tensor ends, from the start of the data. Tensors may share all their bytes, not some."""
    start = end = 0
    for row in sorted(rows, key=lambda row: (row.offset, row.size)):
        if row.offset + row.size > n_bytes:
            raise FormatError(
                path,
                row.at,
                f"tensor {row.name!r} ends at {row.offset + row.size} of the data section's {n_bytes} bytes",
            )
        if row.offset < end and (row.offset, row.offset + row.size) != (start, end) and row.size:
            raise FormatError(path, row.at, f"tensor {row.name!r} overlaps the tensor before it")
        if row.size:
            start, end = row.offset, row.offset + row.size
    return end


def _check_footer(path: str, data: memoryview, end: int, verify: bool) -> str:
    padded = -(-end // _ALIGNMENT) * _ALIGNMENT
    if len(data) < end + 4:
        return "absent"
    if len(data) > MAX_CHECKED_BYTES and not verify:
        return "absent" if len(data) == padded else "not checked: a large file, checked on request"
    stored = int.from_bytes(data[-4:], "little")
    crc = zlib.crc32(data[:-4])
    if stored == crc:
        return "ok"
    if len(data) == padded:
        return "absent"
    if len(data) in (padded + 4, end + 4):
        raise FormatError(path, len(data) - 4, f"the file's CRC-32 is {crc:08x}, {stored:08x} is stored")
    return f"absent, {len(data) - end} bytes after the last tensor"


def _is_ggml_order(flags: int, rows: list[IndexRow]) -> bool:
    """Whether dimensions are stored fastest first: converted from GGUF, its names, no layout flag."""
    return not flags & ROW_MAJOR and any(
        row.name == "token_embd.weight" or row.name.startswith("blk.0.") for row in rows
    )


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, tuple[Sequence[int], str, Buffer]],
    metadata: Mapping[str, object],
) -> None:
    """Write `tensors`, name -> (shape, block name, bytes), and `metadata`, JSON values, in place of `path`.

    Shapes are row-major, slowest dimension first. The same arguments give the same bytes: there is no clock,
    tensors are sorted by name, metadata keep the caller's order. The file appears whole or not at all.
    Raises RequestError where the format cannot hold a value, UnsupportedError for such a block type, OSError.
    """
    from realizar_lambda.formats.atomic_file import flat_bytes, replacing

    entries = sorted((name.encode(), name) for name in tensors)
    index, offset, flags = bytearray(), 0, ROW_MAJOR
    for encoded, name in entries:
        shape, block_name, content = tensors[name]
        size = memoryview(content).nbytes
        _check_tensor(name, encoded, shape, block_name, size)
        flags |= QUANTIZED if BLOCKS[block_name].is_quantized else 0
        index += struct.pack("<H", len(encoded)) + encoded
        index += struct.pack(f"<BB{len(shape) + 2}Q", DTYPE_OF_BLOCK[block_name], len(shape), *shape, offset, size)
        offset += _padded(size)
    text = _metadata_text(metadata)
    index_at = _ALIGNMENT + _padded(len(text))
    data_at = index_at + _padded(len(index))
    fields = (MAGIC, 2, 0, flags, len(entries), _ALIGNMENT, len(text), index_at, data_at)
    unsigned = _HEADER.pack(*fields, 0, bytes(20))
    header = _HEADER.pack(*fields, zlib.crc32(unsigned[44:], zlib.crc32(unsigned[:40])), bytes(20))
    sections: list[Buffer] = [header, text, index, *(tensors[name][2] for _, name in entries)]
    with replacing(path) as file:
        crc = 0
        for section in sections:
            view = flat_bytes(section)
            padding = bytes(_padded(len(view)) - len(view))
            file.write(view)
            file.write(padding)
            crc = zlib.crc32(padding, zlib.crc32(view, crc))
        file.write(struct.pack("<I", crc))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _check_tensor(name: str, encoded: bytes, shape: Sequence[int], block_name: str, size: int) -> None:
    if not 1 <= len(encoded) <= MAX_NAME_BYTES:
        raise RequestError(
            400, f"a tensor name takes 1 to {MAX_NAME_BYTES} bytes of UTF-8, {name!r:.80} {len(encoded)}"
        )
    if block_name not in DTYPE_OF_BLOCK:
        raise UnsupportedError(f"tensor {name!r} of type {block_name} in .apr v2", sorted(DTYPE_OF_BLOCK))
    if len(shape) > MAX_DIMENSIONS or any(not 0 <= dimension < 1 << 48 for dimension in shape):
        raise RequestError(400, f"tensor {name!r} has shape {list(shape)}, .apr v2 takes at most 8 sizes below 2**48")
    block = BLOCKS[block_name]
    n_elements = 1
    for dimension in shape:
        n_elements *= dimension
    if block.n_elements > 1 and (not n_elements or shape[-1] % block.n_elements):
        raise RequestError(
            400,
            f"tensor {name!r} is {list(shape)}, {block_name} rows are multiples of {block.n_elements}",
        )
    if size != block.row_bytes(n_elements):
        raise RequestError(
            400,
            f"tensor {name!r} has {size} bytes, {list(shape)} {block_name} has {block.row_bytes(n_elements)}",
        )


def _metadata_text(metadata: Mapping[str, object]) -> bytes:
    import json

    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as fault:
        raise RequestError(400, f"the metadata must be JSON values: {fault}", field="metadata") from None
    for key in _TEXT_KEYS:
        if not isinstance(metadata.get(key, ""), str | None):
            raise RequestError(400, f"metadata {key!r} must be a string, got {metadata[key]!r:.80}", field="metadata")
    if len(text) > MAX_METADATA_BYTES:
        raise RequestError(400, f"the metadata takes {len(text)} bytes, at most {MAX_METADATA_BYTES}", field="metadata")
    return text


_TEXT_KEYS = (
    *("model_type", "name", "description", "author", "license", "version", "source", "original_format"),
    *("created_at", "architecture", "chat_template", "chat_format"),
)
