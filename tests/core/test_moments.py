"""How times look to people."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Iterator

import pytest

from queuectl.core import moments
from support.clock import noon

NOW = noon(0)


@pytest.fixture(autouse=True)
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time is five hours behind UTC, so NOW is 07:00:00."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "EST5")
        time.tzset()
        yield
    time.tzset()


def test_local_time() -> None:
    """Text has the local time without a fraction; a time that no clock shows is in UTC."""
    assert moments.local(NOW) == "2026-01-31 07:00:00"
    assert moments.local_with_distance(noon(-200), now=NOW) == "2026-01-31 06:56:40 (3 min ago)"
    latest = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    assert moments.local(latest) == "9999-12-31 18:59:59"
    earliest = datetime(1, 1, 1, tzinfo=timezone.utc)
    assert moments.local(earliest) == "0001-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s ago"), (-59, "59 s ago"), (-60, "1 min ago"), (-7199, "1 h ago"),
        (-200000, "2 d ago"), (4, "in 4 s"), (3600, "in 1 h"),
    ],
)  # fmt: skip
def test_distance(seconds: int, expected: str) -> None:
    """One unit is enough, rounded down."""
    assert moments.distance(noon(seconds), now=NOW) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "now"), (0, "now"), (4, "in 4 s"), (3599, "in 59 min"), (3600, "at 08:00"),
        (16 * 3600 + 3540, "at 23:59"), (17 * 3600, "at 2026-02-01 00:00"),
    ],
)  # fmt: skip
def test_upcoming(seconds: int, expected: str) -> None:
    """Within an hour the distance is shown, later the time, with the date unless it is today."""
    assert moments.upcoming(noon(seconds), now=NOW) == expected


@pytest.mark.parametrize(
    ("days", "expected"), [(1, "at 02-01 07:00"), (334, "at 12-31 07:00"), (335, "on 2027-01-01")]
)
def test_upcoming_in_short(days: int, expected: str) -> None:
    """In a table this year goes without saying, and the time of the day in another year."""
    assert moments.upcoming(noon(days * 86400), now=NOW, short=True) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"), (0.25, "0.25 s"), (9, "9 s"), (42.7, "42 s"), (60, "1 min 00 s"),
        (125, "2 min 05 s"), (720, "12 min"), (3900, "1 h 05 min"), (183600, "2 d 03 h"),
    ],
)  # fmt: skip
def test_span(seconds: float, expected: str) -> None:
    """The longer it is, the less exact it is shown."""
    assert moments.span(seconds) == expected


def test_lasting() -> None:
    """Something runs for whole seconds; a clock that was set back makes no negative time."""
    assert moments.lasting(noon(-725), now=NOW) == "for 12 min"
    assert moments.lasting(noon(5), now=NOW) == "for 0 s"
