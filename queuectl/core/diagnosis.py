"""The findings of a queue: what is wrong, in words, each with the command that fixes it.

A finding is a matter of severity first, then of the order in which `diagnose` looks.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Iterable, Iterator, Mapping, Sequence

from queuectl.core import rule_findings
from queuectl.core.batches import is_batch, owner_of, serves, start_command
from queuectl.core.counts import and_more, counted
from queuectl.core.estimates import about
from queuectl.core.facts import (
    BEHIND_AFTER,
    MANY_RETRIES,
    OVERRUN_AFTER,
    TREND_MINUTES,
    Facts,
    QueueFacts,
    Reason,
    RunningFacts,
)
from queuectl.core.findings import Finding, Severity, critical, warning
from queuectl.core.moments import distance, lasted, lasting, span
from queuectl.core.naming import quoted
from queuectl.core.sizes import size
from queuectl.core.states import JobState

UNSERVED_AFTER = timedelta(seconds=60)
"""A queue that no worker serves is a finding when a job has waited for this long: until then, cron
may still start a worker."""
OVERRUN_TIMES = 3
"""A job takes unusually long if it has run more than this many times as long as others."""
MANY_DEATHS = 5
"""The number of deaths within an hour from which on they are critical."""
DEATH_SHARE = 0.2
"""Fewer deaths are critical, too, if more than this share of the jobs that ended then died."""
LITTLE_SPACE = 64 << 20
LITTLE_SHARE = 0.01
"""Less free space than either of these, in bytes or as a share of the disk, is critical."""
CLOCK_TOLERANCE = timedelta(minutes=5)
"""A change that lies further in the future than this shows that the clock was set back."""

_FEW, _MOST_OF_A_KIND = 3, 5
"""If more findings than the second number have the same code, only the first few are shown."""
_MORE: Mapping[str, tuple[str, str]] = {
    "not-served": ("queues are not served", "queuectl queue list"),
    "schedule-broken": ("schedules make no jobs", "queuectl schedule list"),
    "hook-disabled": ("hooks are disabled", "queuectl hook list"),
    "paused": ("queues are paused", "queuectl queue list"),
    "limit": ("queues wait because of their limit", "queuectl queue list"),
    "behind": ("queues are behind", "queuectl queue list"),
    "overrun": ("jobs take much longer than usual", "queuectl list --state processing"),
    "overlapped": ("schedules left out a planned time", "queuectl schedule list"),
    "schedule-failing": ("schedules had a last run that died", "queuectl schedule list"),
    "hook-failing": ("hooks fail", "queuectl hook list"),
}
"""For each code, the words for findings that are left out, and the command that lists them."""

_STOPPED = re.compile(r"stopped \((kill -CONT \d+)\)\Z")


def diagnose(facts: Facts) -> list[Finding]:
    """Return the findings, the worst first."""
    found = [finding for look in LOOKS for finding in _not_too_many(list(look(facts)))]
    return sorted(found, key=lambda finding: finding.severity is not Severity.CRITICAL)


def _not_too_many(found: list[Finding]) -> list[Finding]:
    """Return the findings of one kind; the last ones of many are replaced by their number."""
    if len(found) <= _MOST_OF_A_KIND:
        return found
    rest = found[_FEW:]
    what, remedy = _MORE[rest[0].code]
    more = Finding(rest[0].code, rest[0].severity, f"{len(rest):,} more {what}", None, remedy)
    return [*found[:_FEW], more]


def all_is_well(facts: Facts) -> str:
    """Return why it can be said that all is well: how many workers live, the longest wait …"""
    waits = [queue.ready_since for queue in facts.queues if queue.ready_since is not None]
    said = [f"{counted(len(facts.workers), 'worker', 'is', 'are')} running"]
    if waits:
        said.append(f"nothing has waited longer than {lasted(min(waits), now=facts.now)}")
    else:
        said.append("nothing waits")
    if facts.last_death is None:
        said.append("no job is dead")
    else:
        said.append(f"the last job died {distance(facts.last_death, now=facts.now)}")
    return ", ".join(said)


def _waiting(queues: Iterable[QueueFacts], now: datetime) -> str:
    """Return `1,204 jobs wait, the oldest for 41 min`."""
    found = list(queues)
    count = sum(queue.ready for queue in found)
    oldest = min(queue.ready_since for queue in found if queue.ready_since is not None)
    if count == 1:
        return f"1 job has waited {lasting(oldest, now=now)}"
    return f"{count:,} jobs wait, the oldest {lasting(oldest, now=now)}"


def _has_waited(queue: QueueFacts, at_least: timedelta, now: datetime) -> bool:
    return queue.ready_since is not None and now - queue.ready_since >= at_least


def _no_worker(facts: Facts) -> Iterator[Finding]:
    ready = [queue for queue in facts.queues if queue.ready_since and not queue.status.paused]
    if ready and not facts.workers:
        yield critical(
            "no-worker",
            f"No worker is running: {_waiting(ready, facts.now)}",
            start_command([queue.status.name for queue in ready]),
        )


def _not_served(facts: Facts) -> Iterator[Finding]:
    if not facts.workers:
        return
    for queue in facts.queues:
        name = queue.status.name
        if (
            _has_waited(queue, UNSERVED_AFTER, facts.now)
            and not queue.status.paused
            and not any(serves(worker.queues, name) for worker in facts.workers)
        ):
            yield critical(
                "not-served",
                f"No worker serves the queue {name}: {_waiting([queue], facts.now)}",
                f"queuectl worker start --queue {quoted(owner_of(name))}",
            )


def _unattended(facts: Facts) -> Iterator[Finding]:
    count = facts.unattended
    if count and not facts.workers:
        lost = counted(count, "running job", "has lost its worker", "have lost their workers")
        yield critical(
            "unattended",
            lost,
            "queuectl worker start",
            "Until a worker recovers them, no end is recorded, and no timeout and cancel is "
            "carried out",
        )


def _held_up(facts: Facts) -> Iterator[Finding]:
    """Find workers that live but run no jobs; that is critical if no others serve a queue."""
    held_up = [worker for worker in facts.workers if worker.problem is not None]
    if not held_up:
        return
    able = [worker for worker in facts.workers if worker.problem is None]
    is_critical = any(
        queue.ready
        and not queue.status.paused
        and not any(serves(worker.queues, queue.status.name) for worker in able)
        for queue in facts.queues
    )
    first, problem = held_up[0], held_up[0].problem or ""
    stopped = _STOPPED.match(problem)
    more = and_more(len(held_up) - 1)
    yield Finding(
        "held-up",
        Severity.CRITICAL if is_critical else Severity.WARNING,
        f"Worker {first.id} lives but runs no jobs{',' if more else ''}{more}: "
        + ("it is stopped" if stopped else problem),
        None,
        stopped[1] if stopped else "queuectl worker list",
    )


def _disk(facts: Facts) -> Iterator[Finding]:
    disk = facts.disk
    if disk is not None and disk.free_bytes < max(LITTLE_SPACE, LITTLE_SHARE * disk.total_bytes):
        yield critical(
            "disk",
            f"Only {size(disk.free_bytes)} are free on the disk of the queue",
            "queuectl prune --older-than 1d",  # workers have deleted what is older than `retention`
            disk.folder,
        )


def _deaths(facts: Facts) -> Iterator[Finding]:
    deaths = facts.deaths
    if deaths is None:
        return
    is_critical = deaths.jobs >= MANY_DEATHS or deaths.jobs > DEATH_SHARE * deaths.ended
    last = f"The last one was {deaths.last_name}, {distance(deaths.last_at, now=facts.now)}"
    yield Finding(
        "deaths",
        Severity.CRITICAL if is_critical else Severity.WARNING,
        f"{counted(deaths.jobs, 'job')} died in the last hour"
        + _same_way(deaths.reason, deaths.jobs),
        last,
        "queuectl dlq list --since 1h",
    )


def _same_way(reason: Reason, jobs: int) -> str:
    """Return why most of some jobs failed, as the end of a sentence, given their number."""
    if jobs == 1:
        return f": {reason.text}"
    if reason.jobs == 1:
        return ", each in another way"
    if reason.jobs == jobs:
        return f", all in the same way: {reason.text}"
    if reason.among < jobs:
        return f", {reason.jobs:,} of the last {reason.among:,} in the same way: {reason.text}"
    return f", {reason.jobs:,} of them in the same way: {reason.text}"


def _paused(facts: Facts) -> Iterator[Finding]:
    held = [queue for queue in facts.queues if queue.ready and queue.status.paused]
    if held and facts.all_paused:
        yield warning(
            "paused",
            f"{_pause('All queues were', held[0], facts.now)}: {_wait(held)}",
            "queuectl queue resume",
        )
        return
    for queue in held:
        yield warning(
            "paused",
            f"{_pause(f'The queue {queue.status.name} was', queue, facts.now)}: {_wait([queue])}",
            f"queuectl queue resume {quoted(queue.status.name)}",
        )


def _pause(what: str, queue: QueueFacts, now: datetime) -> str:
    status = queue.status
    when = "" if status.paused_at is None else f" {distance(status.paused_at, now=now)}"
    by = f" by {status.paused_by}" if status.paused_by else ""
    return f"{what} paused{when}{by}" + (f' ("{status.pause_reason}")' * bool(status.pause_reason))


def _wait(queues: Sequence[QueueFacts]) -> str:
    return counted(sum(queue.ready for queue in queues), "job", "waits", "wait")


def _limited(facts: Facts) -> Iterator[Finding]:
    for queue in facts.queues:
        limit = queue.status.limit or 0
        if not _is_at_limit(queue) or not _has_waited(queue, BEHIND_AFTER, facts.now):
            continue
        assert queue.ready_since is not None
        if queue.status.paused or not facts.workers:
            continue
        name = queue.status.name
        waited = f"A job of the queue {name} has waited {lasting(queue.ready_since, now=facts.now)}"
        using = next((job for job in facts.running if job.queue == name), None)
        used = ""
        if using is not None:
            longest = "by" if limit == 1 else "for the longest time by"
            used = f" {longest} {using.name}, which has run {lasting(using.since, now=facts.now)}"
        yield warning(
            "limit",
            f"{waited}: the limit of {limit:,} is used up{used}",
            f"queuectl queue limit {quoted(name)} {limit + 1}",
        )


def _is_at_limit(queue: QueueFacts) -> bool:
    limit = queue.status.limit
    return limit is not None and queue.status.counts[JobState.PROCESSING] >= limit


def _behind(facts: Facts) -> Iterator[Finding]:
    """Find queues that are served, but too slowly. `run` shows how far a batch is."""
    able = [worker for worker in facts.workers if worker.problem is None]
    for queue in facts.queues:
        name = queue.status.name
        serving = [worker for worker in able if serves(worker.queues, name)]
        if (
            is_batch(name)
            or not _has_waited(queue, BEHIND_AFTER, facts.now)
            or queue.status.paused
            or _is_at_limit(queue)
            or not serving
        ):
            continue
        pools = {worker.supervisor for worker in facts.workers}
        pool = serving[0].supervisor
        size_now = sum(worker.supervisor == pool for worker in facts.workers)
        which = f" {pool}" if len(pools) > 1 else ""
        yield warning(
            "behind",
            f"The queue {name} is behind: {_waiting([queue], facts.now)}{_trend(queue)}",
            f"queuectl worker scale {size_now + 1}{which}",
        )


def _trend(queue: QueueFacts) -> str:
    came_in, ended = queue.came_in, queue.ended
    if not came_in and not ended:
        return ""
    if ended > came_in:
        seconds = queue.ready / (ended - came_in) * TREND_MINUTES * 60
        return f"; all will have started in {about(seconds)}"
    return f"; {_per_minute(came_in)} jobs come in per minute, and {_per_minute(ended)} end"


def _per_minute(count: int) -> str:
    many = count / TREND_MINUTES
    return f"{many:,.0f}" if many >= 9.95 or many == int(many) else f"{many:.1f}"


def _overrun(facts: Facts) -> Iterator[Finding]:
    for job in facts.running:
        if not _is_overrun(job, facts.now):
            continue
        ran = (facts.now - job.since).total_seconds()
        usual = max(job.usual_seconds or 0.0, 1.0)
        times = "more than 100" if ran > 100 * usual else f"{ran / usual:.0f}"
        name = quoted(job.name)
        yield warning(
            "overrun",
            f"{job.name} has run {lasting(job.since, now=facts.now)}, {times} times as long as "
            f"usual ({span(int(usual))})",
            f"queuectl show {name}",
            f"queuectl cancel {name} ends it",
        )


def _is_overrun(job: RunningFacts, now: datetime) -> bool:
    ran = now - job.since
    return (
        job.usual_seconds is not None
        and ran > OVERRUN_AFTER
        and ran.total_seconds() > OVERRUN_TIMES * job.usual_seconds
    )


def _blocked(facts: Facts) -> Iterator[Finding]:
    stuck = facts.stuck
    if stuck is not None:
        yield warning(
            "blocked",
            f"{counted(stuck.jobs, 'job', 'waits', 'wait')} for {stuck.need}, which is "
            f"{stuck.state.value}",
            f"queuectl retry {quoted(stuck.need)}",
        )


def _retries(facts: Facts) -> Iterator[Finding]:
    if facts.retries < MANY_RETRIES:
        return
    reason = facts.retry_reason
    same = ""
    if reason is not None and reason.jobs > 1:
        among = f"the next {reason.among:,}" if reason.among < facts.retries else "them"
        many = "all" if reason.jobs == facts.retries else f"{reason.jobs:,}"
        same = f", {many} of {among} after {reason.text}"
    yield warning(
        "retries",
        f"{facts.retries:,} jobs have failed and wait for another attempt{same}",
        "queuectl list --state failed",
    )


def _cut_short(facts: Facts) -> Iterator[Finding]:
    if facts.jobs_to_come:
        hidden = counted(facts.jobs_to_come, "job", "is", "are")
        yield warning(
            "cut-short",
            f"An enqueue was cut short: {hidden} stored, but not visible yet",
            "queuectl worker start",
        )


def _clock(facts: Facts) -> Iterator[Finding]:
    if facts.newest_change is not None and facts.newest_change - facts.now > CLOCK_TOLERANCE:
        ahead = span(int((facts.newest_change - facts.now).total_seconds()))
        change = f"the last change of a job lies {ahead} in the future"
        yield warning("clock", f"The clock was set back: {change}", None)


LOOKS = (
    _no_worker, _not_served, _unattended, _held_up, _disk, rule_findings.late,
    rule_findings.broken, _deaths, rule_findings.disabled, _paused, _limited, _behind, _overrun,
    rule_findings.overlapped, rule_findings.failing_schedules, rule_findings.failing_hooks,
    _blocked, _retries, _cut_short, _clock,
)  # fmt: skip
"""The functions that look for findings, in the order in which these are shown."""
