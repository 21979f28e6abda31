"""Which processes live, as their lock files prove: a lock ends with its process."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from contextlib import contextmanager

import pytest

from queuectl.core.errors import QueueUnusable
from queuectl.host import files, lockfiles
from queuectl.host.lockfiles import JobProcess, ProcessLock
from support.forks import in_processes
from support.processes import linux_only

LARGEST = JobProcess(2**63 - 1, 2**31 - 1, 2**63 - 1, "a1b2c3d4e5f6")


@contextmanager
def living(queue_files, owner="w1", job=None):
    """A second process that holds a lock until the block ends, or until it is killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = ProcessLock.take(queue_files, owner, {"pid": os.getpid()})
        lock.show_job(job)
        os.write(writer, b"!")
        while True:
            signal.pause()
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_process_is_alive_while_its_lock_is_held(queue_files):
    """A killed process counts as dead at once. Without a file, nothing is known."""
    assert lockfiles.is_alive(queue_files, "w1") is None
    with living(queue_files):
        assert lockfiles.is_alive(queue_files, "w1") is True
    assert lockfiles.is_alive(queue_files, "w1") is False


def test_a_stopped_process_is_alive(queue_files):
    """Prevents: a stopped worker is taken for dead, and its job runs twice."""
    with living(queue_files) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert lockfiles.is_alive(queue_files, "w1") is True
        assert lockfiles.take_stale(queue_files, "w1") is None


@linux_only
def test_a_zombie_is_dead(queue_files):
    """Prevents: a zombie is taken for alive, because kill(pid, 0) succeeds."""
    with living(queue_files) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert lockfiles.is_alive(queue_files, "w1") is False


def test_a_lock_file_appears_only_when_it_is_complete(queue_files, folder):
    """The file gets its name once it is locked and written; no unfinished file is left."""
    lock = ProcessLock.take(queue_files, "w1", {"pid": 7, "host": "h"})
    names, about = os.listdir(folder), lockfiles.about(queue_files, "w1")
    lock.remove()

    assert (names, about) == (["w1.lock"], {"pid": 7, "host": "h"})
    assert os.listdir(folder) == []


def test_processes_that_ask_at_once_do_not_take_each_other_for_the_owner(queue_files):
    """Prevents: with exclusive locks, two checks meet, and a dead worker seems alive."""
    with living(queue_files):
        pass

    def ask():
        return sorted({lockfiles.is_alive(queue_files, "w1") for _ in range(2000)})

    assert in_processes([ask] * 4) == [[False]] * 4


def test_the_job_process_of_a_dead_worker_can_be_read(queue_files):
    """The lock file of a dead worker names the job process that it started last."""
    with living(queue_files, job=JobProcess(17, 4242, 99, "w0")):
        alive = lockfiles.job_process(queue_files, "w1")
    stale = lockfiles.take_stale(queue_files, "w1")
    dead = stale.job
    stale.close()

    assert alive == dead == JobProcess(17, 4242, 99, "w0")


@pytest.mark.parametrize("job", [None, JobProcess(1, 2, None, "w0"), LARGEST])
def test_the_line_of_the_job_process_has_room_for_the_largest_numbers(queue_files, job):
    """A shorter line replaces a longer one completely; the rest of the file stays as it is."""
    lock = ProcessLock.take(queue_files, "w1", {"pid": 7})
    lock.show_job(LARGEST)
    lock.show_job(job)
    shown, about = lockfiles.job_process(queue_files, "w1"), lockfiles.about(queue_files, "w1")
    lock.close()
    stale = lockfiles.take_stale(queue_files, "w1")
    found = stale.job
    stale.remove()

    assert (found, shown, about) == (job, job, {"pid": 7})


def test_a_dead_worker_is_recovered_by_one_process(queue_files):
    """One process at a time gets the stale lock. After the recovery, no process gets it."""
    with living(queue_files):
        pass
    first = lockfiles.take_stale(queue_files, "w1")
    second = lockfiles.take_stale(queue_files, "w1")
    first.close()
    third = lockfiles.take_stale(queue_files, "w1")
    third.remove()

    assert second is None
    assert lockfiles.take_stale(queue_files, "w1") is None
    assert lockfiles.owners(queue_files) == []


def test_processes_that_race_recover_each_worker_once(queue_files):
    """Prevents: a file that was opened before its removal and locked after it counts again."""
    owners = [f"w{number}" for number in range(100)]
    for owner in owners:
        ProcessLock.take(queue_files, owner, {}).close()

    def recover():
        mine = []
        for owner in owners:
            stale = lockfiles.take_stale(queue_files, owner)
            if stale is not None:
                mine.append(owner)
                stale.remove()
        return mine

    recovered = [owner for mine in in_processes([recover] * 4) for owner in mine]

    assert sorted(recovered) == sorted(owners)


def test_unfinished_lock_files_of_dead_processes_are_removed(queue_files, folder):
    """Regression: a process killed before its lock file had its name left the unfinished file.

    A locked file belongs to a process that is still creating it. Lock files and folders stay.
    """
    (folder / ".dead.new").touch()
    (folder / ".folder.new").mkdir()
    with living(queue_files), open(folder / ".made.new", "wb") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        lockfiles.remove_unfinished(queue_files)
        left = sorted(os.listdir(folder))

    assert left == [".folder.new", ".made.new", "w1.lock"]


def test_a_lock_file_that_is_removed_before_it_is_locked_is_created_again(
    queue_files, folder, monkeypatch
):
    """Between its creation and its lock, a file looks like one of a dead process."""
    lock = fcntl.flock

    def remove_first(descriptor, how):
        monkeypatch.undo()
        lockfiles.remove_unfinished(queue_files)
        assert os.listdir(folder) == []
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    ProcessLock.take(queue_files, "w1", {})

    assert os.listdir(folder) == ["w1.lock"]
    assert lockfiles.is_alive(queue_files, "w1") is True


def test_a_forked_child_that_closes_the_lock_does_not_keep_it(queue_files):
    """Prevents: a forked worker keeps the lock of its dead supervisor."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = ProcessLock.take(queue_files, "s1", {})
        child = os.fork()
        if child == 0:
            lock.close()
            os.write(writer, b"%10d" % os.getpid())
            while True:
                signal.pause()
        while True:
            signal.pause()
    child = int(os.read(reader, 10))
    os.close(reader)
    os.close(writer)
    before = lockfiles.is_alive(queue_files, "s1")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    after = lockfiles.is_alive(queue_files, "s1")
    os.kill(child, signal.SIGKILL)

    assert (before, after) == (True, False)


def test_owners_are_the_processes_that_have_a_lock_file(queue_files, folder, tmp_path):
    """FIFOs and unfinished files do not count. Without a folder, there are no owners."""
    for name in ("b.lock", "a.lock", "a.bell", ".c.new", "d"):
        (folder / name).touch()

    assert lockfiles.owners(queue_files) == ["a", "b"]
    assert lockfiles.owners(files.find(str(tmp_path / "missing.db"), None, False)) == []


def test_a_folder_that_cannot_be_listed_is_an_error(queue_files, folder):
    """It must not be taken for an empty folder."""
    folder.rmdir()
    folder.touch()
    with pytest.raises(QueueUnusable, match=r"^cannot look into .*/workers: Not a directory$"):
        lockfiles.owners(queue_files)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_something_else_in_place_of_a_lock_file_proves_nothing(queue_files, folder, tmp_path, kind):
    """A link is not followed, a FIFO is not waited for, a folder is no error."""
    path = folder / "w1.lock"
    if kind == "link":
        (tmp_path / "target").touch()
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()

    assert lockfiles.is_alive(queue_files, "w1") is None
    assert lockfiles.take_stale(queue_files, "w1") is None
    assert lockfiles.about(queue_files, "w1") == {}
    assert lockfiles.job_process(queue_files, "w1") is None


def test_a_lock_file_that_cannot_be_opened_now_is_not_taken_for_missing(queue_files, folder):
    """Regression: a worker without a free descriptor did not recover the job of a dead one."""
    (folder / "w1.lock").touch()
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(QueueUnusable, match="cannot open"):
            lockfiles.take_stale(queue_files, "w1")
        with pytest.raises(QueueUnusable, match="cannot open"):
            lockfiles.known_job_process(queue_files, "w1")
        assert lockfiles.job_process(queue_files, "w1") is None
        assert lockfiles.is_alive(queue_files, "w1") is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b"a b c d\n", b"\xff" * 200, b" " * 64 + b"[1]", b"1 2\n",
     b"1 -1 2 w0\n", b"1 0 2 w0\n", b"1 1 2 w0\n", b"1 99999999999 2 w0\n", b"1 7 2 ../w0\n"],
)  # fmt: skip
def test_a_damaged_lock_file_is_read_as_empty(queue_files, folder, text):
    """After a crash of the machine the file may hold anything; the recovery must still work."""
    (folder / "w1.lock").write_bytes(text)
    stale = lockfiles.take_stale(queue_files, "w1")
    job = stale.job
    stale.close()

    assert job is None
    assert lockfiles.about(queue_files, "w1") == {}
    assert lockfiles.job_process(queue_files, "w1") is None


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root recovers the jobs of other users")
def test_a_job_process_of_another_user_than_its_worker_is_not_believed(queue_files, folder):
    """Prevents: a user names a process of root as their job, and root ends it in a recovery."""
    own = JobProcess(17, os.getpid(), 99, "w0")
    with living(queue_files, job=own):
        before = lockfiles.job_process(queue_files, "w1")
        os.chown(folder / "w1.lock", 61_234, 61_234)
        after = lockfiles.job_process(queue_files, "w1")

    assert (before, after) == (own, None)


def test_a_process_can_change_what_it_says_about_itself(queue_files):
    """A shorter text replaces a longer one, and the noted job process stays."""
    lock = ProcessLock.take(queue_files, "w-1", {"pid": 1})
    job = lockfiles.JobProcess(7, 8, 9, "w-1")
    lock.show_job(job)
    said = []
    for about in ({"pid": 1, "problem": "x" * 50}, {"pid": 1, "problem": None}):
        lock.describe(about)
        said.append(lockfiles.about(queue_files, "w-1"))
    found = lockfiles.job_process(queue_files, "w-1")
    lock.remove()

    assert said == [{"pid": 1, "problem": "x" * 50}, {"pid": 1, "problem": None}]
    assert found == job
