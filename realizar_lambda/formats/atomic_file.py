"""Writing a file so that readers see the old bytes or the new, never a part; it knows no format."""

from __future__ import annotations

import os
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from typing_extensions import Buffer


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends well and vanishes when it does not.

    The new bytes are written beside the target (same folder, so the same file system), flushed to the disk
    and renamed over it. Raises OSError's subclasses.
    """
    target = os.fspath(path)
    partial = f"{target}.{os.getpid()}.partial"
    with open(partial, "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(partial)
            raise
    os.replace(partial, target)


def flat_bytes(content: Buffer) -> memoryview:
    """The bytes of any contiguous buffer (bytes, array, NumPy array), in order, without a copy."""
    view: memoryview = memoryview(content)
    return view.cast("B") if view.nbytes else memoryview(b"")
