"""How instants look to people: by their distance on a terminal, in full elsewhere."""

from __future__ import annotations

from datetime import datetime

from queuectl.cli.output import on_terminal
from queuectl.core.times import to_text


def relative_time(instant: datetime | None, *, now: datetime) -> str:
    """Return `3 min ago` or `in 2 h` on a terminal, the full time elsewhere, `-` for None."""
    if instant is None:
        return "-"
    return _distance(instant, now) if on_terminal() else to_text(instant)


def local_time(instant: datetime, *, now: datetime) -> str:
    """Return the local time and its distance on a terminal, the full time elsewhere."""
    if not on_terminal():
        return to_text(instant)
    try:
        local = f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):  # the local calendar ends in 9999
        local = to_text(instant)
    return f"{local} ({_distance(instant, now)})"


def _distance(instant: datetime, now: datetime) -> str:
    seconds = (now - instant).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if abs(seconds) >= length or unit == "s":
            count = int(abs(seconds) / length)
            return f"in {count} {unit}" if seconds < 0 else f"{count} {unit} ago"
    raise AssertionError
