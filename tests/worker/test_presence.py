"""Files by which others find workers: made again after somebody removed them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from queuectl.core.models import Worker
from queuectl.core.times import utcnow
from queuectl.host import lockfiles, processes
from queuectl.host.lockfiles import JobProcess, ProcessLock
from queuectl.host.pools import living_pools
from support.held import HELD
from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until


@pytest.mark.parametrize("what", ["files", "workers", "everything"])
@pytest.mark.parametrize("busy", [False, True])
def test_removed_files_are_made_again(queue: Queue, what: str, busy: bool) -> None:
    """Prevents: what cleans /tmp removed them, and `worker stop` said that no worker is running."""
    if busy:
        queue.add(HELD)
    pool = queue.start(workers=2)
    if busy:
        queue.pid("running")
    before = {worker["id"] for worker in queue.workers()}
    (supervisor,) = living_pools(queue.files)
    queue.close_storage()
    if what == "files":
        for path in Path(queue.files.workers).iterdir():
            path.unlink()
    else:
        shutil.rmtree(queue.files.workers if what == "workers" else queue.files.folder)
    wait_until(lambda: {worker["id"] for worker in queue.workers()} == before, what="the workers")
    wait_until(lambda: living_pools(queue.files) == [supervisor], what="the supervisor")
    wait_until(lambda: len(list(Path(queue.files.workers).glob("*.bell"))) == 2, what="the FIFOs")
    if busy:
        (running,) = (one for one in queue.workers() if one["job"])
        assert running["job_pid"] == queue.pid("running")
        queue.let_go()

    queue.until(queue.add("true"), "completed")
    assert queue.ok("worker", "stop") == f"stopped {supervisor.id}"
    assert pool.wait(30) == 0
    assert list(Path(queue.files.workers).iterdir()) == []


def test_a_lock_file_keeps_what_it_says(queue: Queue) -> None:
    """Also the running job, for the worker that may have to adopt it."""
    queue.storage.set_key("retention", "1d")  # makes the queue
    lock = ProcessLock.take(queue.files, "a1-1", {"pid": 7})
    lock.show_job(JobProcess(1, 2, 3, "a1-1"))
    kept = lock.keep(queue.files, "a1-1")
    os.unlink(lock.path)
    made = lock.keep(queue.files, "a1-1")

    assert (kept, made) == (False, True)
    assert lockfiles.is_alive(queue.files, "a1-1") is True
    assert lockfiles.about(queue.files, "a1-1") == {"pid": 7}
    assert lockfiles.job_process(queue.files, "a1-1") == JobProcess(1, 2, 3, "a1-1")
    lock.remove()
    assert lockfiles.is_alive(queue.files, "a1-1") is None


@linux_only
def test_worker_stop_names_workers_that_it_cannot_find(queue: Queue) -> None:
    """Prevents: it said that no worker is running, with exit code 0."""
    pid = os.getpid()
    ticks, boot = processes.start_ticks(pid), processes.boot_id()
    queue.storage.register_worker(Worker("w-1", "w", pid, ticks, boot, "host", (), utcnow()))

    assert queue.fails(1, "worker", "stop") == (
        f"queuectl worker stop: w-1 (pid {pid}) cannot be found: the lock file was removed (try "
        "again in a second; a worker makes it again)"
    )


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_worker_stop_works_where_the_file_system_became_read_only(queue: Queue) -> None:
    """Prevents: the lock files could not be opened for writing, so no worker seemed to run."""
    queue.storage.set_key("retention", "1d")  # makes the queue
    pool = queue.start()
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    stopped = queue.run(
        "worker", "stop", before=["unshare", "-m", "sh", "-c", script, str(queue.folder)]
    )
    if "unshare" in stopped.err or "mount" in stopped.err:
        pytest.skip("nothing can be mounted here")

    assert (stopped.code, stopped.err) == (0, "")
    assert pool.wait(30) == 0
