from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import FormatError, RequestError, UnsupportedError
from realizar_lambda.formats import open_model
from realizar_lambda.formats.safetensors import DTYPES, write

MALFORMED = Path("safetensors") / "malformed"


def put(tmp_path: Path, header: object, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def entry(dtype: object, shape: object, *offsets: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


def test_every_verdict_is_that_of_the_official_library(data_dir: Path) -> None:
    verdicts = json.loads((data_dir / MALFORMED / "verdicts.json").read_text())["files"]
    checked = 0
    for name, verdict in verdicts.items():
        path = data_dir / MALFORMED / name
        if not path.exists():
            continue
        checked += 1
        if verdict["verdict"] == "accepted":
            model = open_model(path)
            assert {name: list(tensor.shape) for name, tensor in model.tensors.items()} == verdict["tensors"], name
        else:
            with pytest.raises(FormatError):
                open_model(path)
    assert checked >= 25


def test_a_file_of_the_official_library_is_read_with_its_values(tmp_path: Path) -> None:
    arrays = {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "h": np.arange(4, dtype=np.float16),
        "n": np.array(7, dtype=np.int64),
        "e": np.zeros((0, 5), dtype=np.uint8),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "m.safetensors", metadata={"format": "np"})
    model = open_model(tmp_path / "m.safetensors")
    assert (model.format, model.metadata, model.checks) == ("safetensors", {"format": "np"}, {})
    for name, array in arrays.items():
        assert model.tensors[name].shape == array.shape
        assert model.tensors[name].data.tobytes() == array.tobytes()


def test_written_files_are_byte_for_byte_those_of_the_official_library(tmp_path: Path) -> None:
    dtypes = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1",
              "U16": "u2", "U32": "u4", "U64": "u8", "BOOL": "?"}  # fmt: skip
    arrays = {f"t{n}": np.ones((n + 1, 2), dtype=code) for n, code in enumerate(dtypes.values())}
    safetensors.numpy.save_file(arrays, tmp_path / "theirs.safetensors", metadata={"format": "np"})
    tensors = {name: (array.shape, block, array) for (name, array), block in zip(arrays.items(), dtypes, strict=True)}
    write(tmp_path / "ours.safetensors", tensors, {"format": "np"})
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_written_and_read_back(tmp_path: Path, dtype: str) -> None:
    content = bytes(range(6 * BLOCKS[dtype].n_bytes))
    write(tmp_path / "m.safetensors", {"t": ((2, 3), dtype, content), "": ((), "U8", b"x")}, {})
    model = open_model(tmp_path / "m.safetensors")
    tensor = model.tensors["t"]
    assert (tensor.shape, tensor.block.name, tensor.data.tobytes()) == ((2, 3), dtype, content)
    assert tensor.offset % BLOCKS[dtype].n_bytes == 0
    assert model.tensors[""].data == b"x"


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"t": entry("F32", [1], 0)}, bytes(4)),
        ({"t": entry("F32", [1], 0, 4.0)}, bytes(4)),
        ({"t": entry("F32", [1], False, 4)}, bytes(4)),
        ({"t": entry("F32", [1.0], 0, 4)}, bytes(4)),
        ({"t": entry("F32", [True], 0, 4)}, bytes(4)),
        ({"t": entry("F32", "1", 0, 4)}, bytes(4)),
        ({"t": entry(["F32"], [1], 0, 4)}, bytes(4)),
        ({"t": {**entry("F32", [1], 0, 4), "more": 1}}, bytes(4)),
        ({"t": entry("U8", [1 << 30, 1 << 30, 1 << 30, 0], 0, 0)}, b""),
        ({"t": [1]}, b""),
        ({"__metadata__": ["a"]}, b""),
        ({"__metadata__": None}, b""),
        (b'{"a":{}}', b""),
        (b"{}\n", b""),
        (b" {}", b""),
        (b"", b""),
    ],
)
def test_a_broken_header_is_refused(tmp_path: Path, header: object, data: bytes) -> None:
    with pytest.raises(FormatError):
        open_model(put(tmp_path, header, data))


def test_dtypes_of_less_than_a_byte_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="F4"):
        open_model(put(tmp_path, {"t": entry("F4", [2], 0, 1)}, bytes(1)))


def test_a_shape_of_a_million_dimensions_is_refused_at_once(tmp_path: Path) -> None:
    header = {"t": entry("F32", [1 << 40] * 100_000, 0, 4)}
    with pytest.raises(FormatError, match="2\\*\\*48"):
        open_model(put(tmp_path, header, bytes(4)))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.safetensors", {"a": ((3,), "F32", bytes(12)), "b": ((5,), "U8", bytes(5))}, {"k": "v"})
    data = (tmp_path / "m.safetensors").read_bytes()
    for size in range(len(data)):
        (tmp_path / "m.safetensors").write_bytes(data[:size])
        with pytest.raises(FormatError):
            open_model(tmp_path / "m.safetensors")


def test_a_file_is_recognised_without_its_suffix(tmp_path: Path) -> None:
    write(tmp_path / "blob", {"a": ((1,), "U8", b"x")}, {})
    assert open_model(tmp_path / "blob").format == "safetensors"


def test_a_pointer_with_the_suffix_is_named_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UnsupportedError, match="git lfs pull"):
        open_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("tensor", "metadata", "error"),
    [
        (((1,), "F32", bytes(3)), {}, RequestError),
        (((-1,), "F32", b""), {}, RequestError),
        (((32,), "Q8_0", bytes(34)), {}, UnsupportedError),
        (((1,), "U8", b"x"), {"n": 1}, RequestError),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path, tensor, metadata, error) -> None:
    with pytest.raises(error):
        write(tmp_path / "m.safetensors", {"t": tensor}, metadata)
    assert list(tmp_path.iterdir()) == []
