"""Who is alive is proved by the kernel: locks that end with their process."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from forked import in_processes

from queuectl.core.errors import QueueUnusable
from queuectl.host import files, lockfiles, processes
from queuectl.host.lockfiles import JobProcess, ProcessLock

LARGEST = JobProcess(2**63 - 1, 2**31 - 1, 2**63 - 1, "a1b2c3d4e5f6")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def queue_files(tmp_path):
    """The files of a queue whose folder of lock files exists and is empty."""
    found = files.find(str(tmp_path / "queue.db"), None, False)
    os.makedirs(found.workers)
    return found


@pytest.fixture
def folder(queue_files):
    """The folder of lock files."""
    return Path(queue_files.workers)


@contextmanager
def living(queue_files, owner="w1", running=None):
    """Another process that holds its lock until the block ends or it is killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = ProcessLock.take(queue_files, owner, {"pid": os.getpid()})
        lock.show_job(running)
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


def test_a_held_lock_is_life_and_a_free_one_is_death(queue_files):
    """A killed process is known to be dead at once; without a file nothing is known."""
    assert lockfiles.is_alive(queue_files, "w1") is None
    with living(queue_files):
        assert lockfiles.is_alive(queue_files, "w1") is True
    assert lockfiles.is_alive(queue_files, "w1") is False


def test_a_stopped_process_is_alive(queue_files):
    """Keeps out: a worker that only pauses is given up for dead and its job run twice."""
    with living(queue_files) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert lockfiles.is_alive(queue_files, "w1") is True
        assert lockfiles.take_stale(queue_files, "w1") is None


@linux_only
def test_a_zombie_is_dead(queue_files):
    """Keeps out: kill(pid, 0) succeeds on a zombie."""
    with living(queue_files) as pid:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert lockfiles.is_alive(queue_files, "w1") is False


def test_the_lock_is_there_complete_or_not_at_all(queue_files, folder):
    """It gets its name only when it is locked and written, and its private file is gone."""
    lock = ProcessLock.take(queue_files, "w1", {"pid": 7, "host": "h"})
    names, about = os.listdir(folder), lockfiles.about(queue_files, "w1")
    lock.remove()

    assert (names, about) == (["w1.lock"], {"pid": 7, "host": "h"})
    assert os.listdir(folder) == []


def test_two_that_ask_at_once_do_not_take_each_other_for_the_owner(queue_files):
    """Keeps out: probes with an exclusive lock see each other and call a dead worker alive."""
    with living(queue_files):
        pass

    def ask():
        return sorted({lockfiles.is_alive(queue_files, "w1") for _ in range(2000)})

    assert in_processes([ask] * 4) == [[False]] * 4


def test_what_a_worker_runs_can_be_read_by_its_heir(queue_files):
    """The last job process that was started is left in the lock file of the dead worker."""
    with living(queue_files, running=JobProcess(17, 4242, 99, "w0")):
        alive = lockfiles.job_process(queue_files, "w1")
    remains = lockfiles.take_stale(queue_files, "w1")
    running = remains.job
    remains.close()

    assert alive == running == JobProcess(17, 4242, 99, "w0")


@pytest.mark.parametrize("running", [None, JobProcess(1, 2, None, "w0"), LARGEST])
def test_the_line_of_what_runs_has_room_for_the_largest_numbers(queue_files, running):
    """A shorter line leaves nothing of a longer one, and the rest of the file is not touched."""
    lock = ProcessLock.take(queue_files, "w1", {"pid": 7})
    lock.show_job(LARGEST)
    lock.show_job(running)
    shown, about = lockfiles.job_process(queue_files, "w1"), lockfiles.about(queue_files, "w1")
    lock.close()
    remains = lockfiles.take_stale(queue_files, "w1")
    found = remains.job
    remains.remove()

    assert (found, shown, about) == (running, running, {"pid": 7})


def test_only_one_settles_a_dead_worker(queue_files):
    """Of many rescuers one gets the remains; once settled, none does."""
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


def test_rescuers_that_race_settle_each_worker_once(queue_files):
    """Keeps out: a file opened before and locked after its removal was settled a second time."""
    owners = [f"w{number}" for number in range(100)]
    for owner in owners:
        ProcessLock.take(queue_files, owner, {}).close()

    def settle():
        mine = []
        for owner in owners:
            remains = lockfiles.take_stale(queue_files, owner)
            if remains is not None:
                mine.append(owner)
                remains.remove()
        return mine

    settled = [owner for mine in in_processes([settle] * 4) for owner in mine]

    assert sorted(settled) == sorted(owners)


def test_what_was_never_finished_is_swept(queue_files, folder):
    """Regression: one that was killed before its lock file had its name left the other for ever.

    What is locked is being made; lock files, and what is no file, are not its to remove.
    """
    (folder / ".dead.new").touch()
    (folder / ".folder.new").mkdir()
    with living(queue_files), open(folder / ".made.new", "wb") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        lockfiles.remove_unfinished(queue_files)
        left = sorted(os.listdir(folder))

    assert left == [".folder.new", ".made.new", "w1.lock"]


def test_a_lock_file_that_is_swept_before_it_is_locked_is_made_again(
    queue_files, folder, monkeypatch
):
    """Between its making and its lock it looks like one that was never finished."""
    lock = fcntl.flock

    def swept_first(descriptor, how):
        monkeypatch.undo()
        lockfiles.remove_unfinished(queue_files)
        assert os.listdir(folder) == []
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", swept_first)
    ProcessLock.take(queue_files, "w1", {})

    assert os.listdir(folder) == ["w1.lock"]
    assert lockfiles.is_alive(queue_files, "w1") is True


def test_a_child_that_abandons_the_lock_does_not_keep_it(queue_files):
    """Keeps out: a forked worker kept its dead supervisor's lock."""
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


def test_owners_are_those_with_a_lock_file(queue_files, folder, tmp_path):
    """Bells and unfinished files are none; no folder means nobody."""
    for name in ("b.lock", "a.lock", "a.bell", ".c.new", "d"):
        (folder / name).touch()

    assert lockfiles.owners(queue_files) == ["a", "b"]
    assert lockfiles.owners(files.find(str(tmp_path / "missing.db"), None, False)) == []


def test_a_folder_that_is_none_is_refused(queue_files, folder):
    """What cannot be listed is said, not taken for empty."""
    folder.rmdir()
    folder.touch()
    with pytest.raises(QueueUnusable, match=r"^cannot look into .*/workers: Not a directory$"):
        lockfiles.owners(queue_files)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_lock_file_proves_nothing(queue_files, folder, tmp_path, kind):
    """A link, FIFO or folder of that name is neither followed nor waited for."""
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


def test_a_lock_that_cannot_be_opened_just_now_is_not_taken_for_gone(queue_files, folder):
    """Regression: an heir without a descriptor to spare left the job of the dead as it was."""
    (folder / "w1.lock").touch()
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(QueueUnusable, match="cannot open"):
            lockfiles.take_stale(queue_files, "w1")
        assert lockfiles.is_alive(queue_files, "w1") is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "text", [b"", b"x", b"a b c d\n", b"\xff" * 200, b" " * 64 + b"[1]", b"1 2\n"]
)
def test_a_damaged_lock_file_tells_nothing(queue_files, folder, text):
    """After a crash of the machine the file may hold anything; the rescue goes on without it."""
    (folder / "w1.lock").write_bytes(text)
    remains = lockfiles.take_stale(queue_files, "w1")
    running = remains.job
    remains.close()

    assert running is None
    assert lockfiles.about(queue_files, "w1") == {}
    assert lockfiles.job_process(queue_files, "w1") is None


@linux_only
def test_a_process_is_known_by_its_number_and_its_start():
    """The same number in another start or another boot is another process."""
    own, boot = os.getpid(), processes.boot_id()
    ticks = processes.start_ticks(own)

    assert ticks > 0
    assert processes.same_process(own, ticks, boot) is True
    assert processes.same_process(own, ticks - 1, boot) is False
    assert processes.same_process(own, ticks, "another boot") is False
    assert processes.same_process(own, None, boot) is False


@linux_only
def test_a_process_that_is_gone_has_no_start():
    """The number of a reaped process tells nothing."""
    child = subprocess.Popen(["true"])
    child.wait()

    assert processes.start_ticks(child.pid) is None
    assert processes.same_process(child.pid, 1, processes.boot_id()) is False


@linux_only
def test_the_start_is_found_behind_any_name(tmp_path):
    """Keeps out: a program named `a) b (c` shifts the fields that follow its name."""
    program = tmp_path / "a) 1 (2 3"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "100"])
    ticks = processes.start_ticks(child.pid)
    own = processes.start_ticks(os.getpid())
    child.kill()
    child.wait()

    assert ticks >= own
