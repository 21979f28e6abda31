"""Everything that an attempt started: found by traces that the kernel keeps, stopped or killed."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import AbstractSet, Callable, Iterable, Sequence

from queuectl.core.named_tuples import NamedTuple
from queuectl.host import processes
from queuectl.host.processes import FileIdentity, Process
from queuectl.runner.children import Children, ProcessName, is_detached_pool

_ROUNDS = 20
"""How often KILL is sent at most, each time to all processes that are found."""

_PATIENT_ROUNDS = 4
"""For how many rounds a process may still be about to stop: 75 ms."""

_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.1

_LOOKS = 50
"""How often we look again, at most, because processes were started during the look before."""

_SAME_ROUND_TICKS = 60 * os.sysconf("SC_CLK_TCK")
"""A PID is given again only after all others were: not within a minute of the first time."""


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
    names: frozenset[ProcessName] = frozenset()
    """Processes that are known to belong to the attempt, and with them their sessions."""
    children: Children | None = None
    """The children of this process, if it started the attempt: a process that hides its traces
    still is a child of the worker once its own parent has ended."""


def identity(path: str) -> frozenset[FileIdentity]:
    """Return the identity of the file at a path, as a set; empty if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return frozenset()
    return frozenset([(status.st_dev, status.st_ino)])


def session_leader(mark: str, pid: int | None = None) -> ProcessName | None:
    """Return PID and start, in clock ticks, of the process that was started for an attempt.

    It is found by its mark, and by its PID where that is known. None if it does not run, or if
    processes are not visible.
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


def living(attempt: AttemptProcesses) -> tuple[ProcessName, ...]:
    """Return the processes of an attempt that are alive."""
    return tuple(sorted(one.name for one in _find(attempt, frozenset())))


def end(
    attempt: AttemptProcesses, grace_seconds: float, wait: Callable[[float], None]
) -> tuple[ProcessName, ...]:
    """End all processes of an attempt: TERM, grace time, then KILL until none is found.

    Returns the processes that could not be ended, because they belong to another user or hang in
    the kernel. `wait` sleeps for a number of seconds, or for less.
    """
    # Remember every process found so far: once its parent is gone, nothing else may link it to this
    # attempt.
    last = processes.last_pid()
    known, refused = _signal_all(attempt, frozenset(), signal.SIGTERM)
    if not known and not _signal_since(attempt, known, last, signal.SIGKILL):
        return ()
    # A stopped process handles its TERM only after a CONT.
    known |= _signal_all(attempt, known, signal.SIGCONT)[0]
    deadline = time.monotonic() + grace_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        found = {one.name for one in _find(attempt, known)}
        known |= found
        left = deadline - time.monotonic()
        # Processes that must not be signalled get no grace time.
        if found <= refused or left <= 0:
            break
        wait(min(left, pause))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return _kill(attempt, known, wait)


def stop(
    attempt: AttemptProcesses,
    may_not_stop: Callable[[], AbstractSet[int]],
    wait: Callable[[float], None],
) -> bool:
    """Stop all processes of an attempt by SIGSTOP, again until none is found that runs.

    Returns whether that succeeded; else it has to be done again later. `may_not_stop` returns the
    PIDs of processes that others wait for: such a process goes on until it is not among them any
    more. A process of another user, which cannot be stopped, runs on. `wait` sleeps for a number of
    seconds, or for less.
    """
    known: set[ProcessName] = set()
    pause = _FIRST_PAUSE_SECONDS
    for number in range(_ROUNDS):
        last = processes.last_pid()
        found, refused = _signal_all(attempt, known, signal.SIGSTOP)
        known |= found
        if not processes.are_visible():
            return True  # the whole group got the signal, and more cannot be known
        started = _signal_since(attempt, known, last, signal.SIGSTOP)
        known |= started
        stoppable = found - refused
        is_patient = number < _PATIENT_ROUNDS
        is_quiet = not started and all(_stands(pid, is_patient=is_patient) for pid, _ in stoppable)
        # Look now, not before: a process that runs may get a lock, a stopped one gets none.
        needed = may_not_stop()
        going_on = [name for name in stoppable | started if name[0] in needed]
        if is_quiet and not going_on:
            return True
        for name in going_on:
            _send(name, signal.SIGCONT)
        wait(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return False


def _stands(pid: int, *, is_patient: bool) -> bool:
    """Whether a process that got a STOP does nothing any more.

    A shell that waits for its child to load a program (vfork) handles the STOP only after that, and
    the child may be stopped. So it counts as stopped once it has waited for a while.
    """
    return processes.is_suspended(pid) or (not is_patient and processes.is_uninterruptible(pid))


def go_on(attempt: AttemptProcesses, wait: Callable[[float], None]) -> None:
    """Let all processes of an attempt go on that are stopped."""
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(_ROUNDS):
        found, refused = _signal_all(attempt, frozenset(), signal.SIGCONT)
        if not any(processes.is_suspended(pid) for pid, _ in found - refused):
            return
        wait(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _kill(
    attempt: AttemptProcesses, known: set[ProcessName], wait: Callable[[float], None]
) -> tuple[ProcessName, ...]:
    """Send KILL until nothing is found that can be ended; return what cannot."""
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(_ROUNDS):
        last = processes.last_pid()
        found, refused = _signal_all(attempt, known, signal.SIGKILL)
        known |= found
        if attempt.children is not None:
            attempt.children.kill_orphans(attempt.leader, lambda one: _may_be_of(attempt, one))
        if found <= refused and not _signal_since(attempt, known, last, signal.SIGKILL):
            return tuple(sorted(refused))
        if not processes.are_visible():
            return ()  # the whole group got the signal, and more cannot be known
        # A process with much memory, or on a busy machine, takes time to die.
        wait(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return tuple(sorted(one.name for one in _find(attempt, known)))


def _signal_since(
    attempt: AttemptProcesses,
    known: AbstractSet[ProcessName],
    last: int | None,
    number: signal.Signals,
) -> set[ProcessName]:
    """Send a signal to the processes of an attempt that were started since a PID was given.

    Returns those that are not known yet. A look at all processes takes time: a process that forked
    and exited all the time was gone each time when its PID was looked at, and lived on under the
    next.
    """
    found: set[ProcessName] = set()
    for _ in range(_LOOKS):
        since, last = last, processes.last_pid()
        if since is None or since == last:
            break
        found |= _signal_all(attempt, known | found, number, since=since)[0] - known
    return found


def _signal_all(
    attempt: AttemptProcesses,
    known: AbstractSet[ProcessName],
    number: signal.Signals,
    *,
    since: int | None = None,
) -> tuple[set[ProcessName], set[ProcessName]]:
    """Send a signal to every process that is found.

    Returns those that were found, and those of them that we must not signal.
    """
    found = _find(attempt, known, since)
    group = attempt.leader if _owns_group(attempt, found) else None
    if group is not None:
        try:
            # Signal the whole group in one call, so that no process can fork in between.
            os.killpg(group, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            if not processes.are_visible():
                names = {one.name for one in found}
                return names, set(names)
    refused: set[ProcessName] = set()
    for process in found if processes.are_visible() else ():
        try:
            # Nobody gets a signal twice; to send 0 only asks whether we may signal it.
            again = 0 if process.group == group else number
            processes.send_signal(process.pid, process.start_ticks, again)
        except ProcessLookupError:
            pass
        except PermissionError:
            refused.add(process.name)
    return {one.name for one in found}, refused


def _send(name: ProcessName, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        processes.send_signal(*name, number)


def _owns_group(attempt: AttemptProcesses, found: Iterable[Process]) -> bool:
    """Whether the process group that has the PID of the leader cannot be one of others."""
    if attempt.leader_ticks is None:
        return True  # the leader is our child and not reaped yet, or nothing else is known
    return any(process.name == (attempt.leader, attempt.leader_ticks) for process in found)


def _find(
    attempt: AttemptProcesses, known: AbstractSet[ProcessName], since: int | None = None
) -> set[Process]:
    """Return the living processes that belong to an attempt, and all their descendants.

    `known` are processes that were found earlier. With `since`, only processes whose PID was given
    after that one. Where processes are not visible only the group of the leader can be checked; the
    leader then stands for its whole group.
    """
    if not processes.are_visible():
        leader = attempt.leader
        lives = leader is not None and processes.group_lives(leader)
        return {Process(leader, 0, 0, 0, 0)} if leader is not None and lives else set()
    living = list(processes.living(since))
    look = _Look(attempt, known, living)
    children: dict[int, list[Process]] = {}
    found = []
    for process in living:
        children.setdefault(process.parent, []).append(process)
        if look.shows(process):
            found.append(process)
    for process in found:
        found += [one for one in children.pop(process.pid, ()) if not is_detached_pool(one)]
    return set(found)


class _Look:
    """One look at the processes of this machine, for those of an attempt."""

    def __init__(
        self, attempt: AttemptProcesses, known: AbstractSet[ProcessName], living: Sequence[Process]
    ) -> None:
        self._attempt = attempt
        # Compare PID and start only: the parent of an orphan changes, and a process may move to
        # another group or session.
        self._names = known | attempt.names
        self._sessions = {one.session for one in living if one.name in attempt.names}
        self._wanted = frozenset(map(_variable, attempt.marks))
        holders = {one.start_ticks for one in living if one.pid == attempt.leader}
        self._is_pid_reused = attempt.leader_ticks is not None and bool(
            holders - {attempt.leader_ticks}
        )
        self._is_leader_alive = attempt.leader_ticks in holders

    def shows(self, process: Process) -> bool:
        """Whether a process belongs to the attempt, for reasons of its own."""
        return self._belongs(process) and not is_detached_pool(process)

    def _belongs(self, process: Process) -> bool:
        attempt = self._attempt
        if process.name in self._names:
            return True
        if process.session in self._sessions or self._is_of_leader(process):
            return True
        if not self._wanted.isdisjoint(processes.environment(process.pid)):
            return True
        if attempt.children is not None and attempt.children.adopted(process):
            return _may_be_of(attempt, process)
        return bool(attempt.logs) and processes.can_write_to(process.pid, attempt.logs)

    def _is_of_leader(self, process: Process) -> bool:
        """Whether a process is in the group or session that the leader made."""
        leader, ticks = self._attempt.leader, self._attempt.leader_ticks
        if leader is None or leader not in (process.group, process.session):
            return False
        if ticks is None or self._is_leader_alive:
            return True
        if self._is_pid_reused:
            # No process can be left in its group or session, or the kernel would not reuse the PID.
            return False
        # The leader is gone. Its PID may have been given to another one, which is gone as well.
        return (
            process.parent in (os.getpid(), os.getppid())
            or process.start_ticks - ticks < _SAME_ROUND_TICKS
        )


def _variable(mark: str) -> bytes:
    return b"QUEUECTL_EXECUTION=" + mark.encode()


def _may_be_of(attempt: AttemptProcesses, process: Process) -> bool:
    """Whether a child of the worker has neither the mark of another attempt nor its own jobs."""
    marks = [
        variable
        for variable in processes.environment(process.pid)
        if variable.startswith(b"QUEUECTL_EXECUTION=")
    ]
    is_other = bool(marks) and marks[0] not in map(_variable, attempt.marks)
    return not is_other and not is_detached_pool(process)
