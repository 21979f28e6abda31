"""Times in texts for people; on a terminal with their distance from now, or as that alone."""

from __future__ import annotations

from datetime import datetime

from queuectl.cli.output import on_terminal
from queuectl.core.moments import distance, local, local_with_distance
from queuectl.core.times import format_duration


def relative_time(instant: datetime | None, *, now: datetime) -> str:
    """Return the distance from now on a terminal, the local time elsewhere, `-` for None."""
    if instant is None:
        return "-"
    return distance(instant, now=now) if on_terminal() else local(instant)


def local_time(instant: datetime, *, now: datetime) -> str:
    """Return the local time, on a terminal with its distance from now."""
    return local_with_distance(instant, now=now) if on_terminal() else local(instant)


def own_retries(retry_delay: float | None, backoff: float | None) -> str | None:
    """Return when a job is retried, in words; None if the configuration decides that."""
    if retry_delay is not None:
        return f"{format_duration(retry_delay)} after each failure"
    return None if backoff is None else f"{backoff:g}**n seconds after failure n"
