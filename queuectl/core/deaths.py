"""Dead jobs in groups: those that died in the same way are shown together."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Iterable

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.reasons import short_reason

_LONGEST = 200
# The parts in which two failures may differ that people take for the same.
_PARTICULAR = re.compile(
    r"0x[0-9a-fA-F]+"
    r"|\b[0-9a-fA-F]{8,}\b(?:-[0-9a-fA-F]{4,})*"
    r"|[0-9]+"
    r"|\"[^\"]*\"|'[^']*'|`[^`']*[`']|“[^”]*”|\u2018[^\u2019]*\u2019"
)


class Death(NamedTuple):
    """A dead job, as far as it tells why it died."""

    seq: int
    """The job."""
    id: str
    """Its id."""
    label: str | None
    """Its label; None if it has none."""
    command: str
    """Its command."""
    reason: str
    """Why it died, as its last attempt was recorded; empty if that is unknown."""
    last_line: str | None
    """The last line that it printed; None if it printed nothing."""
    died_at: datetime
    """When it died."""


class DeathGroup(NamedTuple):
    """Jobs that died in the same way."""

    key: str
    """The same text for all jobs that died in this way, also for those that die later."""
    reason: str
    """How the last of them ended, in few words: `exit 12`."""
    line: str | None
    """The last line that the last of them printed, if it tells why the job died; else None."""
    jobs: tuple[Death, ...]
    """The jobs, the one that died last first."""

    @property
    def first_at(self) -> datetime:
        """When the first of them died."""
        return self.jobs[-1].died_at

    @property
    def last_at(self) -> datetime:
        """When the last of them died."""
        return self.jobs[0].died_at


def group_key(reason: str, last_line: str | None) -> str:
    """Return the same key for jobs that died in the same way.

    It consists of how they ended, and of the last line that they printed: numbers and quoted words
    in it may differ. After a timeout or a signal that line says nothing.
    """
    short = short_reason(reason) or "unknown"
    if not short.startswith("exit ") or last_line is None:
        return short
    return f"{short}: {_PARTICULAR.sub('#', last_line)[:_LONGEST]}"


def in_groups(deaths: Iterable[Death]) -> list[DeathGroup]:
    """Return deaths, the last one first, in groups: the largest first, then the latest."""
    found: dict[str, list[Death]] = {}
    for death in deaths:
        found.setdefault(group_key(death.reason, death.last_line), []).append(death)
    groups = []
    for key, jobs in found.items():
        reason = short_reason(jobs[0].reason) or "unknown"
        line = jobs[0].last_line if key != reason else None
        groups.append(DeathGroup(key, reason, line, tuple(jobs)))
    return sorted(groups, key=lambda group: (-len(group.jobs), -group.last_at.timestamp()))
