"""Instants of the tests: time is passed in, and goes on only when it is told to."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


class Clock:
    """A time that goes on only when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)

    def tick(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


def noon(seconds: int) -> datetime:
    """Return an instant so many seconds after a certain noon."""
    return datetime(2026, 1, 31, 12, tzinfo=timezone.utc) + timedelta(seconds=seconds)


def later(now, seconds):
    """That many seconds after an instant."""
    return now + timedelta(seconds=seconds)
