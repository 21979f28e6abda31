"""The processes of this machine, as the kernel and /proc describe them."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from functools import lru_cache
from typing import AbstractSet, Any, Iterator, Sequence, Tuple

from queuectl.core.escaping import storable
from queuectl.core.named_tuples import NamedTuple

FileIdentity = Tuple[int, int]
"""Device and inode of a file."""

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""A process is gone, or not ours to look at. Any other error, for example when no descriptor is
left to open a file in /proc, says nothing about the process and is raised."""

# Places in what _stat returns: utime, stime, cutime and cstime; rss.
_CPU_TICKS = slice(11, 15)
_RESIDENT_PAGES = 21

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_NO_PIDFD = (errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""The kernel or a sandbox has no pidfd_open, or no descriptor is left for one."""


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

    @property
    def name(self) -> tuple[int, int]:
        """Its PID and its start."""
        return self.pid, self.start_ticks


def are_visible() -> bool:
    """Whether /proc tells about the processes that this one can signal.

    Not elsewhere than on Linux, not in a chroot without /proc, and not if /proc is that of another
    PID namespace: then its numbers are those of other processes.
    """
    return sys.platform == "linux" and _is_proc_of(os.getpid())


HIDDEN = "no /proc of this system: of a job that is cut short, only the process group is ended"
"""What that means for users, on Linux."""


def are_hidden() -> bool:
    """Whether processes should be visible, since this is Linux, and are not."""
    return sys.platform == "linux" and not are_visible()


@lru_cache(maxsize=1)
def _is_proc_of(pid: int) -> bool:
    try:
        return os.readlink("/proc/self") == str(pid)
    except OSError:
        return False


def living(since: int | None = None) -> Iterator[Process]:
    """Yield all processes except this one and zombies, if they are visible.

    With `since`, only those whose PID was given after that one (see `last_pid`).
    """
    own = os.getpid()
    for pid in _pids(since):
        process = None if pid == own else describe(pid)
        if process is not None:
            yield process


def describe(pid: int) -> Process | None:
    """Return what is known of a living process; None if it has ended or is not visible."""
    fields = _stat(pid) if are_visible() else []
    if not _is_alive(fields):
        return None
    parent, group, session = map(int, fields[1:4])
    return Process(pid, parent, group, session, int(fields[19]))


class Usage(NamedTuple):
    """The resources that a living process has used."""

    cpu_seconds: float
    """Its CPU time, and that of the children that it has waited for."""
    memory_bytes: int
    """Its memory now (resident set)."""


def usage(pid: int) -> Usage | None:
    """Return what a process has used; None if it has ended or is not visible."""
    fields = _stat(pid) if are_visible() else []
    if not _is_alive(fields) or len(fields) <= _RESIDENT_PAGES:
        return None
    ticks = sum(map(int, fields[_CPU_TICKS]))
    pages = int(fields[_RESIDENT_PAGES])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))


def _pids(since: int | None) -> Iterator[int]:
    if not are_visible():
        return iter(())
    last = since if since is None else last_pid()
    # PIDs are given in a circle: after the highest one they begin with the lowest again.
    if since is None or last is None or last < since:
        return map(int, filter(str.isdigit, os.listdir("/proc")))
    return iter(range(since + 1, last + 1))


def last_pid() -> int | None:
    """Return the last PID that the kernel gave to any process; None if it does not tell.

    If it stays the same, no process was started in the meantime.
    """
    try:
        with open("/proc/loadavg", "rb") as source:
            return int(source.read().split()[-1])
    except (OSError, ValueError):
        return None


def children() -> list[int]:
    """Return the PIDs of the children of this process, ended or not; none if not visible."""
    own = os.getpid()
    if not are_visible():
        return []
    try:
        with open(f"/proc/{own}/task/{own}/children", "rb") as source:
            return list(map(int, source.read().split()))
    except OSError:  # the kernel was built without it
        return [process.pid for process in living() if process.parent == own]


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if that cannot be known."""
    try:
        return _start_ticks(_stat(pid)) if are_visible() else None
    except OSError:
        return None


def send_signal(pid: int, ticks: int, number: int) -> None:
    """Send a signal to the process that started at `ticks`, never to another with its PID.

    Raises ProcessLookupError if it is gone, PermissionError if it must not be signalled.
    """
    # The process may end after we compared its start, and its PID may be given to another process,
    # which would then get the signal. A descriptor keeps naming the same process.
    descriptor = _pidfd(pid)
    try:
        if start_ticks(pid) != ticks:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if descriptor is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)  # novm (there if pidfd_open is)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    """Return a descriptor that names a process; None where that is impossible, as in Python 3.8."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)  # novm (checked above)
    except OSError as error:
        if error.errno in _NO_PIDFD:
            return None
        raise


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


def clock() -> float:
    """Return the time of the clock by which the kernel notes starts: it also runs in a suspend.

    Without it a timeout would end an adopted job after a night in suspend, and no other job.
    """
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def age_seconds(ticks: int) -> float:
    """Return how long ago a process started, however the wall clock was set since then."""
    return clock() - ticks / os.sysconf("SC_CLK_TCK")


def same_process(pid: int, ticks: int | None, boot: str | None) -> bool:
    """Whether a process still runs: the same PID and the same start, in the same boot.

    Where the kernel does not tell the start, only the PID is checked. Raises OSError if the answer
    cannot be known now, for example because no descriptor is left: the process may well live.
    """
    if boot != boot_id():
        return False
    if are_visible():
        # A zombie counts as dead: in a container without an init it may stay for ever.
        fields = _stat(pid)
        return _is_alive(fields) and ticks is not None and _start_ticks(fields) == ticks
    # Where processes are not visible the process may be one that got the PID meanwhile.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_suspended(pid: int) -> bool:
    """Whether a process is stopped, by Ctrl+Z, SIGSTOP or a debugger; False if that is unknown."""
    try:
        return _stat(pid)[:1] in ([b"T"], [b"t"])
    except OSError:
        return False


def is_uninterruptible(pid: int) -> bool:
    """Whether a process waits in the kernel and handles no signal now; False if unknown."""
    try:
        return _stat(pid)[:1] == [b"D"]
    except OSError:
        return False


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
    if not are_visible():
        return []
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


def user_name() -> str:
    """Return the name of this user, as text that can be stored; the number if there is no name."""
    import getpass  # workers do not need it

    try:
        return storable(getpass.getuser())
    except (KeyError, OSError):  # no such user, as in some containers
        return str(os.getuid())


def become_subreaper() -> bool:
    """Become the parent of orphaned descendants (Linux only). Return whether that worked.

    Otherwise init would reap a job whose worker was killed, and its exit status would be lost.
    """
    libc = load_libc()
    return libc is not None and bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


@lru_cache(maxsize=1)
def load_libc() -> Any:
    """Return the C library as ctypes loads it (Linux only); None if that is impossible.

    It takes 10 ms and 1 MB: a supervisor loads it before it forks, and the workers share it.
    """
    if sys.platform != "linux":
        return None
    try:
        import ctypes
    except ImportError:  # Python was built without it, or no descriptor is left to load it
        return None
    return ctypes.CDLL(None)


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
    # Not `open`, which takes twice the time: this is read once per job.
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except _GONE:
        return []
    try:
        # The second field, the name in parentheses, may hold anything.
        return os.read(descriptor, 4096).rpartition(b")")[2].split()
    except _GONE:
        return []
    finally:
        os.close(descriptor)


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
