"""Codec of Q2_K: 256 elements in sixteen sub-blocks of 16, each with a scale and an offset.

Q2_K  scales:16  qs:64  d:f16  dmin:f16                2.625 bits per weight

x = (d sc) q - (dmin m)         q in 0..3, sc and m of the element's sub-block

scales  byte j: sc of sub-block j in the low nibble, m in the high one
qs      two runs of 32 bytes, each 128 elements: bits 1:0 of byte i are element i, bits 3:2 element
        i + 32, bits 5:4 element i + 64, bits 7:6 element i + 96
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

_Q2 = Affine(16, Uniform(0, 3), 15, tuple(2 + 0.2 * k for k in range(9)))


def decode_q2_k(blocks: Bytes) -> Floats:
    scales, packed, d, dmin = split(blocks, 16, 64, 2, 2)
    scale = (read_f16(d) * (scales & np.uint8(15)).astype(np.float32))[..., None]
    offset = (read_f16(dmin) * (scales >> np.uint8(4)).astype(np.float32))[..., None]
    levels = unpack(packed, bits=2, run=32).reshape(-1, 16, 16).astype(np.float32)
    return (scale * levels - offset).reshape(len(blocks), -1)


def encode_q2_k(values: Floats, importance: Floats | None) -> Bytes:
    d, dmin, scales, offsets, levels = encode_affine(values, importance, _Q2)
    return join(scales | offsets << np.uint8(4), pack(levels, bits=2, run=32), write_f16(d), write_f16(dmin))


CODECS = (Codec.of("Q2_K", decode_q2_k, encode_q2_k),)
