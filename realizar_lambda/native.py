"""The one door to the native library: which one to load, its functions, memory addresses, the team of threads.

It knows nothing of models. Everything that passes through it was checked before: a library call is unchecked.

    library()          the kernel library for this CPU, loaded once
    address(buffer)    where a buffer's bytes lie
    allocate(n)        zeroed, page-aligned memory
    Team(n_threads)    threads that run programs together, parked between calls
"""

from __future__ import annotations

import mmap
import os
import sys
from _thread import allocate_lock

from realizar_lambda import calling, ops
from realizar_lambda.errors import BuildError, CapacityError, UnsupportedError

ISA_VARIABLE = "REALIZAR_ISA"
THREADS_VARIABLE = "REALIZAR_THREADS"
LIBRARY_VARIABLE = "REALIZAR_NATIVE_DIR"
MAX_THREADS = 64
MB_PER_VCPU = 1769

# Of the container, in either version of the kernel's interface: microseconds of CPU time, and in how many.
QUOTAS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_native")

# Best first: the CPU flags (names of /proc/cpuinfo) that a library needs.
ISAS = {
    "x86_64": (
        ("x86_64_v4", "avx2 fma f16c bmi2 avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni"),
        ("x86_64_v3", "avx2 fma f16c bmi2 abm movbe"),
    ),
    "aarch64": (("aarch64", "asimd fphp asimdhp asimddp"),),
}

_AT_HWCAP = 16
# Where the C library keeps each flag: a word, and a bit of it. On x86_64 the words are glibc's usable bits of cpuid's
# leaves 1, 7 and 0x80000001 (eax, ebx, ecx, edx: 32 bits each), on aarch64 the one word is AT_HWCAP.
_FLAG_BITS = {
    "x86_64": {
        "fma": (0, 64 + 12), "movbe": (0, 64 + 22), "f16c": (0, 64 + 29), "avx2": (1, 32 + 5), "bmi2": (1, 32 + 8),
        "avx512f": (1, 32 + 16), "avx512dq": (1, 32 + 17), "avx512cd": (1, 32 + 28), "avx512bw": (1, 32 + 30),
        "avx512vl": (1, 32 + 31), "avx512_vnni": (1, 64 + 11), "abm": (2, 64 + 5),
    },
    "aarch64": {"asimd": (0, 1), "fphp": (0, 9), "asimdhp": (0, 10), "asimddp": (0, 20)},
}  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread
    from typing import Any


address = calling.address


def allocate(n_bytes: int) -> mmap.mmap:
    """Zeroed memory of at least one byte, page-aligned; pages not touched take no room.

    Private, which mmap's default is not: a forked child that runs a program must not write into its parent's.
    Raises CapacityError where it is more than the machine has.
    """
    limit = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
    if n_bytes > limit:
        raise CapacityError("working memory", n_bytes, limit)
    try:
        return mmap.mmap(-1, max(n_bytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise CapacityError(f"working memory ({error.strerror})", n_bytes, limit) from None


def cpu_flags(find: Callable[..., Callable[[int], Any]] = calling.interpreters) -> frozenset[str]:
    """The CPU's flags as Linux names them, those of `ISAS` at least; empty where nothing says them.

    The C library asked the CPU when the process began, and knows what the system lets it use. /proc/cpuinfo, which
    an older C library leaves to be read, costs more, and under an emulator may be another machine's.
    """
    machine = os.uname().machine
    try:
        if machine == "x86_64":
            leaf = find("__x86_get_cpuid_feature_leaf", calling.Address, [calling.Int])  # glibc 2.33
            leaves = [int.from_bytes(calling.Bits128.from_address(leaf(n) + 16), "little") for n in range(3)]
        elif machine == "aarch64":
            leaves = [find("getauxval", calling.Int64, [calling.Int64])(_AT_HWCAP)]
        else:
            leaves = []
    except (AttributeError, TypeError):  # no such function, or no such leaf
        return listed_flags()
    return frozenset(name for name, (n, bit) in _FLAG_BITS.get(machine, {}).items() if leaves[n] >> bit & 1)


def listed_flags(cpuinfo: str = "/proc/cpuinfo") -> frozenset[str]:
    """The flags that the system lists of its first CPU; empty where it does not say."""
    try:
        with open(cpuinfo, "rb") as file:  # as text it would import a codec
            for line in file:
                if line.startswith((b"flags", b"Features")):
                    return frozenset(line.partition(b":")[2].decode("ascii", "replace").split())
    except OSError:
        pass
    return frozenset()


def choose_isa(machine: str, flags: frozenset[str], wanted: str | None = None) -> str:
    """The best library for a CPU with these flags, or `wanted` where the CPU can run it.

    Raises UnsupportedError where the CPU lacks what the chosen (or the least) library needs: better our message
    than an illegal instruction.
    """
    rows = ISAS.get(machine)
    if rows is None:
        raise UnsupportedError(f"a {machine} CPU", sorted(ISAS))
    known = dict(rows)
    if wanted is not None:
        if wanted not in known:
            raise UnsupportedError(f"{ISA_VARIABLE}={wanted!r} on {machine}", known)
        rows = ((wanted, known[wanted]),)
    missing: list[str] = []
    for name, needed in rows:
        missing = [flag for flag in needed.split() if flag not in flags]
        if not missing:
            return name
    raise UnsupportedError(f"this CPU, which lacks {', '.join(missing)} that {rows[-1][0]} needs,", known)


class Library:
    """A loaded kernel library. `isa` is its name; its exports are attributes without their `realizar_` prefix.

    A call frees the GIL, but for those of `holding`, whose calls keep it: they cost a quarter as much, and are for
    calls of microseconds.
    """

    def __init__(self, isa: str, path: str, *, holds_gil: bool = False) -> None:
        self.isa = isa
        self.path = path
        self._handle = calling.open_library(path)
        self._holds_gil = holds_gil
        if not holds_gil:
            self._check()

    def _check(self) -> None:
        """Refuse a library that was built with other tables: its calls would read memory that is not theirs."""
        try:
            found = self.abi()
        except AttributeError:
            found = None
        if found != ops.abi():
            raise BuildError(f"{self.path} was built from other sources: run `python -m realizar_lambda.kernels.build`")

    def __getattr__(self, name: str) -> Any:
        """The export `realizar_<name>`, looked up when it is first used."""
        declared = ops.EXPORTS.get(f"realizar_{name}")
        if name == "holding":
            found: Any = Library(self.isa, self.path, holds_gil=True)
        elif declared is None:
            raise AttributeError(f"the kernel library exports no {name!r}")
        else:
            result, kinds = declared
            arguments = [calling.KINDS[kind] for kind in kinds]
            found = calling.function(
                self._handle, f"realizar_{name}", calling.KINDS[result], arguments, holds_gil=self._holds_gil
            )
        setattr(self, name, found)
        return found


_loaded: dict[str, Library] = {}


def wanted_isa(environ: os._Environ[str] | dict[str, str], machine: str) -> str | None:
    """The library that REALIZAR_ISA names, or None for the best.

    Where nothing is named and the process is to be frozen into a snapshot, it is the machine's least: a snapshot of
    Lambda's is restored on whatever CPU is free, and a process cannot change its library.
    """
    least = ISAS.get(machine, ((None, ""),))[-1][0]
    is_frozen = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
    return environ.get(ISA_VARIABLE) or (least if is_frozen else None)


def library() -> Library:
    """The library for this CPU, or the one that is wanted instead; loaded once."""
    wanted = wanted_isa(os.environ, os.uname().machine)
    if (wanted or "") not in _loaded:
        isa = choose_isa(os.uname().machine, cpu_flags(), wanted)
        _loaded[wanted or ""] = Library(isa, _find(isa))
    return _loaded[wanted or ""]


def _find(isa: str) -> str:
    """Where the library lies: shipped beside this file, or built on first use from a source checkout."""
    shipped = os.path.join(os.environ.get(LIBRARY_VARIABLE) or FOLDER, f"{isa}.so")
    if os.path.exists(shipped):
        return shipped
    from importlib.util import find_spec

    if find_spec("numba") is None:
        raise BuildError(
            f"no kernel library {isa}.so in {os.path.dirname(shipped)}, and no numba to build it with; install a "
            "wheel that holds it, or `pip install realizar-lambda[build]`"
        )
    from pathlib import Path

    from realizar_lambda.kernels import build

    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    folder = cache / "realizar-lambda" / build.source_hash()[:16]
    if not (folder / f"{isa}.so").exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildError(f"no folder to keep the kernels in: {error}; set XDG_CACHE_HOME to one") from None
        print("first use: the kernels are compiled once and kept", file=sys.stderr)
        build.build_all([isa], folder, force=True)
    return str(folder / f"{isa}.so")


def usable_cpus(quotas: tuple[tuple[str, ...], ...] = QUOTAS) -> int:
    """On how many CPUs this process can run at once: those it is let on, or fewer where its container's quota is."""
    n = len(os.sched_getaffinity(0))
    for paths in quotas:
        words: list[bytes] = []
        try:
            for path in paths:
                with open(path, "rb", buffering=0) as file:
                    words += (file.read(64) or b"").split()
            time, period = map(int, words)
            if time >= 0:  # the old interface says -1 for none, the new one a word
                n = min(n, -(-time // period))
        except (OSError, ValueError, ZeroDivisionError):  # no such file, or no number in it: there is no quota
            pass
    return max(n, 1)


def n_threads_from(environ: os._Environ[str] | dict[str, str]) -> int:
    """How many threads a team has: REALIZAR_THREADS, else one per CPU that this process may use.

    In Lambda that is one per whole vCPU that the function's memory buys: small functions see two CPUs and get a part
    of one, so that a second thread would only wait for the first.
    """
    text = environ.get(THREADS_VARIABLE)
    if not text:
        n = min(usable_cpus(), MAX_THREADS)
        memory = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        return max(1, min(n, int(memory) // MB_PER_VCPU)) if memory.isdecimal() and len(memory) < 10 else n
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_THREADS):
        raise UnsupportedError(f"{THREADS_VARIABLE}={text!r}", f"1 to {MAX_THREADS}")
    return int(text)


_restarting = allocate_lock()


class Team:
    """Threads that walk a program together. The caller's thread is the first; the others park between calls.

    One program runs at a time: calls of several threads take turns. After a fork the child has no workers, so a
    team is made anew there. Of `n_threads` only `n_at_once` are started, by default as many as there are CPUs for: the
    bits are the same, and threads that wait for each other's CPU would only be slower.
    """

    def __init__(self, n_threads: int, library: Library, n_at_once: int | None = None) -> None:
        self.n_threads = n_threads
        self.library = library
        self.n_at_once = n_threads if n_threads == 1 else min(n_threads, n_at_once or usable_cpus())
        self._workers: list[Thread] = []
        self._start()

    def _start(self) -> None:
        self._memory = allocate(ops.TEAM_WORDS * 8)
        self._words = memoryview(self._memory).cast("q")
        self._words[2] = self.n_at_once
        self.address = address(self._memory)
        self._lock = allocate_lock()
        self._process = os.getpid()
        if self.n_at_once > 1:
            import threading

            self._workers = [
                # the memory is an argument so that it lives as long as the thread that watches it
                threading.Thread(target=_serve, args=(self.library, self._memory, thread), daemon=True)
                for thread in range(1, self.n_at_once)
            ]
            for worker in self._workers:
                worker.start()

    def run(self, table: int, n_ops: int, n_tokens: int, position: int) -> None:
        """Run the program whose table lies at an address; the GIL is free meanwhile."""
        if self.n_threads == 1:
            self.library.run(table, n_ops, n_tokens, position, self.address)
            return
        if self._process != os.getpid():
            with _restarting:
                if self._process != os.getpid():
                    self._start()
        with self._lock:
            if self.n_threads == 0:
                raise CapacityError("a dismissed team", 1, 0, "threads")
            self.library.run(table, n_ops, n_tokens, position, self.address)

    def dismiss(self) -> None:
        """End the workers; the team runs nothing afterwards."""
        with self._lock:
            if self.n_threads > 1 and self._process == os.getpid():
                self._end_workers()
                for worker in self._workers:
                    worker.join()
                self._workers = []
            self.n_threads = 0

    def _end_workers(self) -> None:
        self._words[1] = 1
        self.library.run(self.address, 0, 0, 0, self.address)

    def __del__(self) -> None:
        """End the workers of a team that nobody dismissed. They hold its memory, so nobody waits for them here.

        Where the interpreter ends, so do they; in a forked child they never were.
        """
        if self._workers and not sys.is_finalizing() and self._process == os.getpid():
            self._end_workers()


def _serve(library: Library, memory: mmap.mmap, thread: int) -> None:
    """A worker's whole life: one native call that returns when the team is dismissed."""
    library.worker(address(memory), thread)
