"""Counters and latency histograms of one process. It does not know how they are written out."""

from __future__ import annotations

import time
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BUCKETS_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Histogram:
    """How many observations fell at or under each bucket's bound; the last count is past all of them."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_SECONDS) + 1)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        position = 0
        for bound in BUCKETS_SECONDS:
            if seconds <= bound:
                break
            position += 1
        self.counts[position] += 1
        self.total_seconds += seconds


class Metrics:
    """What this process has answered. Safe to record into from several threads; times are in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = allocate_lock()
        self.started = clock()
        self.n_requests = 0
        self.n_failed = 0
        self.n_tokens = 0
        self.n_cold_starts = 0
        self.latency_seconds = 0.0
        self.inference_seconds = 0.0
        self.histograms: dict[tuple[str, str], Histogram] = {}

    def uptime_seconds(self) -> float:
        return self._clock() - self.started

    def observe_request(self, *, route: str, model: str, is_failed: bool, is_cold_start: bool, seconds: float) -> None:
        """Count one answered request. `route` and `model` come from our tables, never from the caller."""
        with self._lock:
            self.n_requests += 1
            self.n_failed += is_failed
            self.n_cold_starts += is_cold_start
            self.latency_seconds += seconds
            histogram = self.histograms.get((route, model))
            if histogram is None:
                histogram = self.histograms[(route, model)] = Histogram()
            histogram.observe(seconds)

    def observe_inference(self, seconds: float, *, n_tokens: int = 0) -> None:
        """Count time spent inside a model, and the tokens it generated."""
        with self._lock:
            self.inference_seconds += seconds
            self.n_tokens += n_tokens
