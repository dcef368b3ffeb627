"""GGUF files built field by field, well formed or not; it never imports the package."""

from __future__ import annotations

import struct

CODES = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"),
         "f32": (6, "f"), "bool": (7, "B"), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}  # fmt: skip


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def key(name: str | bytes, kind: str, value: object) -> bytes:
    """One key with a scalar ("u32"), text ("string") or an array of either ("[u32]", "[string]")."""
    if kind == "string":
        return string(name) + struct.pack("<I", 8) + string(value)
    if kind == "[string]":
        return string(name) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(string, value))
    if kind.startswith("["):
        id, code = CODES[kind[1:-1]]
        return string(name) + struct.pack("<IIQ", 9, id, len(value)) + struct.pack(f"<{len(value)}{code}", *value)
    id, code = CODES[kind]
    return string(name) + struct.pack(f"<I{code}", id, value)


def info(name: str | bytes, dims: tuple[int, ...], type_id: int = 0, offset: int = 0) -> bytes:
    """One tensor; dimensions fastest first."""
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, type_id, offset)


def gguf(
    keys: list[bytes] | tuple[bytes, ...] = (),
    infos: list[bytes] | tuple[bytes, ...] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    alignment: int = 32,
    n_keys: int | None = None,
    n_tensors: int | None = None,
) -> bytes:
    head = struct.pack(
        "<4sIQQ",
        b"GGUF",
        version,
        len(infos) if n_tensors is None else n_tensors,
        len(keys) if n_keys is None else n_keys,
    )
    head += b"".join(keys) + b"".join(infos)
    return head + bytes(-len(head) % alignment) + data


def llama(tokens: list[str], *more: bytes, rows: int | None = None, **fields: int) -> bytes:
    """A file with the metadata of a Llama of one block, embedding width 4, and its embedding tensor."""
    sizes = {"block_count": 1, "context_length": 8, "embedding_length": 4, "feed_forward_length": 8,
             "attention.head_count": 2, "attention.head_count_kv": 1} | fields  # fmt: skip
    rows = len(tokens) if rows is None else rows
    return gguf(
        [
            key("general.architecture", "string", "llama"),
            *(key(f"llama.{name}", "u32", value) for name, value in sizes.items()),
            key("tokenizer.ggml.model", "string", "llama"),
            key("tokenizer.ggml.tokens", "[string]", tokens),
            *more,
        ],
        [info("token_embd.weight", (4, rows))],
        bytes(16 * rows),
    )
