"""What a codec is: the two directions of one block type. It knows no layout.

`decode(blocks) -> values`: blocks (n, n_bytes) u8, values (n, n_elements) f32, exact.
`encode(values, importance) -> blocks`: values (n, n_elements) f32, finite for quantised types; `importance`
(n, n_elements) f32 >= 0 or None weighs each element's squared error; types with nothing to search ignore it.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from realizar_lambda.blocks import BLOCKS, BlockType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from realizar_lambda.quantize.bits import Bytes, Floats

    Decoder = Callable[[Bytes], Floats]
    Encoder = Callable[[Floats, Floats | None], Bytes]


class Codec(namedtuple("Codec", "block decode encode")):
    """A block type with its decoder and its encoder."""

    __slots__ = ()

    block: BlockType
    decode: Decoder
    encode: Encoder

    @classmethod
    def of(cls, name: str, decode: Decoder, encode: Encoder) -> Codec:
        """The codec of the block type `name` of the block table."""
        return cls(BLOCKS[name], decode, encode)


def split(blocks: Bytes, *widths: int) -> list[Bytes]:
    """Cut each block into consecutive fields of `widths` bytes; blocks (n, sum of widths) u8."""
    return np.split(blocks, np.cumsum(widths[:-1]), axis=1)


def join(*fields: Bytes) -> Bytes:
    """Put the fields (n, width) u8 of a block one after the other."""
    return np.concatenate(fields, axis=1)
