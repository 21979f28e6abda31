"""Retries whose time was set by a clock that was ahead."""

from __future__ import annotations

from queuectl.core.states import JobState
from queuectl.storage.retries import Retry
from support.clock import later
from support.outcomes import EXIT_1, retry_at
from support.rows import add

_YEAR = 365 * 86400


def fail(storage, clock, job_id, now):
    """Fail the next job, as if the clock had shown `now` then; its retry is 8 s later."""
    claim = storage.claim("w1", now=clock.now)
    assert claim.job.id == job_id
    storage.record(claim, EXIT_1, retry_at(later(now, 8)), now=now)


def test_only_jobs_that_failed_after_the_time_are_found(storage, clock):
    """Neither one that failed before and is retried later, nor one that waits for its time."""
    ahead = later(clock.now, _YEAR)
    add(storage, clock.now, "before", "chosen", "ahead", "more")
    add(storage, ahead, "scheduled", run_at=later(ahead, 60))
    fail(storage, clock, "before", clock.now)
    fail(storage, clock, "chosen", clock.now)
    storage.edit(storage.get("chosen"), {"run_at": later(ahead, 9)}, now=clock.now)
    fail(storage, clock, "ahead", later(ahead, 1))
    fail(storage, clock, "more", ahead)

    found = storage.retries_after(later(clock.now, 60))
    assert found == [
        Retry(storage.get("more").seq, ahead, later(ahead, 8)),
        Retry(storage.get("ahead").seq, later(ahead, 1), later(ahead, 9)),
    ]


def test_a_retry_is_moved_once(storage, clock):
    """The job is claimed when the new time has come. Another move of the old time does nothing."""
    ahead = later(clock.now, _YEAR)
    add(storage, clock.now, "a")
    fail(storage, clock, "a", ahead)
    [found] = storage.retries_after(clock.now)

    assert storage.move_retry(found, later(clock.now, 8), now=clock.now)
    assert not storage.move_retry(found, later(clock.now, 99), now=clock.now)
    job = storage.get("a")
    assert (job.state, job.run_at, job.updated_at) == (
        JobState.FAILED, later(clock.now, 8), clock.now,
    )  # fmt: skip
    assert storage.claim("w1", now=later(clock.now, 7)) is None
    assert storage.claim("w1", now=later(clock.now, 8)).job.id == "a"
