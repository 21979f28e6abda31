"""The names of a queue's files: each name that is built is recognised, and no other."""

from __future__ import annotations

import os

import pytest

from queuectl.core.errors import QueueUnusable
from queuectl.host import files
from queuectl.host.files import QueueFiles

QUEUE = QueueFiles("/q/queue.db")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (QUEUE.wal, "/q/queue.db-wal"),
        (QUEUE.shm, "/q/queue.db-shm"),
        (QUEUE.before_upgrade, "/q/queue.db.before-upgrade"),
        (QUEUE.write_lock, "/q/queue.db.d/write.lock"),
        (files.turn_of(QUEUE.write_lock), "/q/queue.db.d/write.lock.turn"),
        (QUEUE.start_lock, "/q/queue.db.d/start.lock"),
        (QUEUE.batch_lock, "/q/queue.db.d/batch.lock"),
        (QUEUE.stage_lock, "/q/queue.db.d/stage.lock"),
        (QUEUE.detached_log, "/q/queue.db.d/workers.log"),
        (QUEUE.process_lock("a1-1"), "/q/queue.db.d/workers/a1-1.lock"),
        (QUEUE.unfinished_process_lock("a1-1"), "/q/queue.db.d/workers/.a1-1.new"),
        (QUEUE.wakeup_fifo("a1-1"), "/q/queue.db.d/workers/a1-1.bell"),
        (QUEUE.worker_log("a1-1"), "/q/queue.db.d/logs/a1-1.log"),
        (files.tail_of(QUEUE.worker_log("a1-1")), "/q/queue.db.d/logs/a1-1.log.tail"),
        (QUEUE.worker_status("a1-1"), "/q/queue.db.d/logs/a1-1.status"),
        (QUEUE.execution_log(7), "/q/queue.db.d/logs/7.log"),
        (files.unfinished(QUEUE.execution_log(7)), "/q/queue.db.d/logs/7.log.new"),
    ],
)
def test_the_names_on_the_disk_stay_as_they_are(path: str, expected: str) -> None:
    """Workers and commands of different versions share one queue."""
    assert path == expected


def test_each_name_is_recognised_as_what_it_is() -> None:
    """A lock file or FIFO leads back to its owner, a log to its attempt or its worker."""
    log = QUEUE.worker_log("a1-1")

    assert files.lock_owner(os.path.basename(QUEUE.process_lock("a1-1"))) == "a1-1"
    assert files.fifo_owner(os.path.basename(QUEUE.wakeup_fifo("a1-1"))) == "a1-1"
    assert files.is_unfinished(os.path.basename(QUEUE.unfinished_process_lock("a1-1")))
    assert [
        files.log_owner(os.path.basename(path))
        for path in (log, files.tail_of(log), QUEUE.worker_status("a1-1"))
    ] == ["a1-1"] * 3
    kept = QUEUE.execution_log(7)
    assert [
        files.logged_execution(os.path.basename(path)) for path in (kept, files.unfinished(kept))
    ] == [7, 7]


@pytest.mark.parametrize(
    "name", ["notes.txt", "w.log", "7.txt", "\u00b2.log", "1" * 30 + ".log", "7.log.tail", "log"]
)
def test_a_file_of_somebody_else_is_not_recognised(name: str) -> None:
    """A file that queuectl did not create must never be removed by it."""
    assert files.lock_owner(name) is None
    assert files.fifo_owner(name) is None
    assert files.logged_execution(name) is None
    assert files.log_owner(name) is None


@pytest.mark.parametrize("owner", ["../../../tmp/x", "/tmp/x", "a/b", "a\0"])
def test_an_id_that_leads_to_another_folder_is_refused(owner: str) -> None:
    """Prevents: a lock file or a row names a worker so that we read or write a file elsewhere."""
    for path in (QUEUE.process_lock, QUEUE.wakeup_fifo, QUEUE.worker_log, QUEUE.worker_status):
        with pytest.raises(QueueUnusable, match="not the id of a worker"):
            path(owner)
