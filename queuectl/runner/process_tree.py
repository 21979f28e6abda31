"""Everything that one attempt started: found by the kernel's own marks, and ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import (
    AbstractSet,
    Callable,
    Iterable,
    NamedTuple,
)

from queuectl.host import processes
from queuectl.host.processes import FileIdentity, Process

_ROUNDS = 20
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.1


class Attempt(NamedTuple):
    """How the processes of an attempt (or of several of one job) are known.

    `marks` are values of QUEUECTL_EXECUTION in their environment; `logs` the files that they
    inherited as output, open for writing; `leader` the process that was started. Its number is its
    own until it is reaped; where that may happen meanwhile, as to an adopted one, `leader_ticks`
    tells its start, so that nobody who has the number after it is taken for it.
    """

    marks: frozenset[str]
    logs: frozenset[FileIdentity] = frozenset()
    leader: int | None = None
    leader_ticks: int | None = None


def identity(path: str) -> frozenset[FileIdentity]:
    """Return the identity of the file at a path, as a set that is empty when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return frozenset()
    return frozenset([(status.st_dev, status.st_ino)])


def _find(attempt: Attempt, known: AbstractSet[Process]) -> set[Process]:
    """Return the processes that bear a mark of the attempt or are `known` to be of it, and all that
    descend from them.
    """
    if sys.platform != "linux":
        lives = attempt.leader is not None and processes.group_lives(attempt.leader)
        return {Process(attempt.leader, 0, 0, 0, 0)} if attempt.leader and lives else set()
    wanted = frozenset(b"QUEUECTL_EXECUTION=" + mark.encode() for mark in attempt.marks)
    # By the start: the parent of an orphan changes, a process may make itself a group or session.
    names = {(process.pid, process.start_ticks) for process in known}
    children: dict[int, list[Process]] = {}
    found = []
    living = list(processes.living())
    if _is_reused(attempt, living):
        # Which also says that nobody is left in its group and its session.
        attempt = attempt._replace(leader=None)
    for process in living:
        children.setdefault(process.parent, []).append(process)
        is_known = (process.pid, process.start_ticks) in names
        if is_known or _belongs(process, wanted, attempt):
            found.append(process)
    for process in found:
        found += children.pop(process.pid, ())
    return set(found)


def session_leader(mark: str, pid: int | None = None) -> tuple[int, int] | None:
    """Return the process that was started for an attempt, found by its mark and by its number where
    that is known, and its start in clock ticks; Linux only.
    """
    found = _find(Attempt(frozenset([mark])), frozenset())
    pids = {process.pid for process in found}
    leaders = [
        process
        for process in found
        if process.session == process.pid and pid in (None, process.pid)
    ]
    # Whatever else made a session of its own it started itself: later, or in the same tick.
    first = min(
        leaders,
        key=lambda leader: (leader.start_ticks, leader.parent in pids, leader.pid),
        default=None,
    )
    return None if first is None else (first.pid, first.start_ticks)


def end(attempt: Attempt, grace_seconds: float, pause: Callable[[float], None]) -> None:
    """End all processes of an attempt: TERM, a time of grace, then KILL until nobody is found.

    `pause` sleeps for so many seconds, or less.
    """
    # What was found once is not lost sight of when the parent is gone that showed whose it is.
    known = _signal_all(attempt, frozenset(), signal.SIGTERM)
    if not known:
        return
    # A stopped process would meet its TERM only when it goes on.
    known |= _signal_all(attempt, known, signal.SIGCONT)
    deadline = time.monotonic() + grace_seconds
    length = _FIRST_PAUSE_SECONDS
    while True:
        found = _find(attempt, known)
        known |= found
        left = deadline - time.monotonic()
        if not found or left <= 0:
            break
        pause(min(left, length))
        length = min(2 * length, _LONGEST_PAUSE_SECONDS)
    length = _FIRST_PAUSE_SECONDS
    for _ in range(_ROUNDS):
        found = _signal_all(attempt, known, signal.SIGKILL)
        known |= found
        if not found:
            return
        # A process with much memory, or on a busy machine, takes its time to die.
        pause(length)
        length = min(2 * length, _LONGEST_PAUSE_SECONDS)


def _signal_all(
    attempt: Attempt, known: AbstractSet[Process], number: signal.Signals
) -> set[Process]:
    """Send a signal to all that are found, and return them."""
    found = _find(attempt, known)
    in_group = sys.platform != "linux" or any(one.group == attempt.leader for one in found)
    if attempt.leader is not None and found and in_group:
        try:
            # At once for the whole group, so that none forks away in between.
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


def _is_reused(attempt: Attempt, living: Iterable[Process]) -> bool:
    """Whether the leader's number is another's by now."""
    ticks = attempt.leader_ticks
    return ticks is not None and any(
        process.pid == attempt.leader and process.start_ticks != ticks for process in living
    )


def _belongs(process: Process, wanted: frozenset[bytes], attempt: Attempt) -> bool:
    if attempt.leader is not None and attempt.leader in (process.group, process.session):
        return True
    if not wanted.isdisjoint(processes.environment(process.pid)):
        return True
    return bool(attempt.logs) and processes.can_write_to(process.pid, attempt.logs)
