"""The processes of this machine, as /proc and the kernel describe them."""

from __future__ import annotations

import os
import sys
import time
from typing import Iterator, NamedTuple, Sequence

NOT_THERE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""A file in /proc that cannot be opened for another reason, for want of a descriptor say, tells
nothing of its process."""


def age_seconds(ticks: int) -> float:
    """Return how long ago a process started, whatever happened to the wall clock since."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if that cannot be known."""
    try:
        return _ticks(_status(pid))
    except OSError:
        return None


def boot_id() -> str | None:
    """Return what names this boot of the machine; None where the kernel tells of none.

    OSError if it cannot be asked just now: whoever took it for another would take all for dead.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as source:
            return source.read().strip().decode("ascii")
    except NOT_THERE:
        return None


def pid_namespace() -> str | None:
    """Return what names the container whose processes can be seen from here; None where the kernel
    tells of none.
    """
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def same_process(pid: int, ticks: int | None, boot: str | None) -> bool:
    """Whether that process still runs: its number and its start, in the same boot.

    Where the kernel tells no start, only its number is asked for. OSError if it cannot be asked
    just now, for want of a descriptor say: that is no sign of death.
    """
    if boot != boot_id():
        return False
    if sys.platform == "linux":
        # In a container without an init that reaps, a zombie may stay for ever.
        fields = _status(pid)
        lives = fields[:1] not in ([], [b"Z"], [b"X"])
        return lives and ticks is not None and _ticks(fields) == ticks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_unreaped(pid: int, ticks: int) -> bool:
    """Whether a process has its number still, though it may have ended; OSError as above."""
    return _ticks(_status(pid)) == ticks


def _ticks(fields: Sequence[bytes]) -> int | None:
    # Field 22 of all, the 20th after the name.
    return int(fields[19]) if len(fields) > 19 else None


def _status(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third, the state, on; none if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as status:
            # The second, the name in parentheses, may hold anything.
            return status.read().rpartition(b")")[2].split()
    except NOT_THERE:
        return []


class Process(NamedTuple):
    """A living process, as /proc/PID/stat tells; its number and its start name it for good."""

    pid: int
    parent: int
    group: int
    session: int
    start_ticks: int


def living() -> Iterator[Process]:
    """Yield all processes but this one and zombies; Linux only."""
    own = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as status:
                # After the name, in parentheses: state, parent, group, session, …
                fields = status.read().rpartition(b")")[2].split()
        except NOT_THERE:
            continue
        if fields and fields[0] not in (b"Z", b"X"):
            parent, group, session = map(int, fields[1:4])
            yield Process(int(name), parent, group, session, int(fields[19]))


_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def become_subreaper() -> bool:
    """Become the parent of what descendants leave orphaned, on Linux; whether that worked.

    So the exit status of a job whose worker was killed is not lost to init.
    """
    if sys.platform != "linux":
        return False
    try:
        import ctypes  # 10 ms and 1 MB, in the supervisor alone
    except ImportError:  # not built with it, or no descriptor is left to load it
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def close_strange_descriptors() -> None:
    """Close all but the standard ones: what the starting shell had open is not for jobs."""
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return
    for name in names:
        if name.isdigit() and int(name) > 2:
            try:
                os.close(int(name))
            except OSError:  # the one that the listing itself used
                pass
