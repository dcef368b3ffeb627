"""The statistics of the benchmarks, on data whose answers are known."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.summary import Interval, percentile, ratio, summarise, verdict

TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("samples", "part", "expected"),
    [
        ([3.0], 0.95, 3.0),
        ([1, 2, 3, 4], 0.5, 2.5),
        ([4, 1, 3, 2], 0.0, 1),
        ([4, 1, 3, 2], 1.0, 4),
        ([0, 10], 0.95, 9.5),
    ],
)
def test_percentiles_are_interpolated(samples: list[float], part: float, expected: float) -> None:
    assert percentile(samples, part) == pytest.approx(expected)


@pytest.mark.parametrize(("samples", "part"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_a_percentile_of_nothing_or_outside_the_samples_is_refused(samples: list[float], part: float) -> None:
    with pytest.raises(ValueError, match=r"at least one|must be in"):
        percentile(samples, part)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(TIMES)
def test_the_interval_holds_the_median_and_stays_inside_the_samples(samples: list[float]) -> None:
    found = summarise(samples)
    assert found.median.value == pytest.approx(median(samples))
    assert min(samples) <= found.median.low <= found.median.high <= max(samples)
    assert found.least == min(samples)
    assert found.p95 <= max(samples)


def test_identical_samples_have_no_width() -> None:
    found = summarise([5.0] * 10)
    assert found.median == Interval(5.0, 5.0, 5.0)
    assert (found.spread, found.is_unstable) == (0.0, False)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    generator = random.Random(7)
    covered = 0
    for _ in range(40):
        found = summarise([generator.gauss(100.0, 5.0) for _ in range(30)]).median
        covered += found.low <= 100.0 <= found.high
    assert covered >= 34


def test_the_same_samples_give_the_same_interval() -> None:
    samples = [1.0, 2.0, 3.5, 2.5, 1.5, 9.0]
    assert summarise(samples) == summarise(samples)


@pytest.mark.parametrize(("scatter", "is_unstable"), [(0.02, False), (0.08, True)])
def test_scattered_samples_are_called_unstable(scatter: float, is_unstable: bool) -> None:
    samples = [100.0 * (1 + scatter * step) for step in (-1, 1, -1, 1, 0)]
    assert summarise(samples).is_unstable is is_unstable


def test_a_ratio_of_rounds_that_share_their_moods_is_sure_of_itself() -> None:
    moods = [1.0, 3.0, 1.5, 2.0, 5.0, 1.1, 2.5, 4.0]
    found = ratio([2.0 * mood for mood in moods], moods)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_a_ratio_of_unequal_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 samples against 1"):
        ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("low", "high", "limit", "is_upper", "expected"),
    [
        (1.0, 1.2, 1.25, True, "met"),
        (1.2, 1.25, 1.25, True, "met"),
        (1.2, 1.3, 1.25, True, "unclear"),
        (1.3, 1.4, 1.25, True, "missed"),
        (10.0, 12.0, 10.0, False, "met"),
        (9.0, 12.0, 10.0, False, "unclear"),
        (8.0, 9.0, 10.0, False, "missed"),
    ],
)
def test_a_verdict_needs_the_whole_interval(
    low: float, high: float, limit: float, is_upper: bool, expected: str
) -> None:
    assert verdict(Interval((low + high) / 2, low, high), limit, is_upper=is_upper) == expected
