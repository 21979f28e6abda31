"""What workers do when the file of their queue is copied, replaced, moved or removed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from support.held import HELD
from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until
from support.watch.file_watch import by_hand


@pytest.fixture
def place(queue: Queue) -> Path:
    """The folder of the queue, which contains nothing else."""
    place = queue.folder / "place"
    place.mkdir(0o700)
    queue.database = place / "queue.db"
    queue.env["QUEUECTL_DB"] = str(queue.database)
    return place


def _copied(queue: Queue, place: Path) -> str:
    """Copy everything of the queue as `cp -a` does; return the path of the copy's file."""
    queue.close_storage()
    with by_hand():
        shutil.copytree(
            place, queue.folder / "copy", ignore=shutil.ignore_patterns("*.bell"), symlinks=True
        )
    return str(queue.folder / "copy" / "queue.db")


@linux_only
def test_a_retry_in_a_copy_leaves_the_jobs_of_the_original_alone(queue: Queue, place: Path) -> None:
    """Prevents: both had the same id, by which the processes of a job are found."""
    queue.configure(backoff_max="0")
    copy = _copied(queue, place)
    job = queue.add(HELD, max_retries=1)
    queue.start()
    queue.pid("running")
    queue.ok("--db", copy, "enqueue", "--id", "other", "--max-retries", "2", "exit 1")
    queue.drain("--db", copy)

    assert queue.json("--db", copy, "show", "other")["state"] == "dead"
    queue.let_go()
    assert queue.until(job, "completed", "dead").state.value == "completed"


@linux_only
@pytest.mark.parametrize("on_worker_death", ["adopt", "kill"])
def test_workers_of_a_copy_leave_a_job_to_the_original(
    queue: Queue, place: Path, on_worker_death: str
) -> None:
    """Prevents: they adopted or ended what the original was running when it was copied."""
    queue.configure(on_worker_death=on_worker_death)
    job = queue.add(HELD, max_retries=1)
    queue.start()
    queue.pid("running")
    copy = _copied(queue, place)
    logged = queue.drain("--db", copy)

    assert (
        f"{copy} was a copy, and is a queue of its own from now on (jobs that run there count as "
        "lost here: 1)\n"
    ) in logged
    assert queue.json("--db", copy, "show", job)["state"] == "dead"
    queue.let_go()
    assert queue.until(job, "completed", "dead").state.value == "completed"


def test_nothing_is_claimed_from_a_file_that_was_replaced(queue: Queue, place: Path) -> None:
    """Prevents: a worker went from job to job in the old file, and others ran the same jobs.

    It only looked whether the file was replaced when it was idle.
    """
    copy = queue.folder / "backup.db"
    queue.add(HELD)
    queue.add_many(*["echo ran >> ledger"] * 20)
    queue.ok("backup", str(copy))
    pool = queue.start()
    queue.pid("running")
    for name in ("queue.db-wal", "queue.db-shm"):
        (place / name).unlink()
    os.replace(copy, queue.database)
    queue.let_go()

    assert pool.wait(30) == 1
    assert not (queue.work / "ledger").exists()
    log = (queue.folder / "workers.log").read_text()
    assert f"{queue.database} was removed or replaced: start the workers again" in log


def test_a_pool_without_its_file_leaves(queue: Queue, place: Path) -> None:
    """Prevents: it started new workers without end, each of which found no queue."""
    pool = queue.start()
    worker = queue.worker()
    queue.close_storage()
    os.rename(place, queue.folder / "elsewhere")
    os.kill(worker["pid"], signal.SIGKILL)

    assert pool.wait(30) == 1
    log = (queue.folder / "workers.log").read_text()
    assert f"{queue.database} was removed or replaced: start the workers again" in log
    assert log.count("died") == 1


def test_a_copied_file_in_the_place_of_the_first_stops_the_pool(queue: Queue, place: Path) -> None:
    """A worker that is forked later must not serve a queue that has the id of another one."""
    queue.start()
    other = queue.folder / "other"
    other.mkdir(0o700)
    queue.ok("--db", str(other / "queue.db"), "enqueue", "--id", "a", "echo ran >> ledger")
    pool = queue.processes[0]
    worker = queue.worker()
    queue.close_storage()
    os.kill(pool.pid, signal.SIGSTOP)
    os.kill(worker["pid"], signal.SIGKILL)
    with by_hand():
        for name in ("queue.db-wal", "queue.db-shm"):
            (place / name).unlink()
        shutil.copy2(other / "queue.db", place / "new")
    os.replace(place / "new", queue.database)
    os.kill(pool.pid, signal.SIGCONT)

    assert pool.wait(30) == 1
    wait_until(lambda: queue.workers() == [])
    assert queue.state("a") == "pending"
