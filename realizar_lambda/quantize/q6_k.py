"""Codecs of Q3_K and Q6_K: 256 elements in sixteen sub-blocks of 16, each with a signed scale.

    Q3_K  hmask:32  qs:64  scales:12  d:f16                3.4375 bits per weight
    Q6_K  ql:128  qh:64  scales:16 x i8  d:f16             6.5625

    x = (d sc) (q - 4)              Q3_K: q in 0..7, sc in -32..31
    x = (d sc) (q - 32)             Q6_K: q in 0..63, sc in -128..127

Q3_K
    qs      two runs of 32 bytes, each 128 elements: bits 1:0 of byte i are bits 1:0 of element i, bits 3:2
            those of element i + 32, bits 5:4 of i + 64, bits 7:6 of i + 96
    hmask   bit j of byte i is bit 2 of element i + 32 j
    scales  sixteen times sc + 32 in 6 bits:
            byte  0..7   │ sc8..15 bits 3:0              │ sc0..7 bits 3:0               │
                  8..11  │ sc12..15 5:4  │ sc8..11 5:4   │ sc4..7 5:4    │ sc0..3 5:4    │
Q6_K
    ql      two runs of 64 bytes, each 128 elements: byte i has bits 3:0 of elements i (low) and i + 64 (high)
    qh      two runs of 32 bytes, each 128 elements: bits 1:0 of byte i are bits 5:4 of element i, bits 3:2
            those of i + 32, bits 5:4 of i + 64, bits 7:6 of i + 96
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.quantize.bits import pack, read_f16, unpack, write_f16
from realizar_lambda.quantize.codec import Codec, join, split
from realizar_lambda.quantize.fit import around
from realizar_lambda.quantize.levels import Uniform
from realizar_lambda.quantize.superblock import Scaled, encode_scaled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from realizar_lambda.quantize.bits import Bytes, Floats


_Q3 = Scaled(16, Uniform(-4, 3), -32, 31, around(-4, 3, 0.4))
_Q6 = Scaled(16, Uniform(-32, 31), -128, 127, around(-32, 31, 0.4))


def decode_q3_k(blocks: Bytes) -> Floats:
    high, low, scales, d = split(blocks, 32, 64, 12, 2)
    levels = unpack(low, bits=2, run=32) | unpack(high, bits=1, run=32) << np.uint8(2)
    return _decode(d, _unpack_scales(scales), levels, np.float32(4))


def decode_q6_k(blocks: Bytes) -> Floats:
    low, high, scales, d = split(blocks, 128, 64, 16, 2)
    levels = unpack(low, bits=4, run=64) | unpack(high, bits=2, run=32) << np.uint8(4)
    return _decode(d, np.ascontiguousarray(scales).view(np.int8).astype(np.float32), levels, np.float32(32))


def encode_q3_k(values: Floats, importance: Floats | None) -> Bytes:
    d, scales, levels = encode_scaled(values, importance, _Q3)
    levels += np.int8(4)
    high, low = pack(levels >> 2, bits=1, run=32), pack(levels & 3, bits=2, run=32)
    return join(high, low, _pack_scales(scales), write_f16(d))


def encode_q6_k(values: Floats, importance: Floats | None) -> Bytes:
    d, scales, levels = encode_scaled(values, importance, _Q6)
    levels += np.int8(32)
    high, low = pack(levels >> 4, bits=2, run=32), pack(levels & 15, bits=4, run=64)
    return join(low, high, scales.view(np.uint8), write_f16(d))


def _decode(d: Bytes, scales: Floats, levels: Bytes, middle: np.float32) -> Floats:
    scale = (read_f16(d) * scales)[..., None]
    x = scale * (levels.reshape(-1, 16, 16).astype(np.float32) - middle)
    return x.reshape(len(levels), -1)


def _unpack_scales(packed: Bytes) -> Floats:
    """packed (n, 12) -> scales (n, 16) f32 in -32..31."""
    low, high = split(packed, 8, 4)
    scales = unpack(low, bits=4, run=8) | unpack(high, bits=2, run=4) << np.uint8(4)
    return scales.astype(np.float32) - np.float32(32)


def _pack_scales(scales: NDArray[np.int8]) -> Bytes:
    """scales (n, 16) in -32..31 -> (n, 12)."""
    shifted = scales + np.int8(32)
    return join(pack(shifted & 15, bits=4, run=8), pack(shifted >> 4, bits=2, run=4))


CODECS = (
    Codec.of("Q3_K", decode_q3_k, encode_q3_k),
    Codec.of("Q6_K", decode_q6_k, encode_q6_k),
)
