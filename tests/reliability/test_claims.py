"""Many processes at once: each job is claimed once, and every writer gets its turn."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from queuectl.core.models import Recorded
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.host.files import QueueFiles, find
from queuectl.storage import Storage
from support.clock import Clock
from support.forks import in_processes
from support.history import assert_nothing_lost_nothing_twice, assert_sound, keeping_a_ledger
from support.outcomes import COMPLETED, OK
from support.processes import linux_only
from support.queue import Queue
from support.tracing import LONG, long_only

pytestmark = [pytest.mark.on_disk, linux_only, pytest.mark.timeout(1800)]


@pytest.fixture
def files(tmp_path: Path) -> QueueFiles:
    """The files of an existing queue that is not open."""
    found = find(str(tmp_path / "queue.db"), None, False)
    Storage.open(found, create=True).close()
    return found


@pytest.mark.parametrize(("processes", "count"), [(16, 2000 if LONG else 600)])
def test_processes_claim_each_job_exactly_once(
    files: QueueFiles, clock: Clock, processes: int, count: int
) -> None:
    """A job never has two attempts at once, with any number of workers."""
    storage = Storage.open(files)
    storage.enqueue([JobSpec(command="true", id=f"j{n}") for n in range(count)], now=clock.now)
    storage.close()

    def work(worker: str) -> tuple[list[str], int]:
        own = Storage.open(files)
        taken, superseded = [], 0
        claim = own.claim(worker, now=clock.now)
        while claim is not None:
            taken.append(claim.job.id)
            recorded, claim = own.record_and_claim(claim, OK, COMPLETED, worker, now=clock.now)
            superseded += recorded is Recorded.SUPERSEDED
        own.close()
        return taken, superseded

    results = in_processes([lambda name=f"w{n}": work(name) for n in range(processes)])
    taken = Counter(job for jobs, _ in results for job in jobs)
    storage = Storage.open(files)
    attempts = [list(storage.executions(storage.get(f"j{n}"))) for n in range(count)]
    counts = storage.by_state()
    storage.close()

    assert taken == Counter(f"j{n}" for n in range(count))
    assert sum(superseded for _, superseded in results) == 0
    assert [len(each) for each in attempts] == [1] * count
    assert counts[JobState.COMPLETED] == count


@pytest.mark.parametrize(("workers", "count"), [(100, 1000) if LONG else (24, 100)])
def test_workers_run_each_job_exactly_once(queue: Queue, workers: int, count: int) -> None:
    """With many workers in two pools no job runs twice, and no job is left over."""
    ids = queue.add_many(*[keeping_a_ledger("true")] * count)
    words = ("worker", "start", "--drain", "--count", str(workers // 2), "-q")
    with (queue.folder / "workers.log").open("w") as log:
        pools = [queue.spawn(*words, stderr=log) for _ in range(2)]

    assert [pool.wait(timeout=600) for pool in pools] == [0, 0]
    assert_nothing_lost_nothing_twice(queue, ids)
    assert {len(queue.attempts(job)) for job in ids} == {1}
    assert queue.counts() == {"completed": count}
    assert_sound(queue)


@pytest.mark.parametrize("count", [5 if LONG else 2])
def test_each_of_100_waiting_writers_gets_its_turn(files: QueueFiles, count: int) -> None:
    """Writers that come at the same time are all served, although each wants several turns."""

    def write() -> int:
        storage = Storage.open(files)
        for number in range(count):
            storage.set_key("max-retries", str(number % 9))
        storage.close()
        return count

    assert in_processes([write] * 100) == [count] * 100


@long_only
def test_no_saturated_writer_waits_for_a_second(files: QueueFiles) -> None:
    """Regression: with SQLite's own waiting the slowest of 8 writers waited for 1.6 s."""

    def write() -> tuple[int, float]:
        storage = Storage.open(files)
        commits, longest, deadline = 0, 0.0, time.monotonic() + 10
        while (began := time.monotonic()) < deadline:
            storage.set_key("max-retries", str(commits % 9))
            commits, longest = commits + 1, max(longest, time.monotonic() - began)
        storage.close()
        return commits, longest

    results = in_processes([write] * 8)
    commits = sorted(made for made, _ in results)
    print(f"commits {commits}, longest wait {max(longest for _, longest in results):.3f} s")
    assert commits[0] >= sum(commits) / len(commits) / 4
    assert max(longest for _, longest in results) < 1
