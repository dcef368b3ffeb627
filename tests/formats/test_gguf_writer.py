from __future__ import annotations

import tracemalloc
from array import array
from math import prod
from pathlib import Path

import gguf as reference
import numpy as np
import pytest

from realizar_lambda.blocks import BLOCKS, BLOCKS_BY_ID
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.formats import open_model
from realizar_lambda.formats.gguf_writer import write

METADATA: dict[str, object] = {
    "general.architecture": "test",
    "count": 7,
    "negative": -7,
    "large": 1 << 40,
    "eps": 1e-5,
    "yes": True,
    "tokens": ["a", "", "größe", b"\xff"],
    "types": [1, 1, 3, 6],
    "scores": [0.0, -1.5, 2],
    "flags": [True, False],
    "view": memoryview(array("H", [1, 2, 3])),
}
TYPES = {
    "general.architecture": "string",
    "count": "u32",
    "negative": "i32",
    "large": "u64",
    "eps": "f32",
    "yes": "bool",
    "tokens": "[string]",
    "types": "[i32]",
    "scores": "[f32]",
    "flags": "[bool]",
    "view": "[u16]",
}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    tensors = {
        "w": ((2, 3), "F32", np.arange(6, dtype=np.float32).reshape(2, 3)),
        "s": ((), "F16", b"ab"),
        "q": ((3, 64), "Q8_0", bytes(range(204))),
    }
    write(tmp_path / "m.gguf", METADATA, tensors)
    model = open_model(tmp_path / "m.gguf")
    assert model.format == "gguf-v3"
    assert model.metadata.types == TYPES
    assert list(model.metadata) == list(METADATA)
    assert list(model.metadata["tokens"]) == ["a", "", "größe", "\ufffd"]
    assert model.metadata["tokens"].bytes_at(3) == b"\xff"
    assert list(model.metadata["scores"]) == [0.0, -1.5, 2.0]
    assert list(model.metadata["view"]) == [1, 2, 3]
    assert model.metadata["eps"] == pytest.approx(1e-5, rel=1e-7)
    assert list(model.tensors) == ["w", "s", "q"]
    assert model.tensors["w"].shape == (2, 3)
    assert model.tensors["w"].data == np.arange(6, dtype=np.float32).tobytes()
    assert model.tensors["q"].data == bytes(range(204))


def test_what_is_written_is_read_by_the_reference_package(tmp_path: Path) -> None:
    tensors = {"w": ((2, 3), "F32", np.arange(6, dtype=np.float32)), "q": ((2, 256), "Q4_K", bytes(288))}
    metadata = {key: value for key, value in METADATA.items() if key != "tokens"} | {"tokens": ["a", "", "木"]}
    write(tmp_path / "m.gguf", metadata, tensors)
    reader = reference.GGUFReader(tmp_path / "m.gguf")
    for key, value in metadata.items():
        found = reader.fields[key].contents()
        assert found == (pytest.approx(value) if key == "eps" else list(value) if key == "view" else value)
    assert [(t.name, t.shape.tolist(), t.tensor_type.name) for t in reader.tensors] == [
        ("w", [3, 2], "F32"),
        ("q", [256, 2], "Q4_K"),
    ]
    assert reader.tensors[0].data.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_bytes_are_those_of_the_reference_writer(tmp_path: Path) -> None:
    theirs = reference.GGUFWriter(tmp_path / "theirs.gguf", "test")
    theirs.add_uint32("count", 7)
    theirs.add_float32("eps", 1e-5)
    theirs.add_array("tokens", ["a", "b"])
    theirs.add_tensor("w", np.arange(6, dtype=np.float32).reshape(2, 3))
    theirs.add_tensor("h", np.arange(5, dtype=np.float16))
    theirs.write_header_to_file()
    theirs.write_kv_data_to_file()
    theirs.write_tensors_to_file()
    theirs.close()
    write(
        tmp_path / "ours.gguf",
        {"general.architecture": "test", "count": 7, "eps": 1e-5, "tokens": ["a", "b"]},
        {
            "w": ((2, 3), "F32", np.arange(6, dtype=np.float32)),
            "h": ((5,), "F16", np.arange(5, dtype=np.float16)),
        },
    )
    assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_a_file_written_again_keeps_every_type_and_value(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "models" / "stories260K" / "derived" / "stories260K-q5_1.gguf"
    model = open_model(source)
    tensors = {t.name: (t.shape, t.block.name, t.data) for t in model.tensors.values()}
    write(tmp_path / "copy.gguf", model.metadata, tensors)
    assert (tmp_path / "copy.gguf").read_bytes() == source.read_bytes()


def test_types_can_be_given(tmp_path: Path) -> None:
    types = {"a": "u8", "b": "f64", "c": "[u64]", "d": "[f64]", "e": "i64"}
    write(tmp_path / "m.gguf", {"a": 1, "b": 0.1, "c": [1], "d": array("d", [0.1]), "e": 5}, {}, types=types)
    metadata = open_model(tmp_path / "m.gguf").metadata
    assert metadata.types == types
    assert (metadata["b"], metadata["d"][0]) == (0.1, 0.1)


@pytest.mark.parametrize("block", BLOCKS_BY_ID.values(), ids=lambda block: block.name)
def test_every_ggml_block_type_is_written(tmp_path: Path, block) -> None:
    shape = (3, block.n_elements)
    content = bytes(range(251))[:1] * block.row_bytes(prod(shape))
    write(tmp_path / "m.gguf", {}, {"t": (shape, block.name, content)})
    tensor = open_model(tmp_path / "m.gguf").tensors["t"]
    assert (tensor.block, tensor.shape, tensor.data) == (block, shape, content)


def test_tensors_given_as_functions_are_held_one_at_a_time(tmp_path: Path) -> None:
    size = 4 << 20
    tensors = {f"t{n}": ((size,), "I8", lambda n=n: bytes([n]) * size) for n in range(8)}
    tracemalloc.start()
    write(tmp_path / "m.gguf", {}, tensors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * size
    model = open_model(tmp_path / "m.gguf")
    assert all(model.tensors[f"t{n}"].data[-1] == n for n in range(8))


def test_the_alignment_is_kept(tmp_path: Path) -> None:
    tensors = {"a": ((1,), "I8", b"a"), "b": ((1,), "I8", b"b")}
    write(tmp_path / "m.gguf", {"general.alignment": 256}, tensors)
    assert [tensor.offset % 256 for tensor in open_model(tmp_path / "m.gguf").tensors.values()] == [0, 0]


@pytest.mark.parametrize(
    ("metadata", "types"),
    [
        ({"": 1}, {}),
        ({"k": None}, {}),
        ({"k": []}, {}),
        ({"k": ["a", 1]}, {}),
        ({"k": [[1]]}, {}),
        ({"k": {}}, {}),
        ({"k": 1 << 64}, {}),
        ({"k": [-1, (1 << 64) - 1]}, {}),
        ({"k": 256}, {"k": "u8"}),
        ({"k": 1}, {"k": "bool"}),
        ({"k": 1e300}, {"k": "f32"}),
        ({"k": "text"}, {"k": "u32"}),
        ({"k": 1}, {"k": "string"}),
        ({"k": 1}, {"k": "array"}),
        ({"k": [1]}, {"k": "[array]"}),
        ({"k": 1}, {"k": "f16"}),
        ({"general.alignment": 3}, {}),
        ({"general.alignment": "32"}, {}),
    ],
)
def test_metadata_that_gguf_cannot_hold_are_not_written(tmp_path: Path, metadata, types) -> None:
    with pytest.raises(RequestError):
        write(tmp_path / "m.gguf", metadata, {}, types=types)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "tensor", "error"),
    [
        ("", ((1,), "I8", b"a"), RequestError),
        ("n" * 64, ((1,), "I8", b"a"), RequestError),
        ("t", ((0,), "I8", b""), RequestError),
        ("t", ((1,) * 5, "I8", b"a"), RequestError),
        ("t", ((2,), "I8", b"a"), RequestError),
        ("t", ((2, 16), "Q8_0", bytes(34)), RequestError),
        ("t", ((1,), "BOOL", b"a"), UnsupportedError),
        ("t", ((32,), "AprQ4", bytes(18)), UnsupportedError),
        ("t", ((1,), "Q9_9", b"a"), UnsupportedError),
    ],
)
def test_tensors_that_gguf_cannot_hold_are_not_written(tmp_path: Path, name: str, tensor, error) -> None:
    with pytest.raises(error):
        write(tmp_path / "m.gguf", {}, {name: tensor})
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_blocks_has_the_reference_sizes() -> None:
    for block in BLOCKS.values():
        if block.id >= 0 and block.name != "Q8_1":  # the package still has the 40 bytes of its old layout
            sizes = reference.GGML_QUANT_SIZES[reference.GGMLQuantizationType(block.id)]
            assert sizes == (block.n_elements, block.n_bytes)
