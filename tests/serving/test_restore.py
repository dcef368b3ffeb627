"""Around a snapshot: hooks are registered where there is one, and a restored process checks its CPU."""

from __future__ import annotations

import pytest

from realizar_lambda.errors import UnsupportedError
from realizar_lambda.native import cpu_flags, library
from realizar_lambda.serving import restore


def test_hooks_are_registered_where_a_snapshot_is_to_come(application):
    snapshots = pytest.importorskip("snapshot_restore_py")
    assert not restore.register(application, {})
    assert restore.register(application, {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    try:
        assert snapshots.get_before_snapshot()[-1][0] is restore.before_snapshot
        assert snapshots.get_after_restore()[-1][:2] == (restore.after_restore, (application,))
    finally:
        snapshots.get_before_snapshot().pop()
        snapshots.get_after_restore().pop()


def test_a_restored_process_begins_its_metrics_anew(application):
    application.kernels = lambda: library().isa
    application.metrics.started -= 1000
    restore.after_restore(application, cpu_flags=cpu_flags)
    assert application.metrics.uptime_seconds() < 100


def test_a_cpu_that_lacks_what_the_library_needs_is_refused(application):
    application.kernels = lambda: library().isa
    with pytest.raises(UnsupportedError, match="this CPU, which lacks"):
        restore.after_restore(application, cpu_flags=lambda: frozenset(("fpu",)))
