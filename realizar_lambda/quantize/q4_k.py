"""Codecs of Q4_K and Q5_K: 256 elements in eight sub-blocks of 32, each with a scale and an offset.

Q4_K  d:f16  dmin:f16  scales:12          qs:128       4.5 bits per weight
Q5_K  d:f16  dmin:f16  scales:12  qh:32   qs:128       5.5

x = (d sc) q - (dmin m)         q, sc, m of the element's sub-block

qs      four runs of 32 bytes: run k has sub-block 2k in its low nibbles and 2k + 1 in its high ones
qh      bit j of byte i is bit 4 of element i of sub-block j
scales  eight 6-bit scales and eight 6-bit offsets; sub-blocks 4..7 keep their upper two bits apart:

        byte  0..3   │ sc4..7 bits 5:4 │ sc0..3          │
              4..7   │ m4..7  bits 5:4 │ m0..3           │
              8..11  │ m4..7  bits 3:0 │ sc4..7 bits 3:0 │
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.quantize.bits import pack, read_f16, unpack, write_f16
from realizar_lambda.quantize.codec import Codec, join, split
from realizar_lambda.quantize.levels import Uniform
from realizar_lambda.quantize.superblock import Affine, encode_affine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.quantize.bits import Bytes, Floats

_Q4 = Affine(8, Uniform(0, 15), 63, tuple(14 + 0.2 * k for k in range(11)))
_Q5 = Affine(8, Uniform(0, 31), 63, tuple(30.5 + 0.15 * k for k in range(11)))


def decode_q4_k(blocks: Bytes) -> Floats:
    d, dmin, scales, low = split(blocks, 2, 2, 12, 128)
    return _decode(d, dmin, scales, unpack(low, bits=4, run=32))


def decode_q5_k(blocks: Bytes) -> Floats:
    d, dmin, scales, high, low = split(blocks, 2, 2, 12, 32, 128)
    return _decode(d, dmin, scales, unpack(low, bits=4, run=32) | unpack(high, bits=1, run=32) << np.uint8(4))


def encode_q4_k(values: Floats, importance: Floats | None) -> Bytes:
    d, dmin, scales, offsets, levels = encode_affine(values, importance, _Q4)
    return join(write_f16(d), write_f16(dmin), _pack_scales(scales, offsets), pack(levels, bits=4, run=32))


def encode_q5_k(values: Floats, importance: Floats | None) -> Bytes:
    d, dmin, scales, offsets, levels = encode_affine(values, importance, _Q5)
    high, low = pack(levels >> 4, bits=1, run=32), pack(levels & 15, bits=4, run=32)
    return join(write_f16(d), write_f16(dmin), _pack_scales(scales, offsets), high, low)


def _decode(d: Bytes, dmin: Bytes, packed_scales: Bytes, levels: Bytes) -> Floats:
    scales, offsets = _unpack_scales(packed_scales)
    scale = (read_f16(d) * scales)[..., None]
    offset = (read_f16(dmin) * offsets)[..., None]
    x = scale * levels.reshape(*scales.shape, 32).astype(np.float32) - offset
    return x.reshape(len(levels), -1)


def _unpack_scales(packed: Bytes) -> tuple[Floats, Floats]:
    """packed (n, 12) -> scales, offsets (n, 8) f32."""
    first, second, third = split(packed, 4, 4, 4)
    scales = join(first & np.uint8(63), third & np.uint8(15) | first >> np.uint8(6) << np.uint8(4))
    offsets = join(second & np.uint8(63), third >> np.uint8(4) | second >> np.uint8(6) << np.uint8(4))
    return scales.astype(np.float32), offsets.astype(np.float32)


def _pack_scales(scales: Bytes, offsets: Bytes) -> Bytes:
    """scales, offsets (n, 8) u8 below 64 -> (n, 12)."""
    first = scales[:, :4] | scales[:, 4:] >> np.uint8(4) << np.uint8(6)
    second = offsets[:, :4] | offsets[:, 4:] >> np.uint8(4) << np.uint8(6)
    third = scales[:, 4:] & np.uint8(15) | offsets[:, 4:] << np.uint8(4)
    return join(first, second, third)


CODECS = (
    Codec.of("Q4_K", decode_q4_k, encode_q4_k),
    Codec.of("Q5_K", decode_q5_k, encode_q5_k),
)
