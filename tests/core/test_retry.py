"""What becomes of a job after an attempt, and when it is retried."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from queuectl.core.models import Job, Outcome, OutcomeKind, Verdict
from queuectl.core.retry import backoff_seconds, corrected_retry, decide
from queuectl.core.settings import effective
from queuectl.core.states import JobState
from queuectl.core.times import MAX_DURATION

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
FAILURES = [
    OutcomeKind.EXIT,
    OutcomeKind.SIGNAL,
    OutcomeKind.TIMEOUT,
    OutcomeKind.LOST,
    OutcomeKind.SPAWN_ERROR,
]


def policy(**keys):
    return effective(tuple((name.replace("_", "-"), text) for name, text in sorted(keys.items())))


def job(attempts, max_retries, interruptions=0, **fields):
    return Job(
        seq=1, id="a", command="false", state=JobState.PROCESSING, queue="default", label=None,
        priority=0, attempts=attempts, interruptions=interruptions,
        max_retries=max_retries,
        timeout=300.0, run_at=None,
        created_at=NOW, updated_at=NOW, finished_at=None, locked_by="w1", locked_at=NOW, cwd=None,
        env={}, unique_key=None, exit_code=None, signal=None, last_error=None,
        cancel_requested=False, cancel_reason=None, id_made=False, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("attempt", "delay"), [(1, 2), (2, 4), (3, 8), (10, 1024), (11, 2048), (12, 3600), (13, 3600)]
)
def test_the_delay_doubles_up_to_its_limit(attempt, delay):
    """Retry n comes after base ** n seconds, but after an hour at most."""
    assert backoff_seconds(attempt, policy(), chance=0.5) == pytest.approx(delay)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_the_delay_varies_by_a_tenth(chance, share):
    """The jitter makes a delay shorter or longer, even at its limit."""
    assert backoff_seconds(1, policy(), chance=chance) == pytest.approx(2 * share)
    assert backoff_seconds(99, policy(), chance=chance) == pytest.approx(3600 * share)


@pytest.mark.parametrize("attempt", [310, 1024, 10_000, 1_000_000])
def test_a_high_attempt_does_not_overflow(attempt):
    """Prevents a bug: 2.0 ** 1024 raises OverflowError, and so does 1000.0 ** 103."""
    assert backoff_seconds(attempt, policy(), chance=0.5) == 3600
    assert backoff_seconds(attempt, policy(backoff_base="1000"), chance=0.5) == 3600


@pytest.mark.parametrize("attempt", [1, 7, 10_000])
def test_a_base_of_1_waits_a_second_each_time(attempt):
    """1 ** n is 1."""
    assert backoff_seconds(attempt, policy(backoff_base="1"), chance=0.5) == 1


@pytest.mark.parametrize("attempt", [1, 10_000])
def test_a_limit_of_0_retries_at_once(attempt):
    """No delay is longer than backoff-max."""
    assert backoff_seconds(attempt, policy(backoff_max="0"), chance=1.0) == 0


@pytest.mark.parametrize("seconds", [0.0, 60.0, 86400.0])
@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_job_with_a_delay_of_its_own_is_retried_after_exactly_that(seconds, attempts):
    """Neither the limit of the backoff nor its jitter applies, whatever the attempt."""
    outcome = Outcome(OutcomeKind.EXIT, exit_code=1, reason="exit 1")
    mine = job(attempts, 4, retry_delay=seconds)

    assert decide(mine, outcome, policy(backoff_max="10"), now=NOW, chance=1.0) == Verdict(
        JobState.FAILED, NOW + timedelta(seconds=seconds), "exit 1"
    )


@pytest.mark.parametrize(("attempts", "delay"), [(1, 60), (2, 3600), (3, 7200)])
def test_a_job_with_a_base_of_its_own_has_its_own_backoff(attempts, delay):
    """The limit of the backoff applies to it."""
    outcome = Outcome(OutcomeKind.EXIT, exit_code=1, reason="exit 1")
    mine = job(attempts, 4, backoff=60.0)

    verdict = decide(mine, outcome, policy(backoff_max="2h"), now=NOW, chance=0.5)
    assert verdict.run_at is not None
    assert (verdict.run_at - NOW).total_seconds() == pytest.approx(delay)


def test_a_job_with_a_delay_of_its_own_dies_after_its_last_attempt():
    """The delay changes when a job is retried, not how often."""
    outcome = Outcome(OutcomeKind.EXIT, exit_code=1, reason="exit 1")

    assert decide(job(3, 3, retry_delay=5.0), outcome, policy(), now=NOW, chance=0.5) == Verdict(
        JobState.DEAD, last_error="exit 1"
    )


def test_a_long_delay_of_a_job_is_corrected_after_a_wrong_clock():
    """It is longer than any delay of the backoff, but nobody chose the time by hand."""
    ahead = NOW + timedelta(days=400)
    run_at = ahead + timedelta(hours=12)

    assert corrected_retry(ahead, run_at, policy(), now=NOW) is None
    assert corrected_retry(ahead, run_at, policy(), 43200.0, now=NOW) == NOW + timedelta(hours=12)


def test_a_limit_below_a_second_is_kept():
    """backoff-max may be shorter than the first power of the base."""
    assert backoff_seconds(1, policy(backoff_max="500ms"), chance=0.5) == 0.5


@hypothesis_settings(deadline=None, max_examples=200, database=None)
@given(
    attempt=st.integers(1, 1_000_000),
    base=st.floats(1, 1000),
    longest=st.floats(0, MAX_DURATION),
    jitter=st.floats(0, 1),
    chance=st.floats(0, 1),
)
def test_every_delay_can_be_added_to_a_time(attempt, base, longest, jitter, chance):
    """Whatever is configured, a delay is a finite number of seconds, from 0 to ten years."""
    configured = policy(
        backoff_base=repr(base), backoff_max=f"{longest:.6f}", backoff_jitter=repr(jitter)
    )
    delay = backoff_seconds(attempt, configured, chance=chance)

    assert math.isfinite(delay)
    assert 0 <= delay <= MAX_DURATION
    assert NOW + timedelta(seconds=delay) >= NOW


def test_success_completes():
    """Exit 0 completes a job, even on its last attempt, and leaves no error."""
    ok = Outcome(OutcomeKind.OK, exit_code=0)

    assert decide(job(3, 3), ok, policy(), now=NOW, chance=0) == Verdict(JobState.COMPLETED)


def test_a_cancelled_attempt_is_never_retried():
    """A cancelled job is finished, even if it has attempts left."""
    cancelled = Outcome(OutcomeKind.CANCELLED, signal=15, reason="cancelled: not needed")

    assert decide(job(1, 3), cancelled, policy(), now=NOW, chance=0) == Verdict(
        JobState.CANCELLED, last_error="cancelled: not needed"
    )


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_waits_for_its_retry(kind):
    """Each kind of failure is retried after the usual delay while attempts are left."""
    outcome = Outcome(kind, reason="it failed")

    assert decide(job(1, 3), outcome, policy(), now=NOW, chance=0.5) == Verdict(
        JobState.FAILED, NOW + timedelta(seconds=2), "it failed"
    )
    assert decide(job(2, 3), outcome, policy(), now=NOW, chance=0.5) == Verdict(
        JobState.FAILED, NOW + timedelta(seconds=4), "it failed"
    )


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(("attempts", "max_retries"), [(1, 1), (3, 3), (4, 3)])
def test_the_last_failure_is_dead(kind, attempts, max_retries):
    """A job is started at most max_retries times; then it is in the DLQ, with the reason."""
    outcome = Outcome(kind, reason="it failed")

    assert decide(job(attempts, max_retries), outcome, policy(), now=NOW, chance=0.5) == Verdict(
        JobState.DEAD, last_error="it failed"
    )


def test_interrupted_attempts_have_an_end():
    """Two are put back at once, then others come first, and the tenth in a row is the last.

    Prevents a bug: a job that stopped its workers came back for ever, before all others.
    """
    interrupted = Outcome(OutcomeKind.INTERRUPTED, reason="interrupted")
    verdicts = [
        decide(job(1, 2, times), interrupted, policy(), now=NOW, chance=0.5) for times in range(10)
    ]
    delays = [one.run_at and round((one.run_at - NOW).total_seconds()) for one in verdicts]

    assert [one.state.value for one in verdicts] == ["pending"] * 2 + ["failed"] * 7 + ["dead"]
    assert delays == [None, None, 2, 4, 8, 16, 32, 64, 128, None]
    assert [one.last_error for one in verdicts[1:4]] == [
        None, "interrupted 3 times", "interrupted 4 times"
    ]  # fmt: skip
    assert verdicts[-1].last_error == "interrupted 10 times"


def test_a_job_that_is_put_back_for_a_reason_tells_it():
    """Such a job waits for a process that cannot be ended; the tenth time it is dead."""
    left = Outcome(OutcomeKind.INTERRUPTED, reason="process 7 of user 0 cannot be ended")
    verdicts = [decide(job(1, 2, n), left, policy(), now=NOW, chance=0.5) for n in (2, 9)]
    assert [(one.state, one.last_error) for one in verdicts] == [
        (JobState.FAILED, "put back 3 times: process 7 of user 0 cannot be ended"),
        (JobState.DEAD, "put back 10 times: process 7 of user 0 cannot be ended"),
    ]


@pytest.mark.parametrize(
    ("failed", "delay", "corrected"),
    [
        # Years ahead: the delay is kept, and counts from now.
        (5 * 365 * 86400, 8, 8),
        (120, 3600 * 1.1, 3600 * 1.1),
        (61, 0, 0),
        # The clock was right, or off by what it is adjusted by now and then.
        (60, 8, None),
        (0, 8, None),
        (-10, 3600, None),
        # No delay is so long: somebody chose the time.
        (5 * 365 * 86400, 3600 * 1.1 + 1, None),
        (5 * 365 * 86400, -1, None),
    ],
)
def test_a_retry_that_a_clock_which_was_ahead_has_set(failed, delay, corrected):
    """Regression: after a minute with a wrong clock, a retry was years away."""
    failed_at = NOW + timedelta(seconds=failed)
    found = corrected_retry(failed_at, failed_at + timedelta(seconds=delay), policy(), now=NOW)

    assert found == (None if corrected is None else NOW + timedelta(seconds=corrected))


def test_the_reason_for_a_release_is_kept():
    """An attempt that could not begin says why."""
    outcome = Outcome(OutcomeKind.INTERRUPTED, reason="process 7 cannot be ended")
    verdict = decide(job(1, 2, 9), outcome, policy(), now=NOW, chance=0.5)

    assert verdict == Verdict(
        JobState.DEAD, last_error="put back 10 times: process 7 cannot be ended"
    )
