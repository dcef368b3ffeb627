"""Codecs of the 32-element types with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

    Q4_0  d:f16                   qs:16            x = d (q - 8)        4.5 bits per weight
    Q4_1  d:f16  m:f16            qs:16            x = d q + m          5.0
    Q5_0  d:f16         qh:4      qs:16            x = d (q - 16)       5.5
    Q5_1  d:f16  m:f16  qh:4      qs:16            x = d q + m          6.0
    Q8_0  d:f16                   qs:32 x i8       x = d q              8.5

    qs    byte i: element i in the low nibble, element i + 16 in the high one
    qh    32 bits, little-endian: bit i is bit 4 of element i

Without importance the encoders give the bytes that GGML's reference quantiser gives: the scale is set by the
element of largest magnitude, which is hit exactly. With importance the scale is searched (`fit`).
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.quantize.bits import pack, read_f16, to_f16, unpack, write_f16
from realizar_lambda.quantize.codec import Codec, join, split
from realizar_lambda.quantize.fit import SubBlocks, around, fit_affine, fit_scale, reciprocal, weigh
from realizar_lambda.quantize.levels import Uniform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.quantize.bits import Bytes, Floats


def decode_q4_0(blocks: Bytes) -> Floats:
    scale, low = split(blocks, 2, 16)
    return read_f16(scale) * (unpack(low, bits=4, run=16).astype(np.float32) - np.float32(8))


def decode_q4_1(blocks: Bytes) -> Floats:
    scale, offset, low = split(blocks, 2, 2, 16)
    return read_f16(scale) * unpack(low, bits=4, run=16).astype(np.float32) + read_f16(offset)


def decode_q5_0(blocks: Bytes) -> Floats:
    scale, high, low = split(blocks, 2, 4, 16)
    return read_f16(scale) * (_five_bits(low, high) - np.float32(16))


def decode_q5_1(blocks: Bytes) -> Floats:
    scale, offset, high, low = split(blocks, 2, 2, 4, 16)
    return read_f16(scale) * _five_bits(low, high) + read_f16(offset)


def decode_q8_0(blocks: Bytes) -> Floats:
    scale, levels = split(blocks, 2, 32)
    return read_f16(scale) * np.ascontiguousarray(levels).view(np.int8).astype(np.float32)


def encode_q4_0(values: Floats, importance: Floats | None) -> Bytes:
    scale, levels = _symmetric(values, importance, Uniform(-8, 7))
    return join(write_f16(scale), pack(levels, bits=4, run=16))


def encode_q4_1(values: Floats, importance: Floats | None) -> Bytes:
    scale, offset, levels = _affine(values, importance, Uniform(0, 15))
    return join(write_f16(scale), write_f16(offset), pack(levels, bits=4, run=16))


def encode_q5_0(values: Floats, importance: Floats | None) -> Bytes:
    scale, levels = _symmetric(values, importance, Uniform(-16, 15))
    high, low = pack(levels >> 4, bits=1, run=1), pack(levels & 15, bits=4, run=16)
    return join(write_f16(scale), high, low)


def encode_q5_1(values: Floats, importance: Floats | None) -> Bytes:
    scale, offset, levels = _affine(values, importance, Uniform(0, 31))
    high, low = pack(levels >> 4, bits=1, run=1), pack(levels & 15, bits=4, run=16)
    return join(write_f16(scale), write_f16(offset), high, low)


def encode_q8_0(values: Floats, importance: Floats | None) -> Bytes:
    scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
    scaled = values * reciprocal(scale)
    # Halves round away from zero, as C's roundf does; NumPy's rint would round them to even.
    levels = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    return join(write_f16(scale), levels.view(np.uint8))


def _five_bits(low: Bytes, high: Bytes) -> Floats:
    return (unpack(low, bits=4, run=16) | unpack(high, bits=1, run=1) << np.uint8(4)).astype(np.float32)


def _symmetric(values: Floats, importance: Floats | None, levels: Uniform) -> tuple[Floats, Bytes]:
    """Scale (n, 1) f32 and levels (n, 32), counted from the lowest, x = scale level."""
    middle = -levels.low
    if importance is None:
        peak = np.take_along_axis(values, np.abs(values).argmax(axis=1, keepdims=True), axis=1)
        scale = peak / -middle
        inverse = reciprocal(scale)
    else:
        blocks = SubBlocks(values, weigh(values, importance, 2))
        scale = blocks.column(fit_scale(blocks, levels, around(float(levels.low), float(levels.high), 0.4)))
        inverse = reciprocal(to_f16(scale))
    rounded = np.trunc(values * inverse + (middle + np.float32(0.5)))
    return scale, rounded.clip(0, 2 * middle - 1).astype(np.uint8)


def _affine(values: Floats, importance: Floats | None, levels: Uniform) -> tuple[Floats, Floats, Bytes]:
    """Scale and offset (n, 1) f32 and levels (n, 32), x = scale level + offset."""
    if importance is None:
        offset = values.min(axis=1, keepdims=True)
        scale = (values.max(axis=1, keepdims=True) - offset) / levels.high
        scaled = (values - offset) * reciprocal(scale)
    else:
        blocks = SubBlocks(values, weigh(values, importance, 1))
        reaches = [float(levels.high) + 0.2 * k for k in range(-5, 6)]
        found = fit_affine(blocks, levels, reaches, offset_at_most_zero=False)
        scale, offset = (blocks.column(part) for part in found)
        scaled = (values - to_f16(offset)) * reciprocal(to_f16(scale))
    return scale, offset, np.trunc(scaled + np.float32(0.5)).clip(0, levels.high).astype(np.uint8)


CODECS = (
    Codec.of("Q4_0", decode_q4_0, encode_q4_0),
    Codec.of("Q4_1", decode_q4_1, encode_q4_1),
    Codec.of("Q5_0", decode_q5_0, encode_q5_0),
    Codec.of("Q5_1", decode_q5_1, encode_q5_1),
    Codec.of("Q8_0", decode_q8_0, encode_q8_0),
)
