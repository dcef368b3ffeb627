"""Decoders of every block type, one element at a time, straight from the layouts. Never imports the package.

`DECODERS[name](block) -> list of np.float32`: the elements of one block (bytes). Single precision throughout:
each product and each sum is rounded once, in the order that the layout's formula writes them.
"""

from __future__ import annotations

import struct

import numpy as np

IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)

f32 = np.float32


def half(block: bytes, at: int) -> np.float32:
    return f32(struct.unpack_from("<e", block, at)[0])


def bits(value: int, low: int, count: int) -> int:
    return value >> low & (1 << count) - 1


def f32_block(block: bytes) -> list[np.float32]:
    return [f32(struct.unpack("<f", block)[0])]


def f16_block(block: bytes) -> list[np.float32]:
    return [half(block, 0)]


def bf16_block(block: bytes) -> list[np.float32]:
    return [f32(struct.unpack("<f", b"\0\0" + block)[0])]


def nibble(block: bytes, start: int, i: int) -> int:
    """Element i of 32, whose first sixteen are low nibbles."""
    return bits(block[start + i % 16], 4 * (i // 16), 4)


def q4_0(block: bytes) -> list[np.float32]:
    return [half(block, 0) * f32(nibble(block, 2, i) - 8) for i in range(32)]


def q4_1(block: bytes) -> list[np.float32]:
    return [half(block, 0) * f32(nibble(block, 4, i)) + half(block, 2) for i in range(32)]


def q5_0(block: bytes) -> list[np.float32]:
    high = int.from_bytes(block[2:6], "little")
    return [half(block, 0) * f32(nibble(block, 6, i) + 16 * bits(high, i, 1) - 16) for i in range(32)]


def q5_1(block: bytes) -> list[np.float32]:
    high = int.from_bytes(block[4:8], "little")
    return [half(block, 0) * f32(nibble(block, 8, i) + 16 * bits(high, i, 1)) + half(block, 2) for i in range(32)]


def q8_0(block: bytes) -> list[np.float32]:
    return [half(block, 0) * f32(q) for q in struct.unpack_from("<32b", block, 2)]


def q2_k(block: bytes) -> list[np.float32]:
    d, dmin = half(block, 80), half(block, 82)
    values = []
    for i in range(256):
        scale = block[i // 16]
        q = bits(block[16 + 32 * (i // 128) + i % 32], 2 * (i % 128 // 32), 2)
        values.append(d * f32(bits(scale, 0, 4)) * f32(q) - dmin * f32(bits(scale, 4, 4)))
    return values


def q3_k(block: bytes) -> list[np.float32]:
    d = half(block, 108)
    values = []
    for i in range(256):
        j = i // 16
        low = bits(block[96 + j % 8], 4 * (j // 8), 4)
        scale = low + 16 * bits(block[104 + j % 4], 2 * (j // 4), 2) - 32
        q = bits(block[32 + 32 * (i // 128) + i % 32], 2 * (i % 128 // 32), 2)
        q += 4 * bits(block[i % 32], i // 32, 1) - 4
        values.append(d * f32(scale) * f32(q))
    return values


def k_scale_and_offset(packed: bytes, j: int) -> tuple[int, int]:
    """The 6-bit scale and offset of sub-block j of Q4_K and Q5_K."""
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    scale = packed[j + 4] & 15 | packed[j - 4] >> 6 << 4
    offset = packed[j + 4] >> 4 | packed[j] >> 6 << 4
    return scale, offset


def q4_k(block: bytes) -> list[np.float32]:
    d, dmin = half(block, 0), half(block, 2)
    values = []
    for i in range(256):
        scale, offset = k_scale_and_offset(block[4:16], i // 32)
        q = bits(block[16 + 32 * (i // 64) + i % 32], 4 * (i % 64 // 32), 4)
        values.append(d * f32(scale) * f32(q) - dmin * f32(offset))
    return values


def q5_k(block: bytes) -> list[np.float32]:
    d, dmin = half(block, 0), half(block, 2)
    values = []
    for i in range(256):
        scale, offset = k_scale_and_offset(block[4:16], i // 32)
        q = bits(block[48 + 32 * (i // 64) + i % 32], 4 * (i % 64 // 32), 4)
        q += 16 * bits(block[16 + i % 32], i // 32, 1)
        values.append(d * f32(scale) * f32(q) - dmin * f32(offset))
    return values


def q6_k(block: bytes) -> list[np.float32]:
    d = half(block, 208)
    scales = struct.unpack_from("<16b", block, 192)
    values = []
    for i in range(256):
        q = bits(block[64 * (i // 128) + i % 64], 4 * (i % 128 // 64), 4)
        q += 16 * bits(block[128 + 32 * (i // 128) + i % 32], 2 * (i % 128 // 32), 2)
        values.append(d * f32(scales[i // 16]) * f32(q - 32))
    return values


def iq4_nl(block: bytes) -> list[np.float32]:
    return [half(block, 0) * f32(IQ4[nibble(block, 2, i)]) for i in range(32)]


def iq4_xs(block: bytes) -> list[np.float32]:
    d, high = half(block, 0), int.from_bytes(block[2:4], "little")
    values = []
    for j in range(8):
        scale = bits(block[4 + j // 2], 4 * (j % 2), 4) + 16 * bits(high, 2 * j, 2) - 32
        values += [d * f32(scale) * f32(IQ4[nibble(block, 8 + 16 * j, i)]) for i in range(32)]
    return values


def apr_q4(block: bytes) -> list[np.float32]:
    return [half(block, 0) * f32(bits(block[2 + i // 2], 4 * (i % 2), 4) - 8) for i in range(32)]


#              name   (elements, bytes, decoder)
DECODERS = {
    "F32": (1, 4, f32_block),
    "F16": (1, 2, f16_block),
    "BF16": (1, 2, bf16_block),
    "Q4_0": (32, 18, q4_0),
    "Q4_1": (32, 20, q4_1),
    "Q5_0": (32, 22, q5_0),
    "Q5_1": (32, 24, q5_1),
    "Q8_0": (32, 34, q8_0),
    "Q2_K": (256, 84, q2_k),
    "Q3_K": (256, 110, q3_k),
    "Q4_K": (256, 144, q4_k),
    "Q5_K": (256, 176, q5_k),
    "Q6_K": (256, 210, q6_k),
    "IQ4_NL": (32, 18, iq4_nl),
    "IQ4_XS": (256, 136, iq4_xs),
    "AprQ4": (32, 18, apr_q4),
}


def decode(name: str, data: bytes) -> np.ndarray:
    """The values (n_elements,) f32 of the stored blocks `data`."""
    _, n_bytes, decoder = DECODERS[name]
    with np.errstate(all="ignore"):
        values = [value for at in range(0, len(data), n_bytes) for value in decoder(data[at : at + n_bytes])]
    return np.array(values, np.float32)
