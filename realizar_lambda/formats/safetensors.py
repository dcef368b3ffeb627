"""safetensors files, one at a time, read and written; it does not know shards or what the tensors are for.

    0    u64 length of the header, at most 100,000,000
    8    header    JSON {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {str: str}}
         data      tensors without holes or overlaps; offsets count from here

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
import struct

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import FormatError, RequestError, UnsupportedError
from realizar_lambda.formats.json_text import parse_object
from realizar_lambda.formats.model_file import ModelFile
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

MAX_HEADER_BYTES = 100_000_000
MAX_ELEMENTS = 1 << 48

DTYPES = (
    *("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", "F16", "BF16"),
    *("I32", "U32", "F32", "F64", "I64", "U64"),
)
"""The dtypes we hold, named as the block types are, in the order by which the reference writer sorts."""

_OTHER_DTYPES = ("F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "C64")


def read(path: str, data: memoryview, *, verify: bool = False) -> ModelFile:
    """The tensors in `data`, the bytes of the file `path`; `metadata` is the header's `__metadata__`.

    The format has no checksums, so `verify` finds nothing to do; it has no unused byte either, and its rules
    are checked always. Raises FormatError, and UnsupportedError for dtypes of less than a byte.
    """
    if len(data) < 8:
        raise FormatError(path, len(data), f"a safetensors file starts with an 8-byte length, it has {len(data)}")
    (n_header,) = struct.unpack_from("<Q", data)
    if n_header > MAX_HEADER_BYTES or n_header > len(data) - 8:
        limit = min(MAX_HEADER_BYTES, len(data) - 8)
        raise FormatError(path, 0, f"the header is {n_header} bytes long, there are at most {limit}")
    raw = bytes(data[8 : 8 + n_header])
    if raw[:1] != b"{":
        raise FormatError(path, 8, f"the header starts with {raw[:1]!r}, it must be a JSON object")
    entries = parse_object(path, 8, raw)
    if not raw.rstrip(b" ").endswith(b"}"):
        raise FormatError(path, 8, "the header is padded with something else than spaces")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(path, 8, "__metadata__ must map strings to strings")
    spans = sorted((_span(path, name, entry, len(data)), name) for name, entry in entries.items())
    tensors, start = {}, 8 + n_header
    end = 0
    for (begin, stop), name in spans:
        if begin != end:
            raise FormatError(path, start + begin, f"tensor {name!r} begins at {begin}, the one before ends at {end}")
        tensors[name] = _tensor(path, name, entries[name], data[start + begin : start + stop], start + begin)
        end = stop
    if start + end != len(data):
        raise FormatError(path, start + end, f"the tensors end at byte {start + end}, the file at {len(data)}")
    return ModelFile(path=path, format="safetensors", metadata=metadata, tensors=tensors, checks={}, buffer=data)


def _span(path: str, name: str, entry: object, n_bytes: int) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise FormatError(path, 8, f"tensor {name!r} needs data_offsets of two integers, got {offsets!r:.80}")
    begin, end = offsets
    if not 0 <= begin <= end <= n_bytes:
        raise FormatError(path, 8, f"tensor {name!r} lies at {begin} to {end} in a file of {n_bytes} bytes")
    return begin, end


def _tensor(path: str, name: str, entry: object, data: memoryview, offset: int) -> Tensor:
    fields: dict[str, object] = entry if isinstance(entry, dict) else {}
    dtype, shape = fields.get("dtype"), fields.get("shape")
    if len(fields) != 3 or dtype not in DTYPES:
        if len(fields) == 3 and dtype in _OTHER_DTYPES:
            raise UnsupportedError(f"dtype {dtype} of tensor {name!r}", DTYPES)
        raise FormatError(path, 8, f"tensor {name!r} needs dtype, shape and data_offsets, got {fields!r:.120}")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise FormatError(path, 8, f"tensor {name!r} needs a shape of integers from 0, got {shape!r:.80}")
    n_elements = 1
    for size in shape:
        n_elements *= size
        if n_elements > MAX_ELEMENTS:
            raise FormatError(path, 8, f"tensor {name!r} has more than 2**48 elements")
    block = BLOCKS[dtype]
    if block.row_bytes(n_elements) != len(data):
        wanted = block.row_bytes(n_elements)
        raise FormatError(path, 8, f"tensor {name!r} takes {len(data)} bytes, {shape!r:.80} of {dtype} take {wanted}")
    return Tensor(name, tuple(shape), block, data, offset)


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, tuple[Sequence[int], str, Buffer]],
    metadata: Mapping[str, str],
) -> None:
    """Write `tensors`, name -> (shape, block name, bytes), and `metadata` in place of `path`.

    Tensors are laid out as the reference writer does, widest dtype first and by name within it, so each is
    aligned to its elements; the same arguments give the same bytes. Raises RequestError where the format
    cannot hold a value, UnsupportedError for quantised types, OSError.
    """
    from realizar_lambda.formats.atomic_file import flat_bytes, replacing

    header: dict[str, object] = {}
    if metadata:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise RequestError(400, "safetensors metadata maps strings to strings", field="metadata")
        header["__metadata__"] = dict(metadata)
    for name, (_, block_name, _) in tensors.items():
        if block_name not in DTYPES:
            raise UnsupportedError(f"tensor {name!r} of type {block_name} in safetensors", DTYPES)
    names = sorted(tensors, key=lambda name: (-DTYPES.index(tensors[name][1]), name))
    end = 0
    for name in names:
        shape, block_name, content = tensors[name]
        size = BLOCKS[block_name].n_bytes
        for dimension in shape:
            size *= dimension
        n_bytes = memoryview(content).nbytes
        if name == "__metadata__" or size != n_bytes or any(dimension < 0 for dimension in shape):
            raise RequestError(400, f"tensor {name!r} has {n_bytes} bytes, {list(shape)} of {block_name} take {size}")
        header[name] = {"dtype": block_name, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise RequestError(400, f"the header takes {len(text)} bytes, at most {MAX_HEADER_BYTES}", field="tensors")
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in names:
            file.write(flat_bytes(tensors[name][2]))
