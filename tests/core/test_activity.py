"""Histograms of durations, and quantiles of them."""

from __future__ import annotations

import pytest

from queuectl.core.activity import BOUNDS, BUCKETS, NO_DURATIONS, Tally, quantile


def histogram(**counts):
    """Return a histogram, given counts as `b0=3`."""
    return tuple(counts.get(f"b{number}", 0) for number in range(BUCKETS))


def test_without_durations_there_is_no_quantile():
    """That is no zero."""
    assert quantile(NO_DURATIONS, 0.5) is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({"b2": 10}, 1.0, 1.0),  # the upper bound of its bucket
        ({"b2": 10}, 0.5, (0.3 * 1.0) ** 0.5),  # the middle on a logarithmic scale
        ({"b0": 10}, 0.5, 0.05),  # the first bucket begins with zero
        ({"b0": 10}, 1.0, 0.1),
        ({"b2": 1, "b9": 1}, 0.5, 1.0),
        ({"b2": 1, "b9": 1}, 1.0, 3600.0),
        ({"b1": 90, "b7": 10}, 0.95, (60.0 * 300.0) ** 0.5),
        ({"b12": 5}, 0.5, BOUNDS[-1]),  # more than a day: how much more is not known
    ],
)
def test_a_quantile_lies_within_its_bucket(counts, share, expected):
    """It is interpolated there."""
    assert quantile(histogram(**counts), share) == pytest.approx(expected)


def test_tallies_are_added_up():
    """Each number of one to the same number of the other."""
    one = Tally("q", "ok", 2, 1.5, 0.5, 3.0, histogram(b0=1, b3=1), histogram(b4=2))
    other = Tally("q", "ok", 1, 0.25, 0.25, 1.0, histogram(b3=1), histogram(b12=1))

    assert one.plus(other) == Tally(
        "q", "ok", 3, 1.75, 0.75, 4.0, histogram(b0=1, b3=2), histogram(b4=2, b12=1)
    )
