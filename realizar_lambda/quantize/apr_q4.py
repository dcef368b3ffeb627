"""Codec of AprQ4, the four-bit type of `.apr` v2 files.

AprQ4  d:f16  qs:16                                    32 elements, 4.5 bits per weight

x = d (q - 8)                   d = max|x| / 7

qs  byte i: element 2i in the low nibble, element 2i + 1 in the high one (Q4_0 has i and i + 16)
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.quantize.bits import pack, read_f16, unpack, write_f16
from realizar_lambda.quantize.codec import Codec, join, split
from realizar_lambda.quantize.fit import reciprocal
from realizar_lambda.quantize.levels import Uniform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.quantize.bits import Bytes, Floats

_LEVELS = Uniform(-8, 7)


def decode_apr_q4(blocks: Bytes) -> Floats:
    scale, packed = split(blocks, 2, 16)
    return read_f16(scale) * (unpack(packed, bits=4, run=1).astype(np.float32) - np.float32(8))


def encode_apr_q4(values: Floats, importance: Floats | None) -> Bytes:
    scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(7)
    levels = _LEVELS.nearest(values * reciprocal(scale)) + np.float32(8)
    return join(write_f16(scale), pack(levels.astype(np.uint8), bits=4, run=1))


CODECS = (Codec.of("AprQ4", decode_apr_q4, encode_apr_q4),)
