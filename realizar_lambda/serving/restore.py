"""What a process does around a snapshot (SnapStart), which many processes are restored from. It knows no runtime.

A restored process has the memory, the open maps and the threads of the one that was frozen: weights stay mapped, and
seeds are drawn from the kernel for each request, so no two processes share one. What remains is the metrics' clock,
and the CPU, which may be another: a process that is to be frozen takes the least library, which runs wherever Lambda
does (native.py); one that was told to take more is refused by a CPU that lacks its instructions.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realizar_lambda.serving.application import Application


def register(application: Application, environ: Mapping[str, str]) -> bool:
    """Have the runtime call the two functions below where this process is to be frozen; whether it will."""
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return False
    try:
        from snapshot_restore_py import register_after_restore, register_before_snapshot
    except ImportError:
        return False
    register_before_snapshot(before_snapshot)
    register_after_restore(after_restore, application)
    return True


def before_snapshot() -> None:
    """Leave no garbage in the image that every restored process begins with."""
    import gc

    gc.collect()
    gc.freeze()


def after_restore(application: Application, *, cpu_flags: Callable[[], frozenset[str]] | None = None) -> None:
    """Make the process one of its own. Raises UnsupportedError where this CPU lacks what the loaded library needs."""
    from realizar_lambda import native

    native.choose_isa(os.uname().machine, (cpu_flags or native.cpu_flags)(), application.kernels())
    application.metrics.started = application.clock()
