"""Figures of many attempts: how they ended, how long they waited and ran, what they used."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Sequence

from queuectl.core.models import OutcomeKind
from queuectl.core.named_tuples import NamedTuple

PARTS = 12
"""The number of equal parts into which the time of figures is divided."""

FAILED = frozenset(
    kind.value
    for kind in OutcomeKind
    if kind not in (OutcomeKind.OK, OutcomeKind.CANCELLED, OutcomeKind.INTERRUPTED)
)
"""The outcomes of attempts that failed."""


class Grouping(str, Enum):
    """The property by which attempts are grouped."""

    QUEUE = "queue"
    SCHEDULE = "schedule"
    PROGRAM = "program"
    COMMAND = "command"
    LABEL = "label"
    OUTCOME = "outcome"
    HOUR = "hour"
    DAY = "day"

    @property
    def is_time(self) -> bool:
        """Whether the groups follow each other in time."""
        return self in (Grouping.HOUR, Grouping.DAY)


class Spread(NamedTuple):
    """How the lengths of some spans are distributed, in seconds."""

    p50: float
    """The median: half of them are at most as long."""
    p95: float
    """95 % of them are at most as long."""
    max: float | None
    """The longest; None if that is not known."""


class Figures(NamedTuple):
    """The figures of some attempts that have ended."""

    runs: int = 0
    """The number of these attempts."""
    ok: int = 0
    """The number of those that exited with 0."""
    failed: int = 0
    """The number of those that failed. Cancelled and interrupted ones did neither."""
    dead: int = 0
    """The number of those after which their job was dead, and still is."""
    wait: Spread | None = None
    """The time from when an attempt could start to its start; None if it is known for none."""
    run: Spread | None = None
    """The time from start to end; None if it is known for none."""
    cpu_seconds: float = 0.0
    """The CPU time of all of them."""
    max_rss_bytes: int | None = None
    """The most memory that a process of one of them had; None if it is known for none."""
    series: Sequence[int] = ()
    """How many of them started in each of PARTS equal parts of the time."""

    @property
    def ok_share(self) -> float | None:
        """The share of those that exited with 0 among these and the failed ones."""
        ended = self.ok + self.failed
        return self.ok / ended if ended else None


class Group(NamedTuple):
    """Attempts that have something in common."""

    key: str | None
    """The value that they have in common; None for attempts without a label or a schedule."""
    figures: Figures
    """Their figures."""


class Summary(NamedTuple):
    """The figures of a time."""

    since: datetime
    """When it begins."""
    until: datetime
    """When it ends."""
    groups: Sequence[Group]
    """The groups: those with most attempts first, hours and days in their order."""
    left_out: int
    """How many groups are not among them."""
    total: Figures
    """The figures of all attempts, also of groups that were left out."""
    is_about: bool = False
    """Whether the figures come from kept counters, so that the spreads are approximate."""
