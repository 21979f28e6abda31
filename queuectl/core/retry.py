"""The retry policy: what becomes of a job after an attempt. It has no clock and does no I/O."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from queuectl.core.models import Job, Outcome, OutcomeKind, Verdict
from queuectl.core.settings import Settings
from queuectl.core.states import JobState
from queuectl.core.times import MAX_DURATION

CLOCK_TOLERANCE = timedelta(minutes=1)
"""A time in the future, by more than this, was written while the clock was ahead."""

MAX_INTERRUPTIONS = 10
"""The number of interrupted attempts in a row that makes a job dead."""

COMPLETED = Verdict(JobState.COMPLETED)
"""The verdict on each job whose command exited with 0."""

_RELEASED_AT_ONCE = 2
"""After more interrupted attempts in a row a job waits, so that others come first."""


def decide(
    job: Job, outcome: Outcome, policy: Settings, *, now: datetime, chance: float
) -> Verdict:
    """Return what becomes of a job after an attempt, which `job.attempts` already counts.

    `chance` is a random number from 0 to 1 for the jitter. The verdict on an interrupted attempt
    tells how its job is released.
    """
    if outcome.kind is OutcomeKind.INTERRUPTED:
        return _after_interruption(job, outcome, policy, now=now, chance=chance)
    if outcome.kind is OutcomeKind.OK:
        return COMPLETED
    if outcome.kind is OutcomeKind.CANCELLED:
        return Verdict(JobState.CANCELLED, last_error=outcome.reason)
    if job.attempts >= job.max_retries:
        return Verdict(JobState.DEAD, last_error=outcome.reason)
    delay = _retry_seconds(job, policy, chance=chance)
    return Verdict(JobState.FAILED, now + timedelta(seconds=delay), outcome.reason)


def _after_interruption(
    job: Job, outcome: Outcome, policy: Settings, *, now: datetime, chance: float
) -> Verdict:
    """Return how a job is released, which `job.interruptions` does not count yet.

    Such an attempt does not count for max-retries. Without bounds of its own, a job that stops its
    workers, or that always takes longer than they live, would come back first and for ever.
    """
    times = job.interruptions + 1
    if times <= _RELEASED_AT_ONCE:
        return Verdict(JobState.PENDING)
    why = f"interrupted {times} times"
    if outcome.reason not in (None, "interrupted"):
        why = f"put back {times} times: {outcome.reason}"
    if times >= MAX_INTERRUPTIONS:
        return Verdict(JobState.DEAD, last_error=why)
    delay = backoff_seconds(times - _RELEASED_AT_ONCE, policy, chance=chance)
    return Verdict(JobState.FAILED, now + timedelta(seconds=delay), why)


def _retry_seconds(job: Job, policy: Settings, *, chance: float) -> float:
    """Return the delay before the next attempt of a job that has failed.

    A delay of its own is kept exactly: it is no part of the backoff, whose limit and jitter do not
    apply to it.
    """
    if job.retry_delay is not None:
        return job.retry_delay
    if job.backoff is not None:
        policy = policy._replace(backoff_base=job.backoff)
    return backoff_seconds(job.attempts, policy, chance=chance)


def backoff_seconds(attempt: int, policy: Settings, *, chance: float) -> float:
    """Return the delay after failed attempt n: min(backoff-base ** n, backoff-max).

    It varies at random by up to the share backoff-jitter, so that jobs which failed together are
    not retried together.
    """
    # Compare logarithms: 2.0 ** 1024 overflows.
    exponent = attempt * math.log(policy.backoff_base)
    longest = policy.backoff_max
    delay = longest if longest <= 0 or exponent >= math.log(longest) else math.exp(exponent)
    return min(delay * (1 + policy.backoff_jitter * (2 * chance - 1)), MAX_DURATION)


def corrected_retry(
    failed_at: datetime,
    run_at: datetime,
    policy: Settings,
    retry_delay: float | None = None,
    *,
    now: datetime,
) -> datetime | None:
    """Return when a failed job is to be retried if a clock that was ahead set its retry.

    `retry_delay` is that of the job.

    None if the clock was right then, or if somebody chose the time, which is later than any delay.
    """
    delay = run_at - failed_at
    longest = min(policy.backoff_max * (1 + policy.backoff_jitter), MAX_DURATION)
    longest = max(longest, retry_delay or 0)
    if failed_at <= now + CLOCK_TOLERANCE or not 0 <= delay.total_seconds() <= longest:
        return None
    return now + delay
