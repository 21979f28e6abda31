"""Times and durations as people read them: local times, distances from now, spans."""

from __future__ import annotations

from datetime import datetime

from queuectl.core.times import to_text

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SOON_SECONDS = 3600


def local(instant: datetime) -> str:
    """Return an instant as the local clock shows it: `2026-11-28 07:29:02`."""
    return _on_the_clock(instant, "%Y-%m-%d %H:%M:%S")


def distance(instant: datetime, *, now: datetime) -> str:
    """Return how far an instant is from now: `3 min ago`, `in 2 h`."""
    seconds = (now - instant).total_seconds()
    return f"in {_in_one_unit(-seconds)}" if seconds < 0 else f"{_in_one_unit(seconds)} ago"


def _in_one_unit(seconds: float) -> str:
    unit, length = next((each for each in _UNITS if seconds >= each[1]), _UNITS[-1])
    return f"{int(seconds / length)} {unit}"


def local_with_distance(instant: datetime, *, now: datetime) -> str:
    """Return `2026-11-28 07:29:02 (3 min ago)`."""
    return f"{local(instant)} ({distance(instant, now=now)})"


def upcoming(instant: datetime, *, now: datetime, short: bool = False) -> str:
    """Return when something will happen: `in 4 s`, `at 23:59`, `at 2026-11-29 03:00`, or `now`.

    Within the next hour that is the distance, later the local time, with the date if it is not
    today's. The `short` form of a date lacks the year if it is this one, else the time of the day:
    `at 11-29 03:00`, `on 2027-01-01`.
    """
    seconds = (instant - now).total_seconds()
    if seconds <= 0:
        return "now"
    if seconds < _SOON_SECONDS:
        return distance(instant, now=now)
    today = _on_the_clock(now, "%Y-%m-%d ")
    at = _on_the_clock(instant, "%Y-%m-%d %H:%M")
    if at.startswith(today):
        return f"at {at[len(today) :]}"
    if not short:
        return f"at {at}"
    return f"at {at[5:]}" if at.startswith(today[:5]) else f"on {at[:10]}"


def lasted(since: datetime, *, now: datetime) -> str:
    """Return how long something has been going on: `12 min`, `0 s` if it begins later."""
    return span(int(max(0.0, (now - since).total_seconds())))


def lasting(since: datetime, *, now: datetime) -> str:
    """Return the same as a part of a sentence: `for 12 min`."""
    return f"for {lasted(since, now=now)}"


def lasting_in_short(since: datetime, *, now: datetime) -> str:
    """Return the same in the largest unit: `for 9 min` also after 9 min 50 s."""
    return f"for {_in_one_unit(max(0.0, (now - since).total_seconds()))}"


def span(seconds: float) -> str:
    """Return a measured time: `0.25 s`, `42 s`, `2 min 05 s`, `12 min`, `1 h 05 min`, `2 d 03 h`.

    (Durations that users set, such as a timeout, are written as users type them: `format_duration`
    in `core/times.py`.)
    """
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds != int(seconds) else f"{int(seconds)} s"
    rest = int(seconds)
    if rest < 60:
        return f"{rest} s"
    if rest < 600:
        return f"{rest // 60} min {rest % 60:02} s"
    if rest < 3600:
        return f"{rest // 60} min"
    if rest < 86400:
        return f"{rest // 3600} h {rest % 3600 // 60:02} min"
    return f"{rest // 86400} d {rest % 86400 // 3600:02} h"


def _on_the_clock(instant: datetime, form: str) -> str:
    try:
        return f"{instant.astimezone():{form}}"
    except (ValueError, OverflowError):  # the local calendar ends in 9999
        return to_text(instant)
