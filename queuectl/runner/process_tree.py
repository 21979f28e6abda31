"""Everything that an attempt started: found by traces that the kernel keeps, and killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import AbstractSet, Callable, Iterable, NamedTuple

from queuectl.host import processes
from queuectl.host.processes import FileIdentity, Process

_ROUNDS = 20
"""How often KILL is sent at most, each time to all processes that are found."""

_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.1


class AttemptProcesses(NamedTuple):
    """How the processes of an attempt, or of several attempts of one job, are recognised.

    A process is one of them if any of these matches, or if it descends from one of them.
    """

    marks: frozenset[str]
    """Values of QUEUECTL_EXECUTION that a process has in its environment."""
    logs: frozenset[FileIdentity] = frozenset()
    """Logs that a process has open for writing, because it inherited one as its output."""
    leader: int | None = None
    """The PID of the process that was started, which is also its process group and its session."""
    leader_ticks: int | None = None
    """The start of that process in clock ticks, if it may be reaped meanwhile, as an adopted one.
    Another process that gets the PID then is not taken for it."""


def identity(path: str) -> frozenset[FileIdentity]:
    """Return the identity of the file at a path, as a set; empty if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return frozenset()
    return frozenset([(status.st_dev, status.st_ino)])


def session_leader(mark: str, pid: int | None = None) -> tuple[int, int] | None:
    """Return PID and start, in clock ticks, of the process that was started for an attempt.

    It is found by its mark, and by its PID where that is known. None if it does not run. Linux
    only.
    """
    found = _find(AttemptProcesses(frozenset([mark])), frozenset())
    pids = {process.pid for process in found}
    leaders = [
        process
        for process in found
        if process.session == process.pid and pid in (None, process.pid)
    ]
    # The job may have started other sessions, later or in the same tick. Those have a parent that
    # is a process of the job.
    first = min(
        leaders,
        key=lambda leader: (leader.start_ticks, leader.parent in pids, leader.pid),
        default=None,
    )
    return None if first is None else (first.pid, first.start_ticks)


def end(attempt: AttemptProcesses, grace_seconds: float, wait: Callable[[float], None]) -> None:
    """End all processes of an attempt: TERM, grace time, then KILL until none is found.

    `wait` sleeps for a number of seconds, or for less.
    """
    # Remember every process found so far: once its parent is gone, nothing else may link it to this
    # attempt.
    known = _signal_all(attempt, frozenset(), signal.SIGTERM)
    if not known:
        return
    # A stopped process handles its TERM only after a CONT.
    known |= _signal_all(attempt, known, signal.SIGCONT)
    deadline = time.monotonic() + grace_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        found = _find(attempt, known)
        known |= found
        left = deadline - time.monotonic()
        if not found or left <= 0:
            break
        wait(min(left, pause))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(_ROUNDS):
        found = _signal_all(attempt, known, signal.SIGKILL)
        known |= found
        if not found:
            return
        # A process with much memory, or on a busy machine, takes time to die.
        wait(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _signal_all(
    attempt: AttemptProcesses, known: AbstractSet[Process], number: signal.Signals
) -> set[Process]:
    """Send a signal to every process that is found; return these processes."""
    found = _find(attempt, known)
    in_group = sys.platform != "linux" or any(one.group == attempt.leader for one in found)
    if attempt.leader is not None and found and in_group:
        try:
            # Signal the whole group in one call, so that no process can fork in between.
            os.killpg(attempt.leader, number)
        except (ProcessLookupError, PermissionError):
            pass
    if sys.platform == "linux":
        for process in found:
            try:
                if process.group != attempt.leader:
                    os.kill(process.pid, number)
            except (ProcessLookupError, PermissionError):
                pass
    return found


def _find(attempt: AttemptProcesses, known: AbstractSet[Process]) -> set[Process]:
    """Return the living processes that belong to an attempt, and all their descendants.

    `known` are processes that were found earlier. Elsewhere than on Linux only the group of the
    leader can be checked; the leader then stands for its whole group.
    """
    if sys.platform != "linux":
        lives = attempt.leader is not None and processes.group_lives(attempt.leader)
        return {Process(attempt.leader, 0, 0, 0, 0)} if attempt.leader and lives else set()
    wanted = frozenset(b"QUEUECTL_EXECUTION=" + mark.encode() for mark in attempt.marks)
    # Compare PID and start only: the parent of an orphan changes, and a process may move to another
    # group or session.
    names = {(process.pid, process.start_ticks) for process in known}
    children: dict[int, list[Process]] = {}
    found = []
    living = list(processes.living())
    if _is_pid_reused(attempt, living):
        # No process can be left in its group or session, or the kernel would not reuse the PID.
        attempt = attempt._replace(leader=None)
    for process in living:
        children.setdefault(process.parent, []).append(process)
        is_known = (process.pid, process.start_ticks) in names
        if is_known or _belongs(process, wanted, attempt):
            found.append(process)
    for process in found:
        found += children.pop(process.pid, ())
    return set(found)


def _is_pid_reused(attempt: AttemptProcesses, living: Iterable[Process]) -> bool:
    """Whether another process has the PID of the leader by now."""
    ticks = attempt.leader_ticks
    return ticks is not None and any(
        process.pid == attempt.leader and process.start_ticks != ticks for process in living
    )


def _belongs(process: Process, wanted: frozenset[bytes], attempt: AttemptProcesses) -> bool:
    if attempt.leader is not None and attempt.leader in (process.group, process.session):
        return True
    if not wanted.isdisjoint(processes.environment(process.pid)):
        return True
    return bool(attempt.logs) and processes.can_write_to(process.pid, attempt.logs)
