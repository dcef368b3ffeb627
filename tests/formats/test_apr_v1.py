from __future__ import annotations

import array
import struct
import zlib
from math import exp
from pathlib import Path

import apr_bytes
import pytest

from realizar_lambda.errors import CapacityError, FormatError, RequestError, UnsupportedError
from realizar_lambda.formats import open_model
from realizar_lambda.formats.apr_v1 import write_linear, write_logistic


def put(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.apr"
    path.write_bytes(data)
    return path


def test_the_real_mnist_784x2_file_has_its_golden_values(data_dir: Path) -> None:
    model = open_model(data_dir / "apr" / "mnist_784x2.apr")
    assert model.format == "apr-v1"
    assert model.checks == {"checksum": "ok"}
    assert model.metadata["model_type"] == "logistic_regression"
    assert model.metadata["created_at"] == "1764278947"
    assert model.metadata["aprender_version"] == "0.11.0"
    assert model.metadata["n_features"] == 784
    assert model.metadata["intercept"] == 0.011170970275998116
    assert model.metadata["max_iter"] == 100
    assert model.metadata["learning_rate"] == pytest.approx(0.01, rel=1e-7)
    assert model.metadata["tol"] == pytest.approx(1e-4, rel=1e-7)
    tensor = model.tensors["coefficients"]
    assert (tensor.shape, tensor.block.name, tensor.offset) == ((1, 784), "F32", 0x58)
    weights = array.array("f", tensor.data.tobytes())
    assert list(weights[:4]) == pytest.approx([0.00255427, 0.00505302, 0.00866624, 0.00300677], rel=1e-5)
    assert weights[-1] == pytest.approx(0.00575811, rel=1e-5)
    assert min(weights) == pytest.approx(0.001847042, rel=1e-6)
    assert max(weights) == pytest.approx(0.009422958, rel=1e-6)
    assert sum(weights) == pytest.approx(4.3759893, rel=1e-7)
    assert all(weights[j] == weights[j % 256] for j in range(784))


@pytest.mark.parametrize(
    ("value", "z", "probability"),
    [
        (lambda j: 0.0, 0.011170970, 0.502793),
        (lambda j: 0.5, 2.199166, 0.900175),
        (lambda j: j % 256 / 255, 2.165476, 0.897106),
        (lambda j: 1.0, 4.387160, 0.987716),
    ],
)
def test_the_real_file_gives_its_golden_predictions(data_dir: Path, value, z, probability) -> None:
    model = open_model(data_dir / "apr" / "mnist_784x2.apr")
    weights = array.array("f", model.tensors["coefficients"].data.tobytes())
    found = model.metadata["intercept"] + sum(weight * value(j) for j, weight in enumerate(weights))
    assert found == pytest.approx(z, abs=2e-6)
    assert 1 / (1 + exp(-found)) == pytest.approx(probability, abs=2e-6)


def test_writing_the_real_files_values_gives_the_real_files_bytes(data_dir: Path, tmp_path: Path) -> None:
    real = data_dir / "apr" / "mnist_784x2.apr"
    model = open_model(real)
    weights = array.array("f", model.tensors["coefficients"].data.tobytes())
    stored = {key: model.metadata[key] for key in ("created_at", "aprender_version")}
    write_logistic(tmp_path / "copy.apr", weights, model.metadata["intercept"], stored)
    assert (tmp_path / "copy.apr").read_bytes() == real.read_bytes()


def test_a_file_built_field_by_field_is_read(tmp_path: Path) -> None:
    model = open_model(put(tmp_path, apr_bytes.v1()))
    assert array.array("f", model.tensors["coefficients"].data.tobytes()).tolist() == [1.0, 2.0, 3.0]
    assert model.metadata["intercept"] == -0.5


def test_labels_survive_writing_and_reading(tmp_path: Path) -> None:
    custom = {"labels": ["even", "odd"], "threshold": 0.5, "shifts": [-1, -200, 70000, None, True]}
    write_logistic(tmp_path / "m.apr", [0.25, -4.0], 1.0, {"model_name": "parity", "custom": custom})
    model = open_model(tmp_path / "m.apr")
    assert model.metadata["custom"] == custom
    assert model.metadata["model_name"] == "parity"


def test_a_linear_regression_survives_writing_and_reading(tmp_path: Path) -> None:
    write_linear(tmp_path / "m.apr", [1.5, -2.5], 0.75, {}, fit_intercept=False)
    model = open_model(tmp_path / "m.apr")
    assert model.metadata["model_type"] == "linear_regression"
    assert model.metadata["fit_intercept"] is False
    assert array.array("f", model.tensors["coefficients"].data.tobytes()).tolist() == [1.5, -2.5]


def test_fields_that_newer_writers_append_are_left_alone(tmp_path: Path) -> None:
    payload = struct.pack("<BQ1fffQfIf", 1, 1, 1.0, 0.5, 0.01, 100, 1e-4, 1, 0.125)
    assert open_model(put(tmp_path, apr_bytes.v1(payload=payload))).metadata["intercept"] == 0.5


def test_a_signed_file_is_read_and_its_signature_said_to_be_unchecked(tmp_path: Path) -> None:
    model = open_model(put(tmp_path, apr_bytes.v1(flags=2, signature=bytes(96))))
    assert model.checks == {"checksum": "ok", "signature": "not checked"}


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path: Path) -> None:
    data = bytearray(apr_bytes.v1())
    data[90] ^= 1
    with pytest.raises(FormatError, match="CRC-32") as caught:
        open_model(put(tmp_path, bytes(data)))
    assert caught.value.offset == len(data) - 4


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = apr_bytes.v1()
    for size in range(len(data)):
        with pytest.raises(FormatError):
            open_model(put(tmp_path, data[:size]))


def test_more_coefficients_than_bytes_are_refused(tmp_path: Path) -> None:
    payload = struct.pack("<BQ", 1, 1 << 62) + bytes(40)
    with pytest.raises(FormatError, match="cannot hold them") as caught:
        open_model(put(tmp_path, apr_bytes.v1(payload=payload)))
    assert caught.value.offset == 32 + len(apr_bytes.V1_METADATA) + 1


def test_an_untrained_model_is_refused(tmp_path: Path) -> None:
    payload = struct.pack("<BffQf", 0, 0.0, 0.01, 100, 1e-4)
    with pytest.raises(FormatError, match="before it was trained"):
        open_model(put(tmp_path, apr_bytes.v1(payload=payload)))


def test_an_intercept_that_is_no_number_is_refused(tmp_path: Path) -> None:
    payload = struct.pack("<BQ1fffQf", 1, 1, 1.0, float("nan"), 0.01, 100, 1e-4)
    with pytest.raises(FormatError, match="not finite"):
        open_model(put(tmp_path, apr_bytes.v1(payload=payload)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flags": 1}, "encrypted"),
        ({"flags": 4}, "streaming"),
        ({"type_id": 4}, "RandomForest"),
        ({"type_id": 999}, "999"),
        ({"version": b"\x02\x00"}, "version 2.0"),
    ],
)
def test_what_we_do_not_do_is_refused_by_name(tmp_path: Path, fields, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        open_model(put(tmp_path, apr_bytes.v1(**fields)))


def test_a_payload_beyond_a_gibibyte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CapacityError):
        open_model(put(tmp_path, apr_bytes.v1(compression=1, n_content=(1 << 30) + 1)))


def test_an_unknown_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="compression") as caught:
        open_model(put(tmp_path, apr_bytes.v1(compression=9)))
    assert caught.value.offset == 20


@pytest.mark.parametrize("compression", [1, 2])
def test_a_zstd_payload_is_read(tmp_path: Path, compression: int) -> None:
    zstandard = pytest.importorskip("zstandard")
    payload = struct.pack("<BQ3fffQf", 1, 3, 1.0, 2.0, 3.0, -0.5, 0.01, 100, 1e-4)
    packed = zstandard.ZstdCompressor().compress(payload)
    data = apr_bytes.v1(payload=packed, n_content=len(payload), compression=compression)
    assert open_model(put(tmp_path, data)).metadata["intercept"] == -0.5
    with pytest.raises(FormatError, match="declared"):
        open_model(put(tmp_path, apr_bytes.v1(payload=packed, n_content=3, compression=compression)))
    with pytest.raises(FormatError, match="zstd"):
        open_model(put(tmp_path, apr_bytes.v1(payload=b"no frame", compression=compression)))


def test_an_lz4_payload_is_read(tmp_path: Path) -> None:
    block = pytest.importorskip("lz4.block")
    payload = struct.pack("<BQ3fffQf", 1, 3, 1.0, 2.0, 3.0, -0.5, 0.01, 100, 1e-4)
    packed = block.compress(payload)
    data = apr_bytes.v1(payload=packed, n_content=len(payload), compression=3)
    assert open_model(put(tmp_path, data)).metadata["intercept"] == -0.5
    with pytest.raises(FormatError, match="declared"):
        open_model(put(tmp_path, apr_bytes.v1(payload=packed, n_content=3, compression=3)))
    with pytest.raises(FormatError, match="cannot hold"):
        open_model(put(tmp_path, apr_bytes.v1(payload=b"\0\0\0\x20block", n_content=9, compression=3)))
    with pytest.raises(FormatError, match="LZ4"):
        open_model(put(tmp_path, apr_bytes.v1(payload=b"\x40\0\0\0\xff\xff\xff", n_content=64, compression=3)))


@pytest.mark.parametrize(
    "arguments",
    [
        ([], 0.0),
        ([float("inf")], 0.0),
        ([1e300], 0.0),
        ([1.0], float("nan")),
        (["1"], 0.0),
    ],
)
def test_values_that_are_no_f32_numbers_are_not_written(tmp_path: Path, arguments) -> None:
    with pytest.raises(RequestError):
        write_logistic(tmp_path / "m.apr", *arguments, {})
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_messagepack_cannot_hold_is_not_written(tmp_path: Path) -> None:
    for value in ({1, 2}, 1 << 70, {3: "three"}):
        with pytest.raises(RequestError):
            write_logistic(tmp_path / "m.apr", [1.0], 0.0, {"custom": value})


def test_the_header_of_a_written_file_is_the_documented_one(tmp_path: Path) -> None:
    write_logistic(tmp_path / "m.apr", [1.0], 0.0, {"created_at": "0", "aprender_version": "0"})
    data = (tmp_path / "m.apr").read_bytes()
    assert data[:8] == b"APRN\x01\x00\x02\x00"
    n_metadata, n_payload, n_content = struct.unpack_from("<III", data, 8)
    assert n_payload == n_content == 1 + 8 + 4 + 4 + 4 + 8 + 4
    assert data[20:32] == bytes(12)
    assert len(data) == 32 + n_metadata + n_payload + 4
    assert int.from_bytes(data[-4:], "little") == zlib.crc32(data[:-4])
