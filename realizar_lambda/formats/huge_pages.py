"""A file's bytes in anonymous memory of huge pages, read once, in place of its map. It knows no format.

A memory map of a file is made of 4 KB pages, and a CPU that reads gigabytes through them spends a good part of its
time on looking pages up. Pages of 2 MiB cost a copy at load, and memory that the system cannot take back.
"""

from __future__ import annotations

import mmap
import os

from realizar_lambda.errors import CapacityError, FormatError

HUGE_BYTES = 1 << 21
ENABLED = "/sys/kernel/mm/transparent_hugepage/enabled"
MEMINFO = "/proc/meminfo"
CGROUP_LIMIT = "/sys/fs/cgroup/memory.max"
READ_BYTES = 1 << 26
"""How much one call reads: the kernel reads at most 2 GiB at once."""


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def can_have(note: Callable[[str], None], *, enabled: str = ENABLED) -> bool:
    """Whether this system has huge pages to give; `note` is told why where it has none."""
    reason = why_not(enabled)
    if reason is not None:
        note(f"{reason}; weights stay in the file's map")
    return reason is None


def warn(text: str) -> None:
    """The note of who has no better place for it."""
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=4)


def why_not(enabled: str = ENABLED) -> str | None:
    """Why there are no huge pages, or None where there may be."""
    try:
        with open(enabled, "rb") as file:
            chosen = file.read(200).decode("ascii", "replace").strip()
    except OSError:
        return f"the kernel offers no huge pages: there is no {enabled}"
    if "[always]" in chosen or "[madvise]" in chosen:
        return None
    return f"the kernel offers no huge pages: {enabled} is {chosen!r}, it must be [always] or [madvise]"


def held_bytes(n_bytes: int) -> int:
    """The memory that a file of `n_bytes` takes here: whole huge pages; a smaller file keeps its map."""
    return n_bytes if n_bytes < HUGE_BYTES else (n_bytes + HUGE_BYTES - 1) // HUGE_BYTES * HUGE_BYTES


def read_file(path: str, descriptor: int, n_bytes: int) -> memoryview:
    """The file's bytes, read-only, from the beginning of a huge page on.

    Raises CapacityError where they are more than the memory that is left, FormatError for a file that shrinks
    meanwhile, and OSError where the kernel refuses the advice.
    """
    available = available_bytes()
    if held_bytes(n_bytes) > available:
        raise CapacityError(f"{path} on huge pages", held_bytes(n_bytes), available)
    try:
        memory = mmap.mmap(-1, held_bytes(n_bytes) + HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise CapacityError(f"{path} on huge pages ({error.strerror})", held_bytes(n_bytes), available) from None
    from realizar_lambda.native import address

    begin = -address(memory) % HUGE_BYTES
    memory.madvise(mmap.MADV_HUGEPAGE, begin, held_bytes(n_bytes))
    view = memoryview(memory)[begin : begin + n_bytes]
    done = 0
    while done < n_bytes:
        n = os.preadv(descriptor, [view[done : done + READ_BYTES]], done)
        if n == 0:
            raise FormatError(path, done, f"the file ends here, it had {n_bytes} bytes when it was opened")
        done += n
    return view.toreadonly()


def available_bytes(meminfo: str = MEMINFO, cgroup_limit: str = CGROUP_LIMIT) -> int:
    """Memory that can be had without swapping, at most what the process's control group allows."""
    found = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
    try:
        with open(meminfo, "rb") as file:
            for line in file:
                if line.startswith(b"MemAvailable:"):
                    found = int(line.split()[1]) * 1024
                    break
    except (OSError, ValueError):
        pass
    try:
        with open(cgroup_limit, "rb") as file:
            return min(found, int(file.read(32)))
    except (OSError, ValueError):  # no such group, or one whose limit is "max"
        return found
