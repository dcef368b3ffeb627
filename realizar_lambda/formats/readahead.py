"""A file's pages fetched by a thread while a model is made of its map. It knows no format.

A fault in a map asks the disk for one read-ahead window, 128 KiB where nobody has set another, and waits for it.
Large reads one after the other keep the disk busy: with them the first token of a model of 620 MB came after 0.99 times
what reading the file takes, with faults alone after 1.31 times, and advice (MADV_WILLNEED) changed nothing.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, start_new_thread

from realizar_lambda.formats.huge_pages import available_bytes

AT_ONCE = 1 << 23
"""How much one call reads, so that the thread rarely needs the interpreter."""

SCRATCH_BYTES = 1 << 18
OLD_CGROUP_LIMIT = "/sys/fs/cgroup/memory/memory.limit_in_bytes"

_turn = allocate_lock()
"""Shards are read one after the other, as their layers are used."""


def start(descriptor: int, n_bytes: int) -> bool:
    """Begin to fetch an open file of `n_bytes`, in its order; whether it was begun.

    It is not where the file takes more than three quarters of the memory: it would push out what it has fetched.
    """
    if n_bytes > min(available_bytes(), available_bytes(cgroup_limit=OLD_CGROUP_LIMIT)) // 4 * 3:
        return False
    start_new_thread(_fetch_and_close, (os.dup(descriptor), n_bytes))
    return True


def _fetch_and_close(descriptor: int, n_bytes: int) -> None:
    try:
        with _turn:
            fetch(descriptor, n_bytes)
    except OSError:
        pass  # the fault that meets the same error will tell whoever needs the page
    finally:
        os.close(descriptor)


def fetch(descriptor: int, n_bytes: int) -> int:
    """Read what of the file is not in memory yet, and keep none of it; how many bytes were read."""
    scratch = bytearray(SCRATCH_BYTES)
    buffers = [scratch] * (AT_ONCE // SCRATCH_BYTES)
    n_read = 0
    for begin in range(0, n_bytes, AT_ONCE):
        if is_in_memory(descriptor, begin) and is_in_memory(descriptor, min(begin + AT_ONCE, n_bytes) - 1):
            continue
        n = os.preadv(descriptor, buffers, begin)
        if n == 0:
            break
        n_read += n
    return n_read


def is_in_memory(descriptor: int, position: int) -> bool:
    """Whether a read of this byte needs no disk; False where the file system cannot tell."""
    try:
        return os.preadv(descriptor, [bytearray(1)], position, os.RWF_NOWAIT) == 1
    except OSError:
        return False
