"""A measurement: its name, its figures, and the function that takes it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Callable, Sequence, Union

Value = Union[float, str]


class Missing(Exception):
    """Something that a measurement needs is not on this machine; the text names it."""


@dataclass(frozen=True)
class Figure:
    """One number (or, with the unit `words`, one remark) that a measurement yields.

    `against` is the name of the figure by which the table divides it, if that was measured too.
    """

    name: str
    title: str
    unit: str
    against: str | None = None


@dataclass(frozen=True)
class Measurement:
    """Something to measure once per round, or, with `once`, in the first round only.

    `once` is for measurements that are slow and whose results hardly vary.
    """

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
    """Return a measurement of one figure with the same name."""
    figure = Figure(name, title, unit, against)
    return Measurement(name, (figure,), lambda: {name: take()}, once)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


def median(values: list[Value]) -> Value:
    """Return the median of the numbers; if there are none, the last remark."""
    numbers = [value for value in values if not isinstance(value, str)]
    return statistics.median(numbers) if numbers else values[-1]
