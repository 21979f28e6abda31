"""What one measurement is: what it is called, what it yields, and how it is taken."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Callable, Sequence, Union

Value = Union[float, str]


class Missing(Exception):
    """What is to be measured is not on this machine; the text says what, in a few words."""


@dataclass(frozen=True)
class Figure:
    """One number (or, with the unit `words`, one remark) that a measurement yields.

    `against` names the figure that it is divided by in the table, if that was measured too.
    """

    name: str
    title: str
    unit: str
    against: str | None = None


@dataclass(frozen=True)
class Measurement:
    """Something to do once a round. `once` marks what is slow and steady: the first round only."""

    name: str
    figures: tuple[Figure, ...]
    take: Callable[[], dict[str, Value]]
    once: bool = False


def single(
    name: str,
    title: str,
    unit: str,
    take: Callable[[], Value],
    *,
    against: str | None = None,
    once: bool = False,
) -> Measurement:
    """Make the usual measurement: of one figure, which has its name."""
    figure = Figure(name, title, unit, against)
    return Measurement(name, (figure,), lambda: {name: take()}, once)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


def median(values: list[Value]) -> Value:
    """Return the middle one; of words, the last said."""
    numbers = [value for value in values if not isinstance(value, str)]
    return statistics.median(numbers) if numbers else values[-1]
