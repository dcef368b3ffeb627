"""`.apr` files built field by field, as each of their writers lays them out; it never imports the package."""

from __future__ import annotations

import json
import struct
import zlib

V1_METADATA = b"\x82\xaacreated_at\xaa1764278947\xb0aprender_version\xa60.11.0"  # the map of the real mnist_784x2.apr


def v1(
    *,
    type_id: int = 2,
    metadata: bytes = V1_METADATA,
    payload: bytes | None = None,
    n_content: int | None = None,
    compression: int = 0,
    flags: int = 0,
    version: bytes = b"\x01\x00",
    signature: bytes = b"",
) -> bytes:
    """An APRN file; the default is a logistic regression with coefficients 1, 2, 3 and intercept -0.5."""
    if payload is None:
        payload = struct.pack("<BQ3fffQf", 1, 3, 1.0, 2.0, 3.0, -0.5, 0.01, 100, 1e-4)
    n_content = len(payload) if n_content is None else n_content
    header = struct.pack("<4s2sHIIIBBB9x", b"APRN", version, type_id, len(metadata), len(payload), n_content,
                         compression, flags, 0)  # fmt: skip
    body = header + metadata + payload + signature
    return body + struct.pack("<I", zlib.crc32(body))


def entry(name: str, dtype: int, dims: tuple[int, ...], offset: int, size: int) -> bytes:
    """One entry of the binary tensor index."""
    encoded = name.encode()
    return (
        struct.pack("<H", len(encoded))
        + encoded
        + struct.pack(f"<BB{len(dims) + 2}Q", dtype, len(dims), *dims, offset, size)
    )


def json_entry(name: str, dtype: str, shape: list[int], offset: int, size: int) -> dict[str, object]:
    """One entry of the JSON tensor index."""
    return {"name": name, "dtype": dtype, "shape": shape, "offset": offset, "size": size}


def pad(data: bytes, alignment: int = 64) -> bytes:
    return data + bytes(-len(data) % alignment)


def v2(
    index: bytes,
    data: bytes,
    *,
    n_tensors: int,
    metadata: object = None,
    flags: int = 0x400,
    aligned: bool = True,
    header_crc: int | None = None,
    footer: bool = True,
    version: tuple[int, int] = (2, 0),
) -> bytes:
    """An APR\\0 file around an index and a data section; the defaults are those of aprender's writer."""
    text = json.dumps({"model_type": "test"} if metadata is None else metadata, separators=(",", ":")).encode()
    padded_text = pad(text)
    index = pad(index) if aligned else index
    data = pad(data) if aligned else data
    index_at = 64 + len(padded_text)
    fields = (b"APR\0", *version, flags, n_tensors, 64, len(text), index_at, index_at + len(index))
    head = struct.pack("<4sBBHIQIQQ", *fields)
    crc = zlib.crc32(head + bytes(20)) if header_crc is None else header_crc
    body = head + struct.pack("<I20x", crc) + padded_text + index + data
    return body + (struct.pack("<I", zlib.crc32(body)) if footer else b"")
