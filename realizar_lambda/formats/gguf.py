"""GGUF v2 and v3 files, read over the map without copying; it does not know what the metadata mean.

    "GGUF", u32 version, u64 tensors, u64 keys
    per key       string key, u32 type, value
    per tensor    string name, u32 n_dims, u64 dims (fastest first), u32 block type, u64 offset
    padding to general.alignment (32 where it is not given), then the tensors' data; offsets count from there

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from math import prod

from realizar_lambda.blocks import BLOCKS_BY_ID
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.gguf_rules import check_model
from realizar_lambda.formats.gguf_strings import StringArray, read_string, skip_strings
from realizar_lambda.formats.model_file import ModelFile
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.blocks import BlockType

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_KEY_BYTES = 65535
MAX_NAME_BYTES = 63
MAX_DIMENSIONS = 4
MAX_ARRAY_ITEMS = 64 << 20

_SHORTEST_KEY = 14
_SHORTEST_TENSOR = 25

STRING, ARRAY, BOOL = 8, 9, 7
VALUE_TYPES = {
    0: ("u8", "B"),
    1: ("i8", "b"),
    2: ("u16", "H"),
    3: ("i16", "h"),
    4: ("u32", "I"),
    5: ("i32", "i"),
    6: ("f32", "f"),
    7: ("bool", "?"),
    8: ("string", ""),
    9: ("array", ""),
    10: ("u64", "Q"),
    11: ("i64", "q"),
    12: ("f64", "d"),
}
"""Value type id -> its name and its code for `struct` and `memoryview.cast`."""

_SCALARS = {id: struct.Struct(f"<{code}") for id, (_, code) in VALUE_TYPES.items() if code}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

_OTHER_BLOCKS = {
    4: "Q4_2",
    5: "Q4_3",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    21: "IQ3_S",
    22: "IQ2_S",
    29: "IQ1_M",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    34: "TQ1_0",
    35: "TQ2_0",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
    39: "MXFP4",
}


class Metadata(dict[str, object]):
    """The keys and values of a GGUF file; `types` has each key's type as the file gives it: "u32", "[string]"."""

    __slots__ = ("types",)

    def __init__(self) -> None:
        super().__init__()
        self.types: dict[str, str] = {}


def read(path: str, data: memoryview, *, verify: bool = False) -> ModelFile:
    """The model in `data`, the bytes of the file `path`.

    Scalars and text are `int`, `float`, `bool` and `str`; arrays of numbers are memoryviews of the file in their
    own type and arrays of text `StringArray`s, both lazy. Shapes are row-major: GGUF's dimensions reversed. The
    format has no checksums, so `verify` finds nothing to do. Raises FormatError, UnsupportedError.
    """
    if len(data) < 24:
        raise FormatError(path, len(data), f"a GGUF header is 24 bytes long, the file has {len(data)}")
    _, version, n_tensors, n_keys = struct.unpack_from("<4sIQQ", data)
    if version not in (2, 3):
        raise _wrong_version(path, version)
    n_possible = min(MAX_KEYS, (len(data) - 24) // _SHORTEST_KEY)
    if n_keys > n_possible:
        raise FormatError(path, 16, f"{n_keys} keys are declared, there can be at most {n_possible}")
    metadata = Metadata()
    position = 24
    for _ in range(n_keys):
        position = _read_key(path, data, position, metadata)
    alignment = _alignment(path, metadata)
    n_possible = min(MAX_TENSORS, (len(data) - position) // _SHORTEST_TENSOR)
    if n_tensors > n_possible:
        raise FormatError(path, 8, f"{n_tensors} tensors are declared, there can be at most {n_possible}")
    infos = []
    for _ in range(n_tensors):
        info, position = _read_info(path, data, position)
        infos.append(info)
    start = -(-position // alignment) * alignment
    tensors = {}
    for at, name, shape, block, offset in infos:
        n_bytes = block.row_bytes(prod(shape))
        if offset % alignment or start + offset + n_bytes > len(data):
            raise FormatError(
                path,
                at,
                f"tensor {name!r} of {n_bytes} bytes lies at {offset} of the data, which has {len(data) - start} "
                f"bytes; offsets are multiples of {alignment}",
            )
        if name in tensors:
            raise FormatError(path, at, f"two tensors are named {name!r}")
        view = data[start + offset : start + offset + n_bytes]
        tensors[name] = Tensor(name, shape, block, view, start + offset)
    _check_overlaps(path, list(tensors.values()))
    checks = check_model(path, metadata, tensors)
    return ModelFile(
        path=path, format=f"gguf-v{version}", metadata=metadata, tensors=tensors, checks=checks, buffer=data
    )


def _wrong_version(path: str, version: int) -> FormatError | UnsupportedError:
    if version == 1:
        return UnsupportedError(f"{path}: GGUF version 1", "versions 2 and 3: convert the model again with llama.cpp")
    if version & 0xFFFF == 0 and 1 <= version >> 24 <= 3:
        return UnsupportedError(
            f"{path}: a big-endian (byte-swapped) GGUF file", "little-endian ones: `gguf-convert-endian FILE little`"
        )
    return FormatError(path, 4, f"the GGUF version is {version}, it must be 2 or 3")


def _read_key(path: str, data: memoryview, position: int, metadata: Metadata) -> int:
    at = position
    key, position = read_string(path, data, position)
    if not key or position - at - 8 > MAX_KEY_BYTES:
        raise FormatError(path, at, f"a key is {position - at - 8} bytes long, it must be 1 to {MAX_KEY_BYTES}")
    if key in metadata:
        raise FormatError(path, at, f"the key {key!r:.80} occurs twice")
    if position + 4 > len(data):
        raise FormatError(path, position, f"the file ends after the key {key!r:.80}")
    (type_id,) = _U32.unpack_from(data, position)
    position += 4
    if type_id == STRING:
        metadata[key], position = read_string(path, data, position)
    elif type_id == ARRAY:
        return _read_array(path, data, position, key, metadata)
    elif type_id in _SCALARS:
        scalar = _SCALARS[type_id]
        if position + scalar.size > len(data):
            raise FormatError(path, position, f"the file ends inside the value of {key!r:.80}")
        if type_id == BOOL and data[position] > 1:
            raise FormatError(path, position, f"{key!r:.80} is a bool of {data[position]}, it must be 0 or 1")
        (metadata[key],) = scalar.unpack_from(data, position)
        position += scalar.size
    else:
        raise FormatError(path, position - 4, f"the type of {key!r:.80} is {type_id}, types are 0 to 12")
    metadata.types[key] = VALUE_TYPES[type_id][0]
    return position


def _read_array(path: str, data: memoryview, position: int, key: str, metadata: Metadata) -> int:
    if position + 12 > len(data):
        raise FormatError(path, position, f"the file ends inside the array {key!r:.80}")
    (type_id,) = _U32.unpack_from(data, position)
    n_items: int = _U64.unpack_from(data, position + 4)[0]
    if type_id == ARRAY:
        raise FormatError(path, position, f"{key!r:.80} is an array of arrays, which GGUF readers refuse")
    if type_id not in VALUE_TYPES:
        raise FormatError(path, position, f"{key!r:.80} is an array of type {type_id}, types are 0 to 12")
    name, code = VALUE_TYPES[type_id]
    size = _SCALARS[type_id].size if code else 8
    start = position + 12
    if n_items > min(MAX_ARRAY_ITEMS, (len(data) - start) // size):
        raise FormatError(
            path, position + 4, f"the array {key!r:.80} has {n_items} items, {len(data) - start} bytes are left"
        )
    metadata.types[key] = f"[{name}]"
    if type_id == STRING:
        end = skip_strings(path, data, start, n_items)
        metadata[key] = StringArray(data, start, n_items, end)
        return end
    end = start + n_items * size
    if type_id == BOOL and bytes(data[start:end]).strip(b"\0\1"):
        raise FormatError(path, start, f"an item of {key!r:.80} is a bool that is neither 0 nor 1")
    metadata[key] = data[start:end].cast(code)  # type: ignore[call-overload]
    return end


def _alignment(path: str, metadata: Metadata) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    is_u32 = metadata.types.get("general.alignment", "u32") == "u32"
    if not is_u32 or not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        found = f"{alignment!r:.40} ({metadata.types['general.alignment']})"
        raise FormatError(path, None, f"general.alignment must be a u32 power of two, it is {found}")
    return alignment


def _read_info(path: str, data: memoryview, at: int) -> tuple[tuple[int, str, tuple[int, ...], BlockType, int], int]:
    name, position = read_string(path, data, at)
    if not 1 <= position - at - 8 <= MAX_NAME_BYTES:
        raise FormatError(path, at, f"a tensor name is {position - at - 8} bytes long, it must be 1 to 63")
    if position + 4 > len(data):
        raise FormatError(path, position, f"the file ends after the name of tensor {name!r}")
    (n_dims,) = _U32.unpack_from(data, position)
    if n_dims > MAX_DIMENSIONS:
        raise FormatError(path, position, f"tensor {name!r} has {n_dims} dimensions, at most {MAX_DIMENSIONS}")
    if position + 16 + 8 * n_dims > len(data):
        raise FormatError(path, position, f"the file ends inside the description of tensor {name!r}")
    *dims, type_id, offset = struct.unpack_from(f"<{n_dims}QIQ", data, position + 4)
    if 0 in dims or prod(dims) >= 1 << 63:
        raise FormatError(
            path, position + 4, f"tensor {name!r} has dimensions {dims}: none may be 0, their product at most 2**63"
        )
    block = BLOCKS_BY_ID.get(type_id)
    if block is None:
        type_at = position + 4 + 8 * n_dims
        if type_id not in _OTHER_BLOCKS:
            raise FormatError(path, type_at, f"the type of tensor {name!r} is {type_id}, which GGML does not have")
        raise UnsupportedError(
            f"block type {_OTHER_BLOCKS[type_id]} of tensor {name!r}", (row.name for row in BLOCKS_BY_ID.values())
        )
    if block.n_elements > 1 and (not dims or dims[0] % block.n_elements):
        raise FormatError(
            path,
            position + 4,
            f"tensor {name!r} has dimensions {dims}, {block.name} rows are whole blocks of {block.n_elements}",
        )
    return (at, name, tuple(reversed(dims)), block, offset), position + 16 + 8 * n_dims


def _check_overlaps(path: str, tensors: list[Tensor]) -> None:
    end, before = 0, ""
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            raise FormatError(path, tensor.offset, f"tensor {tensor.name!r} overlaps {before!r}")
        end, before = tensor.offset + tensor.n_bytes, tensor.name
