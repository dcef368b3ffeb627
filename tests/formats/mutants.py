"""Small valid files of every format, and ways to break them; it never imports the package."""

from __future__ import annotations

import json
import random
import struct
import zlib

import apr_bytes
from apr_bytes import entry, json_entry
from gguf_bytes import gguf, info, key, llama

INTERESTING = (
    *(0, 1, 2, 3, 7, 8, 9, 12, 31, 32, 63, 64, 127, 128, 255, 256, 0x5B, 0x7B),
    *(0x7FFF, 0x8000, 0xFFFF, 1 << 16, 0x7FFFFFFF, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 42) + 1),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 32, (1 << 64) - 1),
)


def safetensors(header: dict[str, object], data: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


_INDEX = entry("a", 0, (2, 3), 0, 24) + entry("q", 8, (2, 32), 64, 68)
_JSON_INDEX = json.dumps([json_entry("a", "F32", [2], 0, 8), json_entry("w", "json", [2], 8, 2)]).encode()

SEEDS = {
    "apr-v1": apr_bytes.v1(),
    "apr-v1 signed": apr_bytes.v1(flags=2, signature=bytes(96)),
    "apr-v2": apr_bytes.v2(_INDEX, bytes(132), n_tensors=2, metadata={"layer_sizes": [3, 2], "n": {"s": 0.5}}),
    "apr-v2 without checksums": apr_bytes.v2(
        _INDEX, bytes(132), n_tensors=2, flags=0, header_crc=0, aligned=False, footer=False
    ),
    "apr-v2 with a JSON index": apr_bytes.v2(
        _JSON_INDEX, bytes(10), n_tensors=2, flags=0, header_crc=0, aligned=False, footer=False
    ),
    "safetensors": safetensors(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BOOL", "shape": [], "data_offsets": [24, 25]},
        },
        bytes(25),
    ),
    "gguf": gguf(
        [
            key("general.alignment", "u32", 32),
            key("a", "[string]", ["x", "yy"]),
            key("b", "[f32]", [0.5]),
            key("c", "bool", 1),
        ],
        [info("w", (3, 2)), info("q", (32, 2), 8, 32)],
        bytes(100),
    ),
    "gguf llama": llama(
        ["<unk>", "<0x0A>", "a"],
        key("tokenizer.ggml.scores", "[f32]", [0.0, 0.0, -1.0]),
        key("tokenizer.ggml.token_type", "[i32]", [2, 6, 1]),
        key("tokenizer.ggml.eos_token_id", "u32", 2),
    ),
    "gguf v2": gguf([key("k", "string", "v")], version=2),
}


def repaired(data: bytes) -> bytes:
    """`data` with the checksums of `.apr` files made right, so that what they protect is read."""
    if data.startswith(b"APRN") and len(data) > 8:
        return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))
    if data.startswith(b"APR\0") and len(data) > 68:
        head = data[:40] + struct.pack("<I", zlib.crc32(data[44:64], zlib.crc32(data[:40]))) + data[44:-4]
        return head + struct.pack("<I", zlib.crc32(head))
    return data


def mutate(seed: bytes, random_: random.Random) -> bytes:
    """`seed` with one to four of: a byte changed, a number put somewhere, a piece cut, doubled or moved."""
    data = bytearray(seed)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(data) + 1)
        length = random_.choice((1, 2, 4, 8, random_.randrange(1, 64)))
        kind = random_.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = random_.randrange(256)
        elif kind == 1:
            number = random_.choice(INTERESTING)
            width = random_.choice((1, 2, 4, 8))
            data[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            to = random_.randrange(len(data) + 1)
            data[to:to] = bytes(data[at : at + length])
        else:
            data[at:at] = bytes(random_.choice((0, 0xFF, 0x20)) for _ in range(length))
    return bytes(data)
