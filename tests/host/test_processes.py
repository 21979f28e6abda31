"""The facts about processes, as /proc tells them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from queuectl.host import processes
from support.processes import linux_only

pytestmark = linux_only


def test_a_process_is_identified_by_its_pid_and_its_start():
    """The same PID with another start, or in another boot, is another process."""
    own, boot = os.getpid(), processes.boot_id()
    ticks = processes.start_ticks(own)

    assert ticks > 0
    assert processes.same_process(own, ticks, boot) is True
    assert processes.same_process(own, ticks - 1, boot) is False
    assert processes.same_process(own, ticks, "another boot") is False
    assert processes.same_process(own, None, boot) is False


def test_a_process_that_is_gone_has_no_facts():
    """After a process was reaped, its PID says nothing."""
    child = subprocess.Popen(["true"])
    child.wait()

    assert processes.start_ticks(child.pid) is None
    assert processes.same_process(child.pid, 1, processes.boot_id()) is False
    assert processes.is_unreaped(child.pid, 1) is False
    assert processes.environment(child.pid) == []
    assert processes.can_write_to(child.pid, {(0, 0)}) is False


def test_a_zombie_keeps_its_pid_but_does_not_live():
    """An ended child counts as unreaped until its parent waits for it."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ticks = processes.start_ticks(child.pid)
    found = {process.pid for process in processes.living()}
    unreaped = processes.is_unreaped(child.pid, ticks)
    same = processes.same_process(child.pid, ticks, processes.boot_id())
    child.wait()

    assert (unreaped, same, child.pid in found) == (True, False, False)


def test_the_start_is_found_whatever_the_name_of_the_program(tmp_path: Path):
    """Prevents: the name `a) b (c` shifts the fields that follow the name."""
    program = tmp_path / "a) 1 (2 3"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "100"])
    ticks = processes.start_ticks(child.pid)
    own = processes.start_ticks(os.getpid())
    child.kill()
    child.wait()

    assert ticks >= own


def test_a_living_process_tells_its_relations_and_its_environment():
    """Parent, group, session and environment are those with which it was started."""
    child = subprocess.Popen(["sleep", "100"], env={"A": "1", "B": "2"}, start_new_session=True)
    (found,) = [process for process in processes.living() if process.pid == child.pid]
    environment = processes.environment(child.pid)
    child.kill()
    child.wait()

    assert found[:4] == (child.pid, os.getpid(), child.pid, child.pid)
    assert {b"A=1", b"B=2"} <= set(environment)


def test_only_a_descriptor_for_writing_counts(tmp_path: Path):
    """A process that only reads a log, as `less` does, is no writer."""
    path = tmp_path / "log"
    path.touch()
    status = path.stat()
    with path.open("rb") as source, path.open("ab") as target:
        reader = subprocess.Popen(["sleep", "100"], stdin=source)
        writer = subprocess.Popen(["sleep", "100"], stdout=target)
    found = [
        processes.can_write_to(process.pid, {(status.st_dev, status.st_ino)})
        for process in (reader, writer)
    ]
    for process in (reader, writer):
        process.kill()
        process.wait()

    assert found == [False, True]


def test_a_signal_never_hits_another_process_with_the_same_pid():
    """Prevents a bug: after a look at all processes, an innocent one was killed by its PID."""
    child = subprocess.Popen(["sleep", "300"])
    ticks = processes.start_ticks(child.pid)
    with pytest.raises(ProcessLookupError):
        processes.send_signal(child.pid, ticks - 1, signal.SIGKILL)
    assert child.poll() is None
    processes.send_signal(child.pid, ticks, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        processes.send_signal(child.pid, ticks, signal.SIGKILL)


def test_processes_that_were_started_since_are_found():
    """Only these are looked at; nothing is missed when the numbers begin again."""
    before = processes.last_pid()
    child = subprocess.Popen(["sleep", "300"])
    since = {process.pid for process in processes.living(before)}
    later = {process.pid for process in processes.living(processes.last_pid())}
    wrapped = {process.pid for process in processes.living(1 << 30)}
    child.kill()
    child.wait()

    assert child.pid in since
    assert os.getppid() not in since
    assert child.pid not in later
    assert child.pid in wrapped


def test_children_are_found():
    """A child that has ended counts until it is reaped."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid in processes.children()
    child.wait()
    assert child.pid not in processes.children()
