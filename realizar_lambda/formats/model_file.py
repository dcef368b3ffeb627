"""An opened model file: metadata and tensors over a memory map. It does not know what a model computes."""

from __future__ import annotations

import mmap
import os
import stat

from realizar_lambda.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.tensor import Tensor

READ_AHEAD_FROM = 1 << 24
"""A file of fewer bytes is read by a few faults."""


class ModelFile:
    """What every reader returns.

    `format` is "apr-v1", "apr-v2", "gguf-v2", "gguf-v3" or "safetensors"; `metadata` maps keys to str, int,
    float, bool, dict and sequences (long arrays may be lazy sequences); `tensors` maps names to `Tensor`s in
    file order; `checks` maps the name of each checksum or flag to "ok", "absent" or a sentence.
    `buffer` is the bytes of the file, or a tuple of them where the model has several files.
    Keep the object alive as long as any tensor's bytes are in use: it owns the map.
    """

    __slots__ = ("buffer", "checks", "format", "metadata", "path", "tensors")

    def __init__(
        self,
        *,
        path: str,
        format: str,
        metadata: Mapping[str, object],
        tensors: Mapping[str, Tensor],
        checks: Mapping[str, str],
        buffer: object,
    ) -> None:
        self.path = path
        self.format = format
        self.metadata = metadata
        self.tensors = tensors
        self.checks = checks
        self.buffer = buffer

    @property
    def n_bytes(self) -> int:
        """Size of the file, or of all shards together, in bytes."""
        buffers = self.buffer if isinstance(self.buffer, tuple) else (self.buffer,)
        return sum(memoryview(buffer).nbytes for buffer in buffers)


def map_file(path: str, *, huge_pages: bool = False, read_ahead: bool = False) -> memoryview:
    """Map `path` read-only and return its bytes; with `huge_pages` a copy of them in such, if they fill one.

    With `read_ahead` a thread fetches a large file from the disk meanwhile: all of it will be used.

    Raises what `huge_pages.read_file` raises, FormatError for an empty file and for what is no regular file (a pipe
    would block, a device has no size), and OSError's own subclasses where it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(path, None, "not a regular file; a model is opened from a file that can be mapped")
        if status.st_size == 0:
            raise FormatError(path, 0, "the file is empty; a model file starts with its format's magic bytes")
        if huge_pages:
            from realizar_lambda.formats.huge_pages import HUGE_BYTES, read_file

            if status.st_size >= HUGE_BYTES:
                return read_file(path, descriptor, status.st_size)
        if read_ahead and status.st_size >= READ_AHEAD_FROM:
            from realizar_lambda.formats import readahead

            readahead.start(descriptor, status.st_size)
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)
