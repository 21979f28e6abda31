"""Schedules in words for people."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from queuectl.core.cron import Every, zone_of
from queuectl.core.schedule_words import planned_line

_AUTUMN = datetime(2026, 10, 25, tzinfo=timezone.utc)
"""02:00 in Berlin; from 03:00 on, which is 01:00 UTC, the clock shows that hour again."""


@pytest.mark.parametrize(
    ("hours", "due_hours", "zone", "line"),
    [
        (-1, -1, "Europe/Berlin", "Sun 2026-10-25 01:00 Europe/Berlin"),
        (0, 0, "Europe/Berlin", "Sun 2026-10-25 02:00 CEST Europe/Berlin"),
        (1, 1, "Europe/Berlin", "Sun 2026-10-25 02:00 CET Europe/Berlin"),
        (2, 2, "Europe/Berlin", "Sun 2026-10-25 03:00 Europe/Berlin"),
        (1, 1, None, "Sun 2026-10-25 02:00 CET"),
        (-1, 0.5, None, "Sun 2026-10-25 01:00 CEST, due 02:30:00 CEST"),
        (0.5, 1, "Europe/Berlin", "Sun 2026-10-25 02:30 CEST Europe/Berlin, due 02:00:00 CET"),
        (0.5, 3, "Europe/Berlin", "Sun 2026-10-25 02:30 CEST Europe/Berlin, due 04:00:00"),
    ],
)
def test_an_hour_that_the_clock_shows_twice(
    hours: float, due_hours: float, zone: str | None, line: str
) -> None:
    """Prevents: `schedule next` printed two equal lines for two different times."""
    pytest.importorskip("cronsim")  # with it come the time zones on Python 3.8
    times = Every(3600.0, _AUTUMN, zone_of("Europe/Berlin"))
    planned, due = (_AUTUMN + timedelta(hours=each) for each in (hours, due_hours))

    assert planned_line(planned, due, zone, times, now=due) == f"{line} (now)"
