"""The findings of schedules and hooks; a part of `core/diagnosis.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Iterator

from queuectl.core.counts import and_more, counted
from queuectl.core.facts import Facts, HookFacts
from queuectl.core.findings import Finding, critical, warning
from queuectl.core.moments import distance, lasted, local
from queuectl.core.naming import quoted
from queuectl.core.states import JobState

MANY_FAILURES = 3
"""The number of failures of a hook in a row from which on they are a finding."""

_FEW = 3
"""If more schedules than this are late, they are one finding."""


def late(facts: Facts) -> Iterator[Finding]:
    """Find schedules whose next job has been due for longer than GRACE."""
    if not facts.schedules:
        return
    from queuectl.core.schedules import GRACE  # only here: it takes 2 ms

    found = [
        schedule
        for schedule in facts.schedules
        if schedule.due_at is not None
        and facts.now - schedule.due_at > GRACE
        and not schedule.is_paused
        and schedule.problem is None
    ]
    if facts.workers:
        cause, remedy = "every worker is busy", "queuectl schedule tick"
    else:
        cause, remedy = "no worker is running", "queuectl worker start"
    found.sort(key=lambda schedule: (schedule.due_at or facts.now, schedule.name))
    if len(found) > _FEW:
        many = f"{len(found):,} schedules are late"
        longest = f"{found[0].name} by {lasted(found[0].due_at or facts.now, now=facts.now)}"
        yield critical("schedule-late", f"{many}, {longest}: {cause}", remedy)
        return
    for schedule in found:
        late_by = lasted(schedule.due_at or facts.now, now=facts.now)
        message = f"The schedule {schedule.name} is {late_by} late: {cause}"
        yield critical("schedule-late", message, remedy)


def broken(facts: Facts) -> Iterator[Finding]:
    """Find schedules whose planned times cannot be computed."""
    found = [
        schedule for schedule in facts.schedules if schedule.problem and not schedule.is_paused
    ]
    for problem in dict.fromkeys(schedule.problem for schedule in found):
        same = [schedule for schedule in found if schedule.problem == problem]
        more = and_more(len(same) - 1)
        s, make = ("s", "make") if more else ("", "makes")
        message = f"The schedule{s} {same[0].name}{more} {make} no jobs: {problem}"
        yield critical("schedule-broken", message, same[0].remedy)


def disabled(facts: Facts) -> Iterator[Finding]:
    """Find hooks that send nothing any more."""
    for hook in facts.hooks:
        if hook.disabled_at is not None:
            reason = f": {hook.disabled_reason}" if hook.disabled_reason else ""
            yield critical(
                "hook-disabled",
                f"The hook {hook.name} was disabled {distance(hook.disabled_at, now=facts.now)}"
                f"{reason}",
                f"queuectl hook resume {quoted(hook.name)}",
                f"It has sent nothing since {local(hook.disabled_at)}",
            )


def overlapped(facts: Facts) -> Iterator[Finding]:
    """Find schedules that left out a planned time because the run before it has not ended."""
    for schedule in facts.schedules:
        if schedule.left_out is not None and schedule.unfinished is not None:
            run = schedule.unfinished.name
            yield warning(
                "overlapped",
                f"The schedule {schedule.name} left out {local(schedule.left_out)}, because its "
                f"run {run} has not ended",
                f"queuectl show {quoted(run)}",
            )


def failing_schedules(facts: Facts) -> Iterator[Finding]:
    """Find schedules whose last run died."""
    for schedule in facts.schedules:
        run = schedule.last_ended
        if run is not None and run.state is JobState.DEAD:
            when = "" if run.ended_at is None else f" {distance(run.ended_at, now=facts.now)}"
            reason = f": {run.reason}" if run.reason else ""
            yield warning(
                "schedule-failing",
                f"The last run of the schedule {schedule.name}, {run.name}, died{when}{reason}",
                f"queuectl show {quoted(run.name)}",
            )


def failing_hooks(facts: Facts) -> Iterator[Finding]:
    """Find hooks that fail again and again."""
    for hook in facts.hooks:
        if hook.disabled_at is None and not hook.is_paused:
            yield from _failing_hook(hook, facts.now)


def _failing_hook(hook: HookFacts, now: datetime) -> Iterator[Finding]:
    named = f"the hook {hook.name}" if hook.is_rule else f"{hook.name} hooks"
    remedy = f"queuectl hook show {quoted(hook.name)}"
    if not hook.is_rule:
        remedy = f"queuectl dlq list --queue {quoted(hook.lane or '')}"
    if hook.failures >= MANY_FAILURES:
        when = "" if hook.last_at is None else f", the last time {distance(hook.last_at, now=now)}"
        result = f": {hook.last_result}" if hook.last_result else ""
        message = f"The hook {hook.name} has failed {hook.failures:,} times in a row{when}{result}"
        yield warning("hook-failing", message, remedy)
    elif hook.dead_jobs:
        jobs = counted(hook.dead_jobs, "job")
        yield warning("hook-failing", f"{jobs} of {named} died in the last hour", remedy)
