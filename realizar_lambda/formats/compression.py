"""Compressed model payloads, bounded; the codecs are optional packages, imported when a file needs them."""

from __future__ import annotations

from realizar_lambda.errors import CapacityError, FormatError, UnsupportedError

MAX_BYTES = 1 << 30
"""No payload is decompressed beyond this, whatever it declares."""

_MAX_LZ4_RATIO = 256
_STEP_BYTES = 1 << 20


def decompress_zstd(path: str, offset: int, data: memoryview, *, n_bytes: int | None = None) -> memoryview:
    """The content of the zstd frame `data`, which lies at `offset`; `n_bytes` is the declared size, if any.

    Memory grows with what really comes out, never with what is declared. Raises FormatError where the frame
    is broken or the size differs, CapacityError above `MAX_BYTES`, UnsupportedError without the codec.
    """
    try:
        import zstandard
    except ImportError:
        raise _missing_codec("zstd", "zstandard") from None
    limit = MAX_BYTES if n_bytes is None else _checked(n_bytes)
    content = bytearray()
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as reader:
            while step := reader.read(_STEP_BYTES):
                content += step
                if len(content) > limit:
                    break
    except zstandard.ZstdError as fault:
        raise FormatError(path, offset, f"the zstd frame is broken: {fault}") from None
    return _sized(path, offset, content, n_bytes)


def decompress_lz4(path: str, offset: int, data: memoryview, *, n_bytes: int | None = None) -> memoryview:
    """As `decompress_zstd` for an LZ4 block behind its u32 uncompressed size."""
    try:
        import lz4.block
    except ImportError:
        raise _missing_codec("LZ4", "lz4") from None
    if len(data) < 4:
        raise FormatError(path, offset, f"an LZ4 payload starts with a 4-byte size, {len(data)} bytes are left")
    declared = _checked(int.from_bytes(data[:4], "little"))
    if declared > _MAX_LZ4_RATIO * len(data):
        raise FormatError(path, offset, f"the LZ4 payload declares {declared} bytes, {len(data)} cannot hold them")
    try:
        content: bytes = lz4.block.decompress(data[4:], uncompressed_size=declared)
    except lz4.block.LZ4BlockError as fault:
        raise FormatError(path, offset + 4, f"the LZ4 block is broken: {fault}") from None
    return _sized(path, offset, content, declared if n_bytes is None else n_bytes)


def _checked(n_bytes: int) -> int:
    if n_bytes > MAX_BYTES:
        raise CapacityError("the decompressed payload", n_bytes, MAX_BYTES)
    return n_bytes


def _sized(path: str, offset: int, content: bytes | bytearray, n_bytes: int | None) -> memoryview:
    if n_bytes is None:
        _checked(len(content))
    elif len(content) != n_bytes:
        found = f"more than {n_bytes}" if len(content) > n_bytes else str(len(content))
        raise FormatError(path, offset, f"the payload decompresses to {found} bytes, {n_bytes} are declared")
    return memoryview(content).toreadonly()


def _missing_codec(what: str, package: str) -> UnsupportedError:
    return UnsupportedError(
        f"a {what}-compressed .apr payload without the {package} package",
        "uncompressed .apr files: install realizar-lambda[compression] or save it uncompressed",
    )
