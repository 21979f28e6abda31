"""Exact quantiles of many numbers in little memory."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from math import ceil
from typing import Iterable, Sequence

_PART = 1 << 16
"""How many numbers are sorted at a time: a list of them takes 2 MB, an array a quarter of that."""


class Sample:
    """Numbers whose quantiles are wanted; they take 8 bytes each."""

    __slots__ = ("_are_sorted", "numbers")

    def __init__(self, numbers: Iterable[float] = ()) -> None:
        self.numbers = array("d", numbers)
        """Numbers are added to this, until the first quantile is asked for."""
        self._are_sorted = False

    def parts(self) -> list[Sequence[float]]:
        """Return all numbers in sorted parts."""
        numbers = self.numbers
        starts = range(0, len(numbers), _PART)
        if not self._are_sorted:
            for start in starts:
                numbers[start : start + _PART] = array("d", sorted(numbers[start : start + _PART]))
            self._are_sorted = True
        whole = memoryview(numbers)
        return [whole[start : start + _PART] for start in starts]


def quantile(samples: Iterable[Sample], share: float) -> float | None:
    """Return the smallest number that at least this share of all numbers does not exceed.

    With 0.5 that is the median, with 1 the maximum. None if there are no numbers.
    """
    parts = [part for sample in samples for part in sample.parts()]
    count = sum(map(len, parts))
    if not count:
        return None
    rank = max(1, ceil(share * count))
    low, high = min(part[0] for part in parts), max(part[-1] for part in parts)
    # Both are numbers of the sample. Each turn excludes at least one of them, mostly half of the
    # numbers between them.
    while low < high:
        middle = low + (high - low) / 2
        if not low <= middle < high:
            middle = low  # there is no other number between them, or their distance is infinite
        ends = [bisect_right(part, middle) for part in parts]
        if sum(ends) >= rank:
            high = max(part[end - 1] for part, end in zip(parts, ends) if end)
        else:
            low = min(part[end] for part, end in zip(parts, ends) if end < len(part))
    return low
