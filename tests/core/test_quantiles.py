"""Quantiles, compared with those of a sorted list."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.core import quantiles
from queuectl.core.quantiles import Sample, quantile

_NUMBERS = st.one_of(
    st.floats(allow_nan=False),
    st.sampled_from([0.0, 1.0, 2.5, 1e-300, 1e300, float("inf"), -float("inf")]),
    st.integers(0, 5).map(float),
)


@given(
    samples=st.lists(st.lists(_NUMBERS, max_size=40), max_size=4),
    share=st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0]),
    size=st.integers(1, 9),
)
def test_a_quantile_is_that_of_the_sorted_numbers(
    samples: list[list[float]], share: float, size: int
) -> None:
    """Whatever the numbers are, and into how many sorted parts they are divided."""
    ordered = sorted(number for numbers in samples for number in numbers)
    expected = ordered[max(1, math.ceil(share * len(ordered))) - 1] if ordered else None

    before, quantiles._PART = quantiles._PART, size
    try:
        assert quantile([Sample(numbers) for numbers in samples], share) == expected
    finally:
        quantiles._PART = before


@pytest.mark.parametrize(
    ("numbers", "median", "high", "most"),
    [([3.0], 3, 3, 3), ([2.0, 1.0], 1, 2, 2), ([float(n) for n in range(1, 101)], 50, 95, 100)],
)
def test_examples(numbers: list[float], median: float, high: float, most: float) -> None:
    """The median of two numbers is the smaller one: each quantile is one of the numbers."""
    sample = Sample(numbers)

    assert [quantile([sample], share) for share in (0.5, 0.95, 1.0)] == [median, high, most]


def test_numbers_are_kept_in_eight_bytes() -> None:
    """Ten million of them take 80 MB."""
    sample = Sample()
    for number in range(1000):
        sample.numbers.append(number)

    assert sample.numbers.itemsize == 8
    assert quantile([sample], 0.5) == 499.0
