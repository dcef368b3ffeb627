"""Codecs of IQ4_NL and IQ4_XS: four-bit levels that are not evenly spaced.

IQ4_NL  d:f16  qs:16                                   32 elements, 4.5 bits per weight
IQ4_XS  d:f16  scales_h:u16  scales_l:4  qs:128        256 elements in eight sub-blocks of 32, 4.25

x = d values[q]                 IQ4_NL
x = (d sc) values[q]            IQ4_XS, sc in -32..31

qs        runs of 16 bytes of 32 elements: byte i has element i in the low nibble, i + 16 in the high one
scales_l  byte k: bits 3:0 of sc + 32 of sub-block 2k in the low nibble, of 2k + 1 in the high one
scales_h  bits 2j + 1:2j are bits 5:4 of sc + 32 of sub-block j
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.quantize.bits import pack, read_f16, to_f16, unpack, write_f16
from realizar_lambda.quantize.codec import Codec, join, split
from realizar_lambda.quantize.fit import SubBlocks, around, fit_scale, reciprocal, weigh
from realizar_lambda.quantize.levels import Codebook
from realizar_lambda.quantize.superblock import Scaled, encode_scaled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from realizar_lambda.quantize.bits import Bytes, Floats

_BOOK = Codebook()
_REACHES = around(-127, 113, 6)
_XS = Scaled(8, _BOOK, -32, 31, _REACHES)


def decode_iq4_nl(blocks: Bytes) -> Floats:
    d, packed = split(blocks, 2, 16)
    return read_f16(d) * _BOOK.values[unpack(packed, bits=4, run=16)]


def decode_iq4_xs(blocks: Bytes) -> Floats:
    d, high, low, packed = split(blocks, 2, 2, 4, 128)
    scales = unpack(low, bits=4, run=1) | unpack(high, bits=2, run=1) << np.uint8(4)
    scale = (read_f16(d) * (scales.astype(np.float32) - np.float32(32)))[..., None]
    x = scale * _BOOK.values[unpack(packed, bits=4, run=16)].reshape(-1, 8, 32)
    return x.reshape(len(blocks), -1)


def encode_iq4_nl(values: Floats, importance: Floats | None) -> Bytes:
    blocks = SubBlocks(values, weigh(values, importance, 2))
    scale = blocks.column(fit_scale(blocks, _BOOK, _REACHES))
    levels = _BOOK.nearest(values * reciprocal(to_f16(scale)))
    return join(write_f16(scale), pack(_indices(levels), bits=4, run=16))


def encode_iq4_xs(values: Floats, importance: Floats | None) -> Bytes:
    d, scales, levels = encode_scaled(values, importance, _XS)
    shifted = scales + np.int8(32)
    low, high = pack(shifted & 15, bits=4, run=1), pack(shifted >> 4, bits=2, run=1)
    return join(write_f16(d), high, low, pack(_indices(levels), bits=4, run=16))


def _indices(levels: NDArray[np.floating] | NDArray[np.int8]) -> NDArray[np.integer]:
    """The places of `levels` in IQ4_VALUES."""
    return np.searchsorted(_BOOK.values, levels)


CODECS = (
    Codec.of("IQ4_NL", decode_iq4_nl, encode_iq4_nl),
    Codec.of("IQ4_XS", decode_iq4_xs, encode_iq4_xs),
)
