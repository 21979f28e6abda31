"""What is wrong with the queue, as pages show it: the findings of `status`, with links."""

from __future__ import annotations

import shlex
from datetime import datetime

from flask import g, url_for

from queuectl.core.diagnosis import all_is_well, diagnose
from queuectl.core.facts import Facts
from queuectl.core.findings import Finding, Severity
from queuectl.core.named_tuples import NamedTuple
from queuectl.web.guard import serving, storage


class Link(NamedTuple):
    """A page that shows more of a finding, or where it can be mended."""

    url: str
    text: str


class Shown(NamedTuple):
    """A finding as pages show it."""

    finding: Finding
    """The finding."""
    command: str | None
    """The command that mends it; None if there is none, or if a page does what it would do."""
    link: Link | None
    """A page; None if there is none."""

    @property
    def is_critical(self) -> bool:
        """Whether jobs do not run as they should."""
        return self.finding.severity is Severity.CRITICAL


class Diagnosis(NamedTuple):
    """What is known of the queue, and what is wrong with it."""

    facts: Facts
    findings: list[Shown]
    well: str
    """Why all is well, for the case that nothing was found."""


def diagnosis(*, now: datetime) -> Diagnosis:
    """Return what is wrong now. Pages of the same generation of the queue share the answer."""
    known = serving().kept
    key = g.get("generation"), "diagnosis"
    found = known.get(key)
    if not isinstance(found, Diagnosis):
        facts = storage().facts(now=now)
        found = Diagnosis(facts, [_shown(one) for one in diagnose(facts)], all_is_well(facts))
        known.clear()
        known[key] = found
    return found


def _shown(finding: Finding) -> Shown:
    words = shlex.split(finding.remedy or "")[1:]
    link = _link(words)
    is_only_looking = words[:1] == ["show"] or words[:2] in (["dlq", "list"], ["hook", "show"])
    return Shown(finding, None if link and is_only_looking else finding.remedy, link)


def _link(words: list[str]) -> Link | None:
    """Return the page that shows what a command of ours is about."""
    if len(words) == 2 and words[0] in ("show", "retry"):
        return Link(url_for("job.job", job=words[1]), "Show the job")
    if words[:2] == ["dlq", "list"]:
        return Link(url_for("dead.dead"), "Look at them")
    if words[:3] == ["list", "--state", "failed"]:
        return Link(url_for("jobs.jobs", q="state:failed"), "Look at them")
    if len(words) == 3 and words[0] == "hook":
        return Link(url_for("hooks.hook", name=words[2]), "Show the hook")
    if len(words) == 3 and words[0] == "schedule" and words[1] != "add":
        return Link(url_for("schedules.schedule", name=words[2]), "Show the schedule")
    if words[:1] == ["queue"]:
        return Link(url_for("queues.queues"), "Show the queues")
    if words[:2] in (["worker", "list"], ["worker", "scale"]):
        return Link(url_for("workers.workers"), "Show the workers")
    return None
