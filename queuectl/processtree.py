"""Everything that one attempt started: found by the kernel's own marks, and ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Callable, FrozenSet, List, NamedTuple, Optional, Tuple

_ROUNDS = 20
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.1


FileIdentity = Tuple[int, int]
"""Device and inode of a file."""


class Attempt(NamedTuple):
    """How the processes of an attempt (or of several of one job) are known.

    `marks` are values of QUEUECTL_EXECUTION in their environment; `logs` the files that they
    inherited as output, open for writing; `leader` the process that was started, given only while
    its number is certainly still its own.
    """

    marks: FrozenSet[str]
    logs: FrozenSet[FileIdentity] = frozenset()
    leader: Optional[int] = None


def identity(path: str) -> FrozenSet[FileIdentity]:
    """Return the identity of the file at a path, as a set that is empty when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return frozenset()
    return frozenset([(status.st_dev, status.st_ino)])


def members(attempt: Attempt) -> List[int]:
    """Return the living processes of an attempt, zombies left out.

    Elsewhere than on Linux only the leader's group can be asked, and it stands for all of it.
    """
    if sys.platform != "linux":
        return [attempt.leader] if attempt.leader and _group_lives(attempt.leader) else []
    wanted = frozenset(b"QUEUECTL_EXECUTION=" + mark.encode() for mark in attempt.marks)
    own = os.getpid()
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and int(name) != own and _belongs(name, wanted, attempt)
    ]


def session_leader(mark: str) -> Optional[int]:
    """Return the process that was started for an attempt, found by its mark; Linux only."""
    for pid in members(Attempt(frozenset([mark]))):
        try:
            if os.getsid(pid) == pid:
                return pid
        except OSError:  # it ended meanwhile
            continue
    return None


def end(attempt: Attempt, grace_seconds: float, pause: Callable[[float], None]) -> None:
    """End all processes of an attempt: TERM, a time of grace, then KILL until nobody is found.

    `pause` sleeps for so many seconds, or less.
    """
    if not _signal_all(attempt, signal.SIGTERM):
        return
    # A stopped process would meet its TERM only when it goes on.
    _signal_all(attempt, signal.SIGCONT)
    deadline = time.monotonic() + grace_seconds
    length = _FIRST_PAUSE_SECONDS
    while members(attempt):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        pause(min(left, length))
        length = min(2 * length, _LONGEST_PAUSE_SECONDS)
    length = _FIRST_PAUSE_SECONDS
    for _ in range(_ROUNDS):
        if not _signal_all(attempt, signal.SIGKILL):
            return
        # A process with much memory, or on a busy machine, takes its time to die.
        pause(length)
        length = min(2 * length, _LONGEST_PAUSE_SECONDS)


def _signal_all(attempt: Attempt, number: signal.Signals) -> bool:
    """Send a signal to all that are found; whether there were any."""
    found = members(attempt)
    if attempt.leader is not None and found:
        try:
            # At once for the whole group, so that none forks away in between.
            os.killpg(attempt.leader, number)
        except (ProcessLookupError, PermissionError):
            pass
    if sys.platform == "linux":
        for pid in found:
            try:
                if attempt.leader is None or os.getpgid(pid) != attempt.leader:
                    os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                pass
    return bool(found)


def _belongs(name: str, wanted: FrozenSet[bytes], attempt: Attempt) -> bool:
    try:
        with open(f"/proc/{name}/stat", "rb") as status:
            # After the name, in parentheses: state, parent, group, session.
            state, _, group, session = status.read().rpartition(b")")[2].split()[:4]
        if state in (b"Z", b"X"):
            return False
        if attempt.leader is not None and attempt.leader in (int(group), int(session)):
            return True
        with open(f"/proc/{name}/environ", "rb") as environment:
            if not wanted.isdisjoint(environment.read().split(b"\0")):
                return True
        return bool(attempt.logs) and _holds(name, attempt.logs)
    except (OSError, ValueError):  # it ended meanwhile, or is somebody else's
        return False


def _holds(name: str, logs: FrozenSet[FileIdentity]) -> bool:
    folder = f"/proc/{name}/fd"
    for descriptor in os.listdir(folder):
        try:
            status = os.stat(f"{folder}/{descriptor}")
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in logs and _writes(name, descriptor):
            return True
    return False


def _writes(name: str, descriptor: str) -> bool:
    """Whether a descriptor is open for writing: `logs` and `less` only read, and are let be."""
    try:
        with open(f"/proc/{name}/fdinfo/{descriptor}", "rb") as lines:
            for line in lines:
                if line.startswith(b"flags:"):
                    return int(line.split()[1], 8) & (os.O_WRONLY | os.O_RDWR) != 0
    except OSError:  # it was closed meanwhile
        pass
    return False


def _group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # on macOS: only zombies are left in it
        return False
    return True
