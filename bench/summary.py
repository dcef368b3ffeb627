"""What a set of timings says, and how sure it is. It does not know what was timed.

Intervals are percentile bootstraps of the median with a fixed seed, so that a stored result always gives the
same table. Ratios resample whole rounds: contenders that ran in turn share the machine's moods.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

N_RESAMPLES = 1000
CONFIDENCE = 0.95
UNSTABLE_SPREAD = 0.05
"""A median absolute deviation over this part of the median makes a result unstable."""

_SEED = 20_17


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the bootstrap interval around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Timings in the unit they were given in. `spread` is the median absolute deviation over the median."""

    n: int
    least: float
    median: Interval
    p95: float
    spread: float

    @property
    def is_unstable(self) -> bool:
        """Whether the samples scatter too widely for the median to be leaned on."""
        return self.spread > UNSTABLE_SPREAD


def percentile(samples: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the samples lie, interpolated between neighbours."""
    if not samples:
        raise ValueError("a percentile needs at least one sample")
    if not 0.0 <= part <= 1.0:
        raise ValueError(f"part must be in [0, 1], got {part}")
    ordered = sorted(samples)
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _bootstrap(n: int, statistic: Callable[[list[int]], float]) -> tuple[float, float]:
    """The interval of `statistic` over resampled indices of `n` samples."""
    generator = random.Random(_SEED)
    indices = range(n)
    values = [statistic(generator.choices(indices, k=n)) for _ in range(N_RESAMPLES)]
    tail = (1.0 - CONFIDENCE) / 2.0
    return percentile(values, tail), percentile(values, 1.0 - tail)


def summarise(samples: Sequence[float]) -> Summary:
    """The summary of at least one sample."""
    middle = percentile(samples, 0.5)
    low, high = _bootstrap(len(samples), lambda chosen: median([samples[i] for i in chosen]))
    deviation = median([abs(sample - middle) for sample in samples])
    return Summary(
        n=len(samples),
        least=min(samples),
        median=Interval(middle, low, high),
        p95=percentile(samples, 0.95),
        spread=deviation / middle if middle else 0.0,
    )


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """Median over median. The two hold one sample per round, in the same order of rounds."""
    if len(numerator) != len(denominator):
        raise ValueError(f"rounds must match: {len(numerator)} samples against {len(denominator)}")

    def of_rounds(chosen: list[int]) -> float:
        return median([numerator[i] for i in chosen]) / median([denominator[i] for i in chosen])

    low, high = _bootstrap(len(numerator), of_rounds)
    return Interval(percentile(numerator, 0.5) / percentile(denominator, 0.5), low, high)


def verdict(measured: Interval, limit: float, *, is_upper: bool) -> str:
    """Whether a ratio keeps to its limit: "met" or "missed" where the whole interval says so, else "unclear"."""
    low, high = (measured.low, measured.high) if is_upper else (-measured.high, -measured.low)
    bound = limit if is_upper else -limit
    if high <= bound:
        return "met"
    return "missed" if low > bound else "unclear"
