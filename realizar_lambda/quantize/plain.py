"""Codecs of the plain float types F32, F16 and BF16: blocks of one element.

    F32   seeeeeee emmmmmmm mmmmmmmm mmmmmmmm
    BF16  seeeeeee emmmmmmm                      the upper half of an F32
    F16   seeeeemm mmmmmmmm                      IEEE binary16, at most 65504

They keep NaN and infinity; rounding is to the nearest, ties to even.
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.quantize.codec import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.quantize.bits import Bytes, Floats


def decode_f32(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks).view("<f4").astype(np.float32)


def encode_f32(values: Floats, importance: Floats | None) -> Bytes:
    return values.astype("<f4").view(np.uint8)


def decode_f16(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks).view("<f2").astype(np.float32)


def encode_f16(values: Floats, importance: Floats | None) -> Bytes:
    with np.errstate(over="ignore"):
        return values.astype("<f2").view(np.uint8)


def decode_bf16(blocks: Bytes) -> Floats:
    upper = np.ascontiguousarray(blocks).view("<u2").astype(np.uint32)
    return (upper << np.uint32(16)).view(np.float32)


def encode_bf16(values: Floats, importance: Floats | None) -> Bytes:
    bits = np.ascontiguousarray(values).view(np.uint32)
    is_nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    # Adding half of the dropped part, less one for an even upper half, rounds ties to even. A NaN would wrap.
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    quiet = bits >> np.uint32(16) | np.uint32(0x40)
    return np.where(is_nan, quiet, rounded).astype("<u2").view(np.uint8)


CODECS = (
    Codec.of("F32", decode_f32, encode_f32),
    Codec.of("F16", decode_f16, encode_f16),
    Codec.of("BF16", decode_bf16, encode_bf16),
)
