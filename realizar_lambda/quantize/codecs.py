"""The table of codecs, and encoding and decoding of whole arrays by a block type's name. It knows no file."""

from __future__ import annotations

import numpy as np

from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.quantize import apr_q4, blocks32, iq4, plain, q2_k, q4_k, q6_k

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from realizar_lambda.quantize.bits import Bytes, Floats
    from realizar_lambda.quantize.codec import Codec

_FAMILIES = (plain, blocks32, q2_k, q4_k, q6_k, iq4, apr_q4)

CODECS: dict[str, Codec] = {codec.block.name: codec for family in _FAMILIES for codec in family.CODECS}

_CHUNK_ELEMENTS = 1 << 16
"""Encoded or decoded at a time: a chunk and its temporaries stay in the L2 cache (1 MB)."""

_F16_MAX = 65504.0
_BLOCK_MAX = 1e12
"""Far above what any quantised type holds (Q5_K: 65504 · 63 · 31), far below where squares overflow f32."""


def decode(block_name: str, data: bytes | memoryview) -> Floats:
    """The values (n_elements,) f32 of the stored blocks `data`, exact.

    Raises UnsupportedError for a type without codec, RequestError where `data` is not whole blocks.
    """
    codec = _codec(block_name)
    raw = np.frombuffer(data, np.uint8)
    if raw.size % codec.block.n_bytes:
        raise RequestError(
            400, f"{block_name} data is blocks of {codec.block.n_bytes} bytes, got {raw.size} bytes", "data"
        )
    blocks = raw.reshape(-1, codec.block.n_bytes)
    values = np.empty((len(blocks), codec.block.n_elements), np.float32)
    n_at_once = _CHUNK_ELEMENTS // codec.block.n_elements
    with np.errstate(invalid="ignore", over="ignore"):  # a scale may be infinite or NaN: so are its values
        for start in range(0, len(blocks), n_at_once):
            values[start : start + n_at_once] = codec.decode(blocks[start : start + n_at_once])
    return values.reshape(-1)


def encode(block_name: str, array: ArrayLike, importance: ArrayLike | None = None) -> bytes:
    """The stored blocks of `array` (..., n_columns), rounded to f32 first, rows one after the other.

    `importance` (n_columns,) or of the shape of `array`, >= 0, weighs each element's squared error; types with
    nothing to search ignore it.
    Raises UnsupportedError for a type without codec, RequestError where a row is not whole blocks, where a
    quantised type is given NaN or infinity, or where a value is too large for the type.
    """
    codec = _codec(block_name)
    values = np.asarray(array, np.float32, order="C")
    if values.ndim == 0 or values.shape[-1] % codec.block.n_elements:
        raise RequestError(
            400,
            f"rows of {block_name} hold a multiple of {codec.block.n_elements} elements, got shape {values.shape}",
            "array",
        )
    weights = None if importance is None else _weights(importance, values.shape)
    blocks = values.reshape(-1, codec.block.n_elements)
    encoded = np.empty((len(blocks), codec.block.n_bytes), np.uint8)
    n_at_once = _CHUNK_ELEMENTS // codec.block.n_elements
    for start in range(0, len(blocks), n_at_once):
        part = slice(start, start + n_at_once)
        encoded[part] = _encode_chunk(
            codec, blocks[part], None if weights is None else weights.reshape(blocks.shape)[part], start
        )
    return encoded.tobytes()


def _codec(block_name: str) -> Codec:
    codec = CODECS.get(block_name)
    if codec is None:
        raise UnsupportedError(f"coding blocks of {block_name}", CODECS)
    return codec


def _weights(importance: ArrayLike, shape: tuple[int, ...]) -> Floats | None:
    """Importance for every element, raised to at least a millionth of the largest; None where all are zero."""
    weights = np.asarray(importance, np.float32)
    if weights.shape not in (shape, shape[-1:]):
        raise RequestError(
            400, f"importance must have shape {shape[-1:]} or {shape}, got {weights.shape}", "importance"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise RequestError(400, "importance must be finite and not negative", "importance")
    top = weights.max(initial=0.0)
    return np.broadcast_to(np.maximum(weights, top * np.float32(1e-6)), shape) if top > 0 else None


def _encode_chunk(codec: Codec, values: Floats, weights: Floats | None, start: int) -> Bytes:
    """One chunk of `encode`; `start` is its first block's number."""
    block = codec.block
    finite = np.isfinite(values)
    if block.is_quantized and not finite.all():
        raise _bad_element(codec, values, ~finite, start, "holds finite values")
    magnitude = np.abs(values)
    overflowed = magnitude > _BLOCK_MAX if block.is_quantized else np.zeros_like(finite)
    if not overflowed.any():
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite scale is found below
            encoded = codec.encode(values, weights)
        if not (magnitude > _F16_MAX).any():
            return encoded
        with np.errstate(invalid="ignore"):
            overflowed = finite & ~np.isfinite(codec.decode(encoded))
        if not overflowed.any():
            return encoded
    raise _bad_element(codec, values, overflowed, start, "cannot hold so large a value")


def _bad_element(codec: Codec, values: Floats, bad: NDArray[np.bool_], start: int, rule: str) -> RequestError:
    at = np.flatnonzero(bad)[0]
    position = start * codec.block.n_elements + at
    return RequestError(400, f"element {position} is {values.reshape(-1)[at]}; {codec.block.name} {rule}", "array")
