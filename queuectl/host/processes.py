"""The processes of this machine, as the kernel and /proc describe them."""

from __future__ import annotations

import os
import sys
import time
from typing import AbstractSet, Iterator, NamedTuple, Sequence, Tuple

from queuectl.core.escaping import storable

FileIdentity = Tuple[int, int]
"""Device and inode of a file."""

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""A process is gone, or not ours to look at. Any other error, for example when no descriptor is
left to open a file in /proc, says nothing about the process and is raised."""

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Process(NamedTuple):
    """A living process. Its PID and its start together identify it for good."""

    pid: int
    """Its number, which the kernel may give to another process once this one is reaped."""
    parent: int
    """The PID of its parent; it changes when the parent ends."""
    group: int
    """Its process group."""
    session: int
    """Its session."""
    start_ticks: int
    """When it started, in clock ticks since boot."""


def living() -> Iterator[Process]:
    """Yield all processes except this one and zombies; Linux only."""
    own = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own:
            fields = _stat(int(name))
            if _is_alive(fields):
                parent, group, session = map(int, fields[1:4])
                yield Process(int(name), parent, group, session, int(fields[19]))


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if that cannot be known."""
    try:
        return _start_ticks(_stat(pid))
    except OSError:
        return None


def is_pid(number: int) -> bool:
    """Whether a number can be the PID of a process of ours.

    To a signal, 0 and negative numbers mean whole groups, and 1 is the init of the system.
    """
    return 1 < number < 1 << 31


def user(pid: int) -> int | None:
    """Return the user who runs a process; None if it is gone, or if that cannot be known."""
    try:
        # Not the owner of /proc/PID: for some processes of other users that is root.
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def age_seconds(ticks: int) -> float:
    """Return how long ago a process started, however the wall clock was set since then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def same_process(pid: int, ticks: int | None, boot: str | None) -> bool:
    """Whether a process still runs: the same PID and the same start, in the same boot.

    Where the kernel does not tell the start, only the PID is checked. Raises OSError if the answer
    cannot be known now, for example because no descriptor is left: the process may well live.
    """
    if boot != boot_id():
        return False
    if sys.platform == "linux":
        # A zombie counts as dead: in a container without an init it may stay for ever.
        fields = _stat(pid)
        return _is_alive(fields) and ticks is not None and _start_ticks(fields) == ticks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_unreaped(pid: int, ticks: int) -> bool:
    """Whether a process, running or ended, still has its PID. Raises OSError as `same_process`."""
    return _start_ticks(_stat(pid)) == ticks


def group_lives(group: int) -> bool:
    """Whether a process group still has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # on macOS: only zombies are left in it
        return False
    return True


def environment(pid: int) -> list[bytes]:
    """Return the environment that a process was started with, as NAME=VALUE; Linux only.

    Empty if the process is gone or belongs to another user.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as variables:
            return variables.read().split(b"\0")
    except _GONE:
        return []


def can_write_to(pid: int, files: AbstractSet[FileIdentity]) -> bool:
    """Whether a process has one of these files open for writing; Linux only."""
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except _GONE:
        return False
    for descriptor in descriptors:
        try:
            status = os.stat(f"{folder}/{descriptor}")
        except OSError:  # it was closed meanwhile, or its file system is gone
            continue
        if (status.st_dev, status.st_ino) in files and _is_writable(pid, descriptor):
            return True
    return False


def boot_id() -> str | None:
    """Return the id of this boot of the machine; None if the kernel does not tell.

    Raises OSError if it cannot be read just now: if that were taken for another boot, every
    process from before would seem dead.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as source:
            return source.read().strip().decode("ascii")
    except _GONE:
        return None


def pid_namespace() -> str | None:
    """Return the id of the container whose processes can be seen from here; None if the kernel does
    not tell.
    """
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def host_name() -> str:
    """Return the name of this host, as text that can be stored."""
    return storable(os.uname().nodename)


def become_subreaper() -> bool:
    """Become the parent of orphaned descendants (Linux only). Return whether that worked.

    Otherwise init would reap a job whose worker was killed, and its exit status would be lost.
    """
    if sys.platform != "linux":
        return False
    try:
        import ctypes  # 10 ms and 1 MB, in the supervisor alone
    except ImportError:  # Python was built without it, or no descriptor is left to load it
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def close_inherited_descriptors() -> None:
    """Close all descriptors but the standard ones: what the shell had open is not for jobs."""
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return
    for name in names:
        if name.isdigit() and int(name) > 2:
            try:
                os.close(int(name))
            except OSError:  # the descriptor that the listing itself used
                pass


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third, the state, on; none if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as status:
            # The second field, the name in parentheses, may hold anything.
            return status.read().rpartition(b")")[2].split()
    except _GONE:
        return []


def _is_alive(fields: Sequence[bytes]) -> bool:
    return fields[:1] not in ([], [b"Z"], [b"X"])


def _start_ticks(fields: Sequence[bytes]) -> int | None:
    # Field 22 of the file is the 20th after the name.
    return int(fields[19]) if len(fields) > 19 else None


def _is_writable(pid: int, descriptor: str) -> bool:
    """Whether a descriptor is open for writing: `logs` and `less` only read."""
    try:
        with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as lines:
            for line in lines:
                if line.startswith(b"flags:"):
                    return int(line.split()[1], 8) & (os.O_WRONLY | os.O_RDWR) != 0
    except _GONE:  # it was closed meanwhile
        pass
    return False
