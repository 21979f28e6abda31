"""Times in texts for people; on a terminal with their distance from now, or as that alone."""

from __future__ import annotations

from datetime import datetime

from queuectl.cli.output import on_terminal
from queuectl.core.moments import distance, local, local_with_distance


def relative_time(instant: datetime | None, *, now: datetime) -> str:
    """Return the distance from now on a terminal, the local time elsewhere, `-` for None."""
    if instant is None:
        return "-"
    return distance(instant, now=now) if on_terminal() else local(instant)


def local_time(instant: datetime, *, now: datetime) -> str:
    """Return the local time, on a terminal with its distance from now."""
    return local_with_distance(instant, now=now) if on_terminal() else local(instant)
