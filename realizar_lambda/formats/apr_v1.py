"""`.apr` v1 files (`APRN`) of logistic and linear regressions, read and written; it does not compute them.

    0    header, 32 bytes      magic, version, model type, sizes, compression, flags
    32   metadata              MessagePack map
         payload               bincode: positional, no field names, lengths as u64
         [signature, 96 bytes]
         checksum              CRC-32 of everything before it

    logistic   Option<Vec<f32>> coefficients, f32 intercept, f32 learning_rate, u64 max_iter, f32 tol
    linear     Option<Vec<f32>> coefficients, f32 intercept, bool fit_intercept

Newer writers append fields to these; bytes after the fields above are left alone.
"""

from __future__ import annotations

import os
import struct
import zlib
from math import isfinite

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import CapacityError, FormatError, RequestError, UnsupportedError
from realizar_lambda.formats.messagepack import decode_map, encode_map
from realizar_lambda.formats.model_file import ModelFile
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAGIC = b"APRN"
MAX_PAYLOAD_BYTES = 1 << 30
MAX_CHECKED_BYTES = 1 << 20

ENCRYPTED, SIGNED, STREAMING = 0x01, 0x02, 0x04

_HEADER = struct.Struct("<4sBBHIIIBBB9s")
_SIGNATURE_BYTES = 96
_LINEAR, _LOGISTIC = 1, 2
_MODEL_TYPES = {
    1: "LinearRegression",
    2: "LogisticRegression",
    3: "DecisionTree",
    4: "RandomForest",
    5: "GradientBoosting",
    6: "KMeans",
    7: "PCA",
    8: "NaiveBayes",
    9: "KNN",
    0x0A: "SVM",
    0x10: "NgramLM",
    0x11: "TF-IDF",
    0x12: "CountVectorizer",
    0x20: "NeuralSequential",
    0x21: "NeuralCustom",
    0x30: "ContentRecommender",
    0x40: "MixtureOfExperts",
    0x50: "TransformerLM",
    0xFF: "Custom",
}
_COMPRESSIONS = {0: "none", 1: "zstd", 2: "zstd", 3: "LZ4"}


def read(path: str, data: memoryview, *, verify: bool = False) -> ModelFile:
    """The model in `data`, the bytes of the file `path`.

    `tensors` has `coefficients` (1, n_features) F32, a view of the file; `metadata` has the stored map and
    over it model_type ("logistic_regression" or "linear_regression"), n_features, intercept and the other
    payload fields. The checksum is checked in files of at most `MAX_CHECKED_BYTES`, and in any with `verify`.
    Raises FormatError, UnsupportedError, CapacityError.
    """
    if len(data) < _HEADER.size + 4:
        raise FormatError(path, len(data), f"an .apr v1 file has 36 bytes or more, this one {len(data)}")
    header = _HEADER.unpack_from(data)
    _, major, minor, type_id, n_metadata, n_payload, n_content, compression, flags, *_ = header
    if major != 1:
        raise UnsupportedError(f"{path}: version {major}.{minor} of APRN files", "1.x")
    if flags & ENCRYPTED:
        raise UnsupportedError(f"{path}: an encrypted .apr file", "plain .apr files: save it without a password")
    if flags & STREAMING:
        raise UnsupportedError(f"{path}: a streaming .apr file", "plain .apr files: save the model without streaming")
    if compression not in _COMPRESSIONS:
        raise FormatError(path, 20, f"the compression is {compression}, it must be one of 0, 1, 2, 3")
    if n_content > MAX_PAYLOAD_BYTES:
        raise CapacityError("the uncompressed payload", n_content, MAX_PAYLOAD_BYTES)
    payload_at = _HEADER.size + n_metadata
    end = payload_at + n_payload + (_SIGNATURE_BYTES if flags & SIGNED else 0)
    if end + 4 != len(data):
        raise FormatError(
            path,
            8,
            f"metadata, payload and checksum must end at byte {end + 4}, the file has {len(data)} bytes",
        )
    checks = {"checksum": _check_crc(path, data, verify)}
    if flags & SIGNED:
        checks["signature"] = "not checked"
    if type_id not in (_LINEAR, _LOGISTIC):
        raise UnsupportedError(
            f"{path}: a model of type {type_id} ({_MODEL_TYPES.get(type_id, 'unknown')})",
            "LinearRegression and LogisticRegression in .apr v1; everything else in .apr v2",
        )
    buffer, at = data, payload_at
    if compression:
        from realizar_lambda.formats.compression import decompress_lz4, decompress_zstd

        decompress = decompress_lz4 if _COMPRESSIONS[compression] == "LZ4" else decompress_zstd
        buffer, at = (
            decompress(path, payload_at, data[payload_at : payload_at + n_payload], n_bytes=n_content),
            0,
        )
        checks["compression"] = _COMPRESSIONS[compression]
    elif n_content != n_payload:
        raise FormatError(path, 16, f"the payload is {n_payload} bytes long, {n_content} are declared uncompressed")
    metadata = decode_map(path, _HEADER.size, data[_HEADER.size : payload_at]) if n_metadata else {}
    tensor, fields = _read_payload(path, buffer[at : at + n_content], at, type_id)
    return ModelFile(
        path=path,
        format="apr-v1",
        metadata=metadata | fields,
        tensors={tensor.name: tensor},
        checks=checks,
        buffer=data if not compression else buffer,
    )


def _check_crc(path: str, data: memoryview, verify: bool) -> str:
    if len(data) > MAX_CHECKED_BYTES and not verify:
        return "not checked: a large file, checked on request"
    stored = int.from_bytes(data[-4:], "little")
    crc = zlib.crc32(data[:-4])
    if stored != crc:
        raise FormatError(path, len(data) - 4, f"the file's CRC-32 is {crc:08x}, {stored:08x} is stored")
    return "ok"


def _read_payload(path: str, payload: memoryview, at: int, type_id: int) -> tuple[Tensor, dict[str, object]]:
    if bytes(payload[:1]) == b"\0":
        raise FormatError(path, at, "the model has no coefficients: it was saved before it was trained")
    if len(payload) < 9 or payload[0] != 1:
        found = f"tag {payload[0]}" if len(payload) else "nothing"
        raise FormatError(path, at, f"the payload must start with tag 1 and a length, {found} is there")
    (n_features,) = struct.unpack_from("<Q", payload, 1)
    names, layout = _FIELDS[type_id]
    after = 9 + 4 * n_features
    if not n_features or after + layout.size > len(payload):
        raise FormatError(
            path,
            at + 1,
            f"{n_features} coefficients are declared, the payload of {len(payload)} bytes cannot hold them",
        )
    values = layout.unpack_from(payload, after)
    if not all(isfinite(value) for value in values):
        raise FormatError(
            path, at + after, f"the model's parameters {dict(zip(names, values, strict=True))} are not finite"
        )
    tensor = Tensor("coefficients", (1, n_features), BLOCKS["F32"], payload[9:after], at + 9)
    fields: dict[str, object] = {"model_type": _NAMES[type_id], "n_features": n_features}
    return tensor, fields | dict(zip(names, values, strict=True))


_FIELDS = {
    _LINEAR: (("intercept", "fit_intercept"), struct.Struct("<f?")),
    _LOGISTIC: (("intercept", "learning_rate", "max_iter", "tol"), struct.Struct("<ffQf")),
}
_NAMES = {_LINEAR: "linear_regression", _LOGISTIC: "logistic_regression"}


def write_logistic(
    path: str | os.PathLike[str],
    coefficients: Sequence[float],
    intercept: float,
    metadata: Mapping[str, object],
    *,
    learning_rate: float = 0.01,
    max_iter: int = 100,
    tol: float = 1e-4,
) -> None:
    """Write a binary logistic regression in place of `path`: `coefficients` (n_features,), stored as f32.

    `metadata` are the format's own keys (created_at, aprender_version, model_name, description, training,
    hyperparameters, metrics, custom, license, model_card), in the order they are stored; the first two, which
    readers require, get fixed values when left out. The same arguments give the same bytes.
    Raises RequestError for values that the format cannot hold, OSError.
    """
    if not 0 <= max_iter < 1 << 64:
        raise RequestError(400, f"max_iter must be in [0, 2**64), got {max_iter}", field="max_iter")
    payload = _floats("coefficients", coefficients, counted=True) + _floats("intercept", [intercept])
    payload += _floats("learning_rate", [learning_rate]) + struct.pack("<Q", max_iter) + _floats("tol", [tol])
    _write(path, _LOGISTIC, payload, metadata)


def write_linear(
    path: str | os.PathLike[str],
    coefficients: Sequence[float],
    intercept: float,
    metadata: Mapping[str, object],
    *,
    fit_intercept: bool = True,
) -> None:
    """As `write_logistic`, for a linear regression with one output."""
    payload = _floats("coefficients", coefficients, counted=True) + _floats("intercept", [intercept])
    _write(path, _LINEAR, payload + struct.pack("<?", fit_intercept), metadata)


def _floats(name: str, values: Sequence[float], *, counted: bool = False) -> bytes:
    """`values` as f32, after Option's tag and the length where `counted`."""
    n_values = len(values)
    if not n_values:
        raise RequestError(400, "a model has one coefficient or more", field=name)
    try:
        packed = struct.pack(f"<{n_values}f", *values)
    except (struct.error, OverflowError) as fault:
        raise RequestError(400, f"{name} must be f32 numbers: {fault}", field=name) from None
    if not all(map(isfinite, values)):
        raise RequestError(400, f"{name} must be finite numbers", field=name)
    return (struct.pack("<?Q", True, n_values) if counted else b"") + packed


def _write(path: str | os.PathLike[str], type_id: int, payload: bytes, metadata: Mapping[str, object]) -> None:
    from realizar_lambda.formats.atomic_file import replacing

    text = encode_map({"created_at": "1970-01-01T00:00:00Z", "aprender_version": "0.11.0"} | dict(metadata))
    if len(payload) > MAX_PAYLOAD_BYTES or len(text) >= 1 << 32:
        raise CapacityError("an .apr v1 file", len(payload) + len(text), MAX_PAYLOAD_BYTES)
    sizes = (len(text), len(payload), len(payload))
    body = _HEADER.pack(MAGIC, 1, 0, type_id, *sizes, 0, 0, 0, bytes(9)) + text + payload
    with replacing(path) as file:
        file.write(body)
        file.write(struct.pack("<I", zlib.crc32(body)))
