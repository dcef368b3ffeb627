"""Computed prefixes in files: the keys and values of a context, mapped back in instead of computed again.

A file holds, little-endian:

    0       magic b"RLPREFIX"
    8       u32 version 1, u32 n: the header's bytes
    16      the header, JSON: model, cache_element, capacity, n_tokens, cache_bytes, crc32 (of the token ids)
    16 + n  n_tokens token ids, i32
    c       cache_bytes of keys and values, as Context lays them out; c is the next multiple of 65,536

It is mapped privately: pages are read when attention first looks at them and copied when a position is written. It
knows no text. A file may come from anywhere: everything but the keys and values themselves, which are only numbers,
is checked before it is mapped.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
import struct
import sys
from array import array

from realizar_lambda.errors import CapacityError, FormatError, RequestError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from realizar_lambda.language_model import Context, LanguageModel

MAGIC = b"RLPREFIX"
VERSION = 1
HEAD = struct.Struct("<8sII")
MAX_HEADER_BYTES = 4096
ALIGNMENT = 1 << 16
SAMPLE_BYTES = 64
FIELDS = {"model": str, "cache_element": str, "capacity": int, "n_tokens": int, "cache_bytes": int, "crc32": int}


class Snapshot:
    """A file whose header fits the model: the ids it holds, and where its keys and values lie. It is kept open."""

    __slots__ = ("_descriptor", "cache_at", "cache_bytes", "capacity", "path", "token_ids")

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.token_ids: array[int] = array("i")
        self.capacity = self.cache_bytes = self.cache_at = 0

    def __del__(self) -> None:
        os.close(self._descriptor)

    def mapped(self) -> mmap.mmap:
        """The keys and values, to read and to write over privately. Raises FormatError where the file was cut."""
        if os.fstat(self._descriptor).st_size != self.cache_at + self.cache_bytes:
            raise FormatError(self.path, None, "the file has changed since it was opened")
        return mmap.mmap(self._descriptor, self.cache_bytes, access=mmap.ACCESS_COPY, offset=self.cache_at)

    def read(self, n_bytes: int, at: int) -> bytes:
        """Bytes of the file, fewer where it ends."""
        return os.pread(self._descriptor, n_bytes, at)


def fingerprint(model: LanguageModel) -> str:
    """What tells a model from others: its numbers, its tensors' names, types and shapes, and some bytes of each."""
    from zlib import crc32

    check = crc32(repr(model.config).encode())
    n_bytes = 0
    for name, tensor in model.tensors.items():
        check = crc32(repr((name, tuple(tensor.shape), tensor.block.name)).encode(), check)
        data = memoryview(tensor.data).cast("B")
        n_bytes += len(data)
        for begin in (0, len(data) // 2, max(len(data) - SAMPLE_BYTES, 0)):
            check = crc32(data[begin : begin + SAMPLE_BYTES], check)
    return f"{n_bytes:x}-{check:08x}"


def save(context: Context, path: str) -> int:
    """Write what a context holds to a file, in one step; the file's size in bytes.

    Positions that hold nothing are holes where the file system has such. Raises CapacityError for an empty context.
    """
    from zlib import crc32

    from realizar_lambda.formats.atomic_file import replacing

    if not context.ids:
        raise CapacityError("a snapshot", 1, 0, "tokens")
    ids = _little_endian(context.ids).tobytes()
    header = json.dumps({
        "model": fingerprint(context.model), "cache_element": context.model.cache_element,
        "capacity": context.capacity, "n_tokens": len(context.ids), "cache_bytes": context.n_cache_bytes,
        "crc32": crc32(ids),
    }).encode()  # fmt: skip
    cache_at = _cache_at(len(header), len(context.ids))
    with replacing(path) as file:
        file.write(HEAD.pack(MAGIC, VERSION, len(header)) + header + ids)
        file.truncate(cache_at + context.n_cache_bytes)
        for begin, n_bytes in held_rows(context, len(context.ids)):
            file.seek(cache_at + begin)
            file.write(context.cache[begin : begin + n_bytes])
    return int(cache_at + context.n_cache_bytes)


def save_prompt(model: LanguageModel, path: str, prompt_ids: Sequence[int], *, room: int) -> int:
    """Compute a prompt and save it with room for `room` tokens more; the file's size in bytes.

    Raises RequestError for ids that are not the model's, and for a prompt that is too short or too long.
    """
    from realizar_lambda.generation.contexts import MIN_BATCH, prefill_parts
    from realizar_lambda.language_model import DEFAULT_CHUNK

    ids = model.checked(prompt_ids)
    length = model.config.context_length
    if not MIN_BATCH <= len(ids) < length:
        raise RequestError(400, f"a prefix must have {MIN_BATCH} to {length - 1} tokens, it has {len(ids)}", "prompt")
    context = model.context(min(len(ids) + room, length))
    begin = 0
    for size in prefill_parts(len(ids), DEFAULT_CHUNK):
        context.append(ids[begin : begin + size])
        begin += size
    return save(context, path)


def open_snapshot(path: str, model: LanguageModel) -> Snapshot:
    """Read and check a file's header.

    Raises FormatError for what is no such file, or is damaged, UnsupportedError where it was made with another model
    or another version, and OSError.
    """
    snapshot = Snapshot(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    _check(snapshot, model)
    return snapshot


def restore(snapshot: Snapshot, model: LanguageModel, *, capacity: int | None = None) -> Context:
    """A context that goes on from a snapshot: over the mapped file, or, where a greater capacity is asked for, over
    memory of its own with a copy. Raises FormatError where the file has changed since it was opened, and OSError."""
    from realizar_lambda.language_model import Context

    context = Context(model, snapshot.capacity, cache=memoryview(snapshot.mapped()))
    context.ids.extend(snapshot.token_ids)
    if capacity is None or capacity <= snapshot.capacity:
        return context
    larger = model.context(capacity)
    rows = zip(held_rows(context, len(context.ids)), held_rows(larger, len(context.ids)), strict=True)
    for (source, n_bytes), (target, _) in rows:
        larger.cache[target : target + n_bytes] = context.cache[source : source + n_bytes]
    larger.ids.extend(snapshot.token_ids)
    return larger


def held_rows(context: Context, n_tokens: int) -> list[tuple[int, int]]:
    """(begin, bytes) in a context's cache of the first `n_tokens` positions: a stretch for each layer and head."""
    found, begin = [], 0
    for buffer in context.program.buffers:
        if buffer.is_cache:
            row_bytes = buffer.n_bytes // buffer.rows
            for row in range(0, buffer.rows, context.capacity):
                found.append((begin + row * row_bytes, n_tokens * row_bytes))
            begin += buffer.n_bytes
    return found


def _check(snapshot: Snapshot, model: LanguageModel) -> None:
    """Read a file's header, check it against the model and the file's size, and fill in the snapshot."""
    from realizar_lambda.language_model import DEFAULT_CHUNK

    path = snapshot.path
    if not stat.S_ISREG((status := os.stat(snapshot._descriptor)).st_mode):
        raise FormatError(path, None, "a prefix is read from a regular file")
    head = snapshot.read(HEAD.size, 0)
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        raise FormatError(path, 0, f"the file must begin with {MAGIC!r}, it begins with {head[:8]!r}")
    _, version, n_header = HEAD.unpack(head)
    if version != VERSION:
        raise UnsupportedError(f"{path}: version {version} of prefix files", str(VERSION))
    if n_header > MAX_HEADER_BYTES:
        raise FormatError(path, 12, f"the header must have at most {MAX_HEADER_BYTES} bytes, it has {n_header}")
    header = _header(path, snapshot.read(n_header, HEAD.size))
    length = model.config.context_length
    if header["model"] != fingerprint(model):
        raise UnsupportedError(f"{path}: a prefix of another model", f"prefixes made with {model.name}")
    if header["cache_element"] != model.cache_element:
        raise UnsupportedError(f"{path}: keys and values as {header['cache_element']!r:.20}", model.cache_element)
    n_tokens, capacity = header["n_tokens"], header["capacity"]
    if not 1 <= n_tokens <= capacity <= length:
        raise FormatError(
            path, HEAD.size, f"it must have 1 to {length} tokens, it has {n_tokens}, and a capacity of {capacity}"
        )
    program, _ = model.program(capacity, DEFAULT_CHUNK)
    snapshot.capacity = capacity
    snapshot.cache_bytes = sum(buffer.n_bytes for buffer in program.buffers if buffer.is_cache)
    snapshot.cache_at = _cache_at(n_header, n_tokens)
    n_bytes = snapshot.cache_at + snapshot.cache_bytes
    if header["cache_bytes"] != snapshot.cache_bytes or status.st_size != n_bytes:
        raise FormatError(
            path, None, f"it must have {n_bytes} bytes, {snapshot.cache_bytes} of keys and values, it has "
            f"{status.st_size}, and says {header['cache_bytes']}",
        )  # fmt: skip
    snapshot.token_ids = _token_ids(snapshot, header, HEAD.size + n_header, model)


def _header(path: str, content: bytes) -> dict[str, Any]:
    try:
        header = json.loads(content)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise FormatError(path, HEAD.size, "the header must be a JSON object")
    for name, kind in FIELDS.items():
        if type(header.get(name)) is not kind:
            found = header.get(name)
            raise FormatError(path, HEAD.size, f"{name} must be of type {kind.__name__}, it is {found!r:.40}")
    return header


def _token_ids(snapshot: Snapshot, header: dict[str, Any], at: int, model: LanguageModel) -> array[int]:
    from zlib import crc32

    content = snapshot.read(4 * header["n_tokens"], at)
    if crc32(content) != header["crc32"]:
        raise FormatError(snapshot.path, at, "the token ids are damaged: their checksum is another")
    ids = _little_endian(array("i", content))
    if min(ids) < 0 or max(ids) >= model.n_vocab:
        found = f"{min(ids)} to {max(ids)}"
        raise FormatError(snapshot.path, at, f"token ids must be in [0, {model.n_vocab}), they are {found}")
    return ids


def _little_endian(ids: array[int]) -> array[int]:
    if sys.byteorder == "big":
        ids = ids[:]
        ids.byteswap()
    return ids


def _cache_at(n_header: int, n_tokens: int) -> int:
    end = HEAD.size + n_header + 4 * n_tokens
    return (end + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
