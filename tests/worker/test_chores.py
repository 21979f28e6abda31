"""The chores of workers, which are done however many jobs there are; and logging errors once."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta

import pytest

from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from support.queue import Queue
from support.rows import sql
from support.waiting import wait_until


@pytest.fixture
def hurried(queue: Queue) -> dict[str, str]:
    """The environment of a pool whose chores are due soon, and done in small portions."""
    return queue.hooked(
        """
        from queuectl.worker import chores, loop as worker
        worker._chance = lambda: 0.0
        chores._COUNT_SECONDS = 0.1
        chores._PERIOD_SECONDS = float(os.environ['CHORE_SECONDS'])
        chores._MORE_SECONDS = 0.02
        chores.PRUNED_AT_ONCE = 10
        """
    )


def _expired(queue: Queue) -> int:
    before = utcnow() - timedelta(seconds=1)
    return queue.storage.prune(states=(JobState.COMPLETED,), before=before, dry_run=True)


def test_a_queue_that_is_never_empty_is_pruned(queue: Queue, hurried: dict[str, str]) -> None:
    """Regression: a worker that always had a next job never did its chores."""
    queue.configure(retention="1s")
    queue.add_many(*["sleep 0.02"] * 1000)
    queue.start("-q", env={**hurried, "CHORE_SECONDS": "0.1"})
    wait_until(lambda: sum(queue.counts().values()) < 1000, what="the pruning")

    assert queue.counts()["pending"] > 0


def test_the_next_portion_is_pruned_soon(queue: Queue, hurried: dict[str, str]) -> None:
    """Regression: at most 2,000 jobs per minute were pruned, fewer than a busy queue completes."""
    queue.configure(retention="1s")
    queue.add_many(*["true"] * 35)
    queue.drain("-q")
    wait_until(lambda: _expired(queue) == 35)
    queue.start("-q", env={**hurried, "CHORE_SECONDS": "1000"})

    wait_until(lambda: queue.counts() == {}, what="the pruning")


def _counted(queue: Queue) -> int:
    query = "SELECT total(times) FROM activity WHERE period = '' AND event = 'ok'"
    return int(sql(queue.storage, query)[0][0])


def test_a_worker_counts_attempts_though_it_always_has_a_next_job(
    queue: Queue, hurried: dict[str, str]
) -> None:
    """Whoever reads the counters has to read all that are not counted yet."""
    queue.add_many(*["sleep 0.02"] * 1000)
    queue.start("-q", env={**hurried, "CHORE_SECONDS": "1000"})
    wait_until(lambda: _counted(queue) > 0, what="the count")

    assert queue.counts()["pending"] > 0


def test_a_short_lived_pool_counts_what_the_last_one_left(queue: Queue) -> None:
    """A host may have no other: cron starts a drain each minute. It deletes old minutes, too."""
    queue.add_many("true", "false", max_retries=1)
    queue.drain("-q")
    sql(
        queue.storage,
        "INSERT INTO activity (period, queue, event) VALUES ('2020-01-31T12:00', 'q', 'ok')",
    )

    queue.drain("-q")

    assert _counted(queue) == 1
    assert sql(queue.storage, "SELECT 1 FROM activity WHERE period = '2020-01-31T12:00'") == []


def test_an_error_that_stays_is_logged_once(queue: Queue) -> None:
    """Regression: for a damaged file a worker logged the same error every second, for ever.

    If the error comes back after a success, it is logged again.
    """
    queue.add("true")
    hook = queue.hooked(
        """
        from queuectl.core import errors
        from queuectl.worker import loop as worker
        from queuectl.storage.claiming import Ready
        worker._IDLE_SECONDS = 0.01
        asked = []
        def damaged(*_, **__):
            asked.append(1)
            print('asked', file=open('asked', 'a'))
            if len(asked) == 5:
                return Ready(False, None)
            raise errors.QueueUnusable('it is malformed')
        worker.WorkerStorage.ready = damaged
        """
    )
    queue.start("-q", env=hook)
    asked = queue.work / "asked"
    wait_until(lambda: asked.exists() and asked.read_text().count("asked") > 10)

    said = (queue.folder / "workers.log").read_text()
    assert said.count("cannot claim: it is malformed; trying again") == 2


def test_a_worker_obeys_orders_between_jobs_that_cannot_be_started(queue: Queue) -> None:
    """Regression: between two such jobs it never waited, so it never read its orders."""
    queue.add_many(*["true"] * 5000, cwd=str(queue.work / "gone"), max_retries=1)
    pool = queue.start("-q")
    wait_until(lambda: queue.counts().get("dead", 0) > 0)
    pool.send_signal(signal.SIGTERM)

    assert pool.wait(30) == 0
    assert queue.counts()["pending"] > 0


def _fail_ahead(queue: Queue, job: str, wrong: datetime) -> None:
    """Fail a job as if the clock had been ahead then."""
    queue.add("true", id=job)
    queue.run_as_if("failed")
    sql(
        queue.storage,
        "UPDATE jobs SET updated_at = ?, run_at = ? WHERE id = ?",
        to_text(wrong),
        to_text(wrong + timedelta(seconds=0.5)),
        job,
    )


def test_a_retry_of_a_clock_that_was_ahead_is_moved(queue: Queue) -> None:
    """Regression: a job that failed while the clock was five years ahead was retried in five years.

    A new pool moves it at once. A time that somebody chose stays.
    """
    wrong = utcnow() + timedelta(days=5 * 365)
    _fail_ahead(queue, "wrong", wrong)
    queue.add("true", id="chosen")
    queue.run_as_if("failed")
    queue.storage.edit(queue.get("chosen"), {"run_at": wrong}, now=utcnow())
    queue.start("-q")

    queue.until("wrong", "completed")
    assert queue.get("chosen").run_at == wrong


def test_a_running_worker_moves_such_a_retry(queue: Queue, hurried: dict[str, str]) -> None:
    """The clock may be put right while the workers run."""
    queue.start("-q", "--queue", "other", env={**hurried, "CHORE_SECONDS": "0.1"})
    wrong = utcnow() + timedelta(days=5 * 365)
    _fail_ahead(queue, "a", wrong)

    wait_until(lambda: (queue.get("a").run_at or wrong) < wrong, what="the new time")
