from __future__ import annotations

import array
import json
import struct
import subprocess
import sys
import zlib
from math import prod
from pathlib import Path

import apr_bytes
import pytest
from apr_bytes import entry, json_entry

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import FormatError, RequestError, UnsupportedError
from realizar_lambda.formats import apr_v2, open_model
from realizar_lambda.formats.apr_dtypes import DTYPE_OF_BLOCK

F32_2X3 = struct.pack("<6f", *range(6))


def put(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.apr"
    path.write_bytes(data)
    return path


def one(dtype: int, dims: tuple[int, ...], size: int, **fields) -> bytes:
    return apr_bytes.v2(entry("t", dtype, dims, 0, size), bytes(size), n_tensors=1, **fields)


def test_written_bytes_are_those_of_the_reference_writer(tmp_path: Path) -> None:
    bias = array.array("f", [0.5, -0.5])
    apr_v2.write(
        tmp_path / "m.apr",
        {"layers.0.weight": ((2, 3), "F32", F32_2X3), "layers.0.bias": ((2,), "F32", bias)},
        {"model_type": "test"},
    )
    index = entry("layers.0.bias", 0, (2,), 0, 8) + entry("layers.0.weight", 0, (2, 3), 64, 24)
    expected = apr_bytes.v2(index, apr_bytes.pad(bias.tobytes()) + F32_2X3, n_tensors=2)
    assert (tmp_path / "m.apr").read_bytes() == expected


def test_written_files_read_back_with_both_checksums_good(tmp_path: Path) -> None:
    tensors = {
        "b": ((2, 3), "F32", F32_2X3),
        "a": ((), "I64", struct.pack("<q", -7)),
        "e": ((0, 4), "F16", b""),
    }
    apr_v2.write(tmp_path / "m.apr", tensors, {"name": "größe", "labels": ["0", "1"]})
    model = open_model(tmp_path / "m.apr")
    assert model.format == "apr-v2"
    assert model.metadata == {"name": "größe", "labels": ["0", "1"]}
    assert model.checks == {"header checksum": "ok", "footer checksum": "ok"}
    assert list(model.tensors) == ["a", "b", "e"]
    assert {name: (t.shape, t.block.name, t.data.tobytes()) for name, t in model.tensors.items()} == tensors
    assert all(tensor.offset % 64 == 0 for tensor in model.tensors.values())


@pytest.mark.parametrize("name", sorted(DTYPE_OF_BLOCK))
def test_every_block_type_that_can_be_written_is_read_back_as_itself(tmp_path: Path, name: str) -> None:
    block = BLOCKS[name]
    shape = (3, 2 * block.n_elements)
    content = bytes(range(256)) * 10
    content = content[: block.row_bytes(prod(shape))]
    apr_v2.write(tmp_path / "m.apr", {"t": (shape, name, content)}, {})
    tensor = open_model(tmp_path / "m.apr").tensors["t"]
    assert (tensor.shape, tensor.block.name, tensor.data.tobytes()) == (shape, name, content)
    flags = int.from_bytes((tmp_path / "m.apr").read_bytes()[6:8], "little")
    assert flags == (0x420 if block.is_quantized else 0x400)


def test_the_same_arguments_give_the_same_bytes_in_any_tensor_order(tmp_path: Path) -> None:
    tensors = {name: ((1,), "U8", name.encode()) for name in "zebra"}
    apr_v2.write(tmp_path / "1.apr", tensors, {"x": 1})
    apr_v2.write(tmp_path / "2.apr", dict(reversed(tensors.items())), {"x": 1})
    assert (tmp_path / "1.apr").read_bytes() == (tmp_path / "2.apr").read_bytes()


@pytest.mark.parametrize(
    ("dtype", "size", "name"),
    [
        (3, 8 * 64, "F64"),
        (3, 40, "Q4_1"),
        (6, 64, "I8"),
        (6, 44, "Q5_0"),
        (7, 64, "U8"),
        (7, 48, "Q5_1"),
        (8, 36, "AprQ4"),
        (8, 68, "Q8_0"),
        (9, 72, "Q8_1"),
        (128, 36, "AprQ4"),
        (2, 36, "Q4_0"),
        (30, 128, "BF16"),
    ],
)
def test_a_dtype_with_two_meanings_is_told_by_its_size(tmp_path: Path, dtype: int, size: int, name: str) -> None:
    tensor = open_model(put(tmp_path, one(dtype, (1, 64), size))).tensors["t"]
    assert tensor.block.name == name


@pytest.mark.parametrize(("dtype", "size"), [(9, 68), (129, 68)])
def test_aprq8_tensors_are_refused_by_name(tmp_path: Path, dtype: int, size: int) -> None:
    with pytest.raises(UnsupportedError, match="AprQ8"):
        open_model(put(tmp_path, one(dtype, (1, 64), size)))


def test_a_size_that_fits_no_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"it must take 36 \(AprQ4\) or 68 \(Q8_0\)"):
        open_model(put(tmp_path, one(8, (1, 64), 66)))


def test_rows_that_end_inside_a_block_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="end inside a Q8_0 block"):
        open_model(put(tmp_path, one(8, (32, 2), 68)))


def test_an_unsorted_unaligned_file_without_checksums_is_read(tmp_path: Path) -> None:
    index = entry("w", 0, (2, 3), 5, 24) + entry("b", 0, (1,), 0, 4)
    data = apr_bytes.v2(index, b"abcd?" + F32_2X3, n_tensors=2, flags=0, aligned=False, header_crc=0, footer=False)
    model = open_model(put(tmp_path, data))
    assert model.checks == {"header checksum": "absent", "footer checksum": "absent"}
    assert model.tensors["w"].data == F32_2X3
    assert model.tensors["b"].data == b"abcd"


def test_a_json_index_is_read(tmp_path: Path) -> None:
    index = json.dumps([json_entry("weights", "json", [2], 0, 2), json_entry("w", "f32", [2, 3], 2, 24)]).encode()
    data = apr_bytes.v2(index, b"{}" + F32_2X3, n_tensors=2, flags=0, aligned=False, header_crc=0, footer=False)
    model = open_model(put(tmp_path, data))
    assert (model.tensors["weights"].block.name, model.tensors["weights"].data) == ("U8", b"{}")
    assert (model.tensors["w"].shape, model.tensors["w"].data) == ((2, 3), F32_2X3)


@pytest.mark.parametrize(
    "index",
    [
        b"[",
        b"[]",
        b"[1]",
        b'[{"name":""}]',
        b'[{"name":"t"}]',
        b'[{"name":"t","dtype":"F32","shape":[-1],"offset":0,"size":4}]',
        b'[{"name":"t","dtype":"F32","shape":[1],"offset":0,"size":true}]',
        b'[{"name":"t","dtype":"F32","shape":[1],"offset":1e3,"size":4}]',
        b'[{"name":"t","dtype":"F32","shape":[1],"offset":9,"size":4}]',
    ],
)
def test_a_broken_json_index_is_refused(tmp_path: Path, index: bytes) -> None:
    data = apr_bytes.v2(index, bytes(8), n_tensors=1, aligned=False, footer=False)
    with pytest.raises(FormatError):
        open_model(put(tmp_path, data))


def test_a_converted_gguf_file_has_its_dimensions_turned_round(tmp_path: Path) -> None:
    index = entry("blk.0.attn_q.weight", 12, (256, 3), 0, 3 * 144) + entry("output_norm.weight", 0, (2,), 448, 8)
    data = apr_bytes.v2(index, bytes(456), n_tensors=2, flags=0x20, footer=False)
    model = open_model(put(tmp_path, data))
    assert model.tensors["blk.0.attn_q.weight"].shape == (3, 256)
    assert "reversed" in model.checks["dimensions"]
    assert model.checks["footer checksum"] == "absent"


def test_gguf_names_in_a_row_major_file_stay_as_they_are(tmp_path: Path) -> None:
    apr_v2.write(tmp_path / "m.apr", {"blk.0.attn_q.weight": ((3, 256), "Q4_K", bytes(432))}, {})
    model = open_model(tmp_path / "m.apr")
    assert model.tensors["blk.0.attn_q.weight"].shape == (3, 256)
    assert "dimensions" not in model.checks


def test_a_flipped_bit_in_the_header_is_found(tmp_path: Path) -> None:
    data = bytearray(one(0, (1,), 4))
    data[50] ^= 1
    with pytest.raises(FormatError, match="header's CRC-32") as caught:
        open_model(put(tmp_path, bytes(data)))
    assert caught.value.offset == 40


def test_a_flipped_bit_in_the_data_is_found(tmp_path: Path) -> None:
    data = bytearray(one(0, (1,), 4))
    data[-40] ^= 1
    with pytest.raises(FormatError, match="the file's CRC-32"):
        open_model(put(tmp_path, bytes(data)))


def test_a_shard_says_that_it_is_one(tmp_path: Path) -> None:
    assert "one of several" in open_model(put(tmp_path, one(0, (1,), 4, flags=0x410))).checks["shards"]


def test_a_large_files_footer_is_checked_on_request(tmp_path: Path) -> None:
    size = apr_v2.MAX_CHECKED_BYTES
    data = bytearray(one(7, (size,), size))
    model = open_model(put(tmp_path, bytes(data)))
    assert model.checks["footer checksum"] == "not checked: a large file, checked on request"
    assert open_model(put(tmp_path, bytes(data)), verify=True).checks["footer checksum"] == "ok"
    data[size // 2] ^= 1
    assert open_model(put(tmp_path, bytes(data))).checks["header checksum"] == "ok"
    with pytest.raises(FormatError, match="the file's CRC-32"):
        open_model(put(tmp_path, bytes(data)), verify=True)


def test_a_footer_of_an_unaligned_file_is_recognised(tmp_path: Path) -> None:
    index = entry("t", 7, (5,), 0, 5)
    data = apr_bytes.v2(index, b"abcde", n_tensors=1, aligned=False, footer=True)
    assert open_model(put(tmp_path, data)).checks["footer checksum"] == "ok"
    longer = put(tmp_path, data[:-4] + b"seven b")
    assert open_model(longer).checks["footer checksum"] == "absent, 7 bytes after the last tensor"
    with pytest.raises(FormatError, match="the file's CRC-32"):
        open_model(put(tmp_path, data[:-4] + b"four"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flags": 0x800}, "column-major"),
        ({"flags": 0x404}, "encrypted"),
        ({"version": (3, 1)}, "version 3.1"),
    ],
)
def test_what_we_do_not_do_is_refused_by_name(tmp_path: Path, fields, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        open_model(put(tmp_path, one(0, (1,), 4, **fields)))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("t", 0, (1,), 0, 4), entry("t", 0, (1,), 0, 4)], "two tensors"),
        ([entry("t", 0, (1,), 1 << 40, 4)], "ends at"),
        ([entry("t", 0, (1,), (1 << 64) - 4, 4)], "ends at"),
        ([entry("t", 0, (1 << 32, 1 << 32), 0, 4)], r"at most 2\*\*48"),
        ([entry("t", 0, (2,), 0, 4)], r"must take 8 \(F32\)"),
        ([entry("t", 0, (1,) * 9, 0, 4)], "9 dimensions"),
        ([entry("", 0, (1,), 0, 4)], "0 bytes long"),
        ([entry("n" * 257, 0, (1,), 0, 4)], "257 bytes long"),
        ([entry("a", 0, (2,), 0, 8), entry("b", 0, (2,), 4, 8)], "overlaps"),
        ([struct.pack("<H", 200) + bytes(62)], "runs past"),
        ([b"\x01\0\xff" + entry("t", 0, (1,), 0, 4)[3:]], "not UTF-8"),
    ],
)
def test_a_broken_index_is_refused(tmp_path: Path, entries: list[bytes], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        open_model(put(tmp_path, apr_bytes.v2(b"".join(entries), bytes(64), n_tensors=len(entries))))


def test_an_unknown_dtype_is_refused_by_number(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="dtype 77 of tensor 't'"):
        open_model(put(tmp_path, one(77, (1,), 4)))


def test_tensors_may_share_all_their_bytes(tmp_path: Path) -> None:
    index = entry("a", 0, (2,), 0, 8) + entry("b", 0, (2,), 0, 8)
    model = open_model(put(tmp_path, apr_bytes.v2(index, bytes(8), n_tensors=2)))
    assert model.tensors["a"].offset == model.tensors["b"].offset


def test_a_tensor_count_beyond_the_index_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no room"):
        open_model(put(tmp_path, apr_bytes.v2(entry("t", 0, (1,), 0, 4), bytes(4), n_tensors=0xFFFFFFFF)))


@pytest.mark.parametrize("metadata", [[], "text", 1])
def test_metadata_that_is_no_object_is_refused(tmp_path: Path, metadata: object) -> None:
    with pytest.raises(FormatError, match="must be an object") as caught:
        open_model(put(tmp_path, apr_bytes.v2(b"", b"", n_tensors=0, metadata=metadata)))
    assert caught.value.offset == 64


def test_every_truncation_is_refused_or_read_without_the_footer(tmp_path: Path) -> None:
    data = one(0, (16,), 64)
    for size in range(4, len(data) - 4):
        with pytest.raises(FormatError):
            open_model(put(tmp_path, data[:size]))
    assert open_model(put(tmp_path, data[:-4])).checks["footer checksum"] == "absent"


def test_a_compression_flag_over_plain_bytes_is_read_as_plain(tmp_path: Path) -> None:
    model = open_model(put(tmp_path, one(0, (1,), 4, flags=0x401)))
    assert "compression" not in model.checks
    assert list(model.tensors) == ["t"]


@pytest.mark.parametrize(("flag", "module"), [(1, "lz4.block"), (2, "zstandard")])
def test_a_compressed_body_is_read(tmp_path: Path, flag: int, module: str) -> None:
    codec = pytest.importorskip(module)
    plain = one(0, (1,), 4, flags=0x400 | flag)
    packed = codec.compress(plain[64:])
    model = open_model(put(tmp_path, plain[:64] + packed))
    assert model.checks["compression"] == {1: "LZ4", 2: "zstd"}[flag]
    assert model.checks["footer checksum"] == "ok"
    assert model.tensors["t"].data == bytes(4)


@pytest.mark.parametrize(("flag", "module"), [(1, "lz4"), (2, "zstandard")])
def test_a_codec_that_is_missing_is_named(tmp_path: Path, flag: int, module: str) -> None:
    path = put(tmp_path, one(0, (1,), 4, flags=0x400 | flag)[:64] + bytes(90))
    program = f"""
import sys
sys.modules[{module!r}] = None
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.formats import open_model
try:
    open_model({str(path)!r})
except UnsupportedError as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"without the {module} package" in answer.stdout
    assert "install realizar-lambda[compression]" in answer.stdout


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (("t" * 257, (1,), "F32", bytes(4)), RequestError),
        (("", (1,), "F32", bytes(4)), RequestError),
        (("t", (1,), "F32", bytes(3)), RequestError),
        (("t", (1,) * 9, "F32", bytes(4)), RequestError),
        (("t", (-1,), "F32", b""), RequestError),
        (("t", (2, 16), "Q8_0", bytes(34)), RequestError),
        (("t", (0, 32), "Q8_0", b""), RequestError),
        (("t", (1,), "BOOL", bytes(1)), UnsupportedError),
        (("t", (32,), "Q8_1", bytes(36)), UnsupportedError),
    ],
)
def test_a_tensor_that_the_format_cannot_hold_is_not_written(tmp_path: Path, tensor, error) -> None:
    name, *rest = tensor
    with pytest.raises(error):
        apr_v2.write(tmp_path / "m.apr", {name: tuple(rest)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"x": b"bytes"}, {"name": 3}, {"x": "\ud800"}])
def test_metadata_that_json_cannot_hold_is_not_written(tmp_path: Path, metadata) -> None:
    with pytest.raises(RequestError):
        apr_v2.write(tmp_path / "m.apr", {}, metadata)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    class Breaking(dict):
        def __getitem__(self, key: str) -> object:
            shape, block, content = super().__getitem__(key)
            self.n_reads = getattr(self, "n_reads", 0) + 1
            if self.n_reads > 1:
                raise OSError("the disk went away")
            return shape, block, content

    apr_v2.write(tmp_path / "m.apr", {"t": ((1,), "U8", b"a")}, {})
    before = (tmp_path / "m.apr").read_bytes()
    with pytest.raises(OSError, match="went away"):
        apr_v2.write(tmp_path / "m.apr", Breaking(t=((1,), "U8", b"b")), {})
    assert (tmp_path / "m.apr").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.apr"]


def test_the_footer_is_the_crc_of_everything_before_it(tmp_path: Path) -> None:
    apr_v2.write(tmp_path / "m.apr", {"t": ((3,), "U8", b"abc")}, {"a": 1})
    data = (tmp_path / "m.apr").read_bytes()
    assert int.from_bytes(data[-4:], "little") == zlib.crc32(data[:-4])
    assert int.from_bytes(data[40:44], "little") == zlib.crc32(data[:40] + data[44:64])
    assert len(data) % 64 == 4
