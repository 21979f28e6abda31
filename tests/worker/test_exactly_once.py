"""Many workers on one queue run each job once."""

from __future__ import annotations

from collections import Counter

from support.queue import Queue
from support.waiting import wait_until

_JOBS = 500


def test_8_workers_of_two_pools_run_500_jobs_exactly_once(queue: Queue) -> None:
    """Each job has one attempt, whichever worker claims it."""
    ids = queue.add_many(*["echo $QUEUECTL_JOB_ID >> ledger"] * (_JOBS // 2))
    pools = [queue.start("--queue", "default", workers=4), queue.start(workers=4)]
    # The second half is enqueued while they work.
    for _ in range(10):
        ids += queue.add_many(*["echo $QUEUECTL_JOB_ID >> ledger"] * (_JOBS // 20))
    wait_until(lambda: queue.counts() == {"completed": _JOBS}, what="all jobs", timeout=60)
    for pool in pools:
        pool.terminate()
    assert [pool.wait(timeout=30) for pool in pools] == [0, 0]

    assert Counter((queue.work / "ledger").read_text().split()) == Counter(ids)
    attempts = [attempt for job in ids for attempt in queue.attempts(job)]
    assert Counter(attempt.outcome.value for attempt in attempts) == {"ok": _JOBS}
    assert {attempt.attempt for attempt in attempts} == {1}
    assert len({attempt.worker for attempt in attempts}) > 1
