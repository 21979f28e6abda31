"""Instants that tests choose and pass as `now`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


class Clock:
    """A time that advances only by `tick`."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)

    def tick(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


def noon(seconds: int) -> datetime:
    """Return the instant that many seconds after a fixed noon."""
    return datetime(2026, 1, 31, 12, tzinfo=timezone.utc) + timedelta(seconds=seconds)


def later(now, seconds):
    """That many seconds after an instant."""
    return now + timedelta(seconds=seconds)
