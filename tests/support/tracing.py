"""System calls that fail: strace records those of a run, then injects a fault into one."""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Sequence, TypeVar

import pytest

import queuectl
from support.calls import COMMAND, Called
from support.processes import status_field
from support.queue import Queue
from support.waiting import wait_until

LONG = os.environ.get("QUEUECTL_TEST_LONG") == "1"
"""Whether all points of a sweep are tried, and soak tests last minutes."""

long_only = pytest.mark.skipif(not LONG, reason="only with QUEUECTL_TEST_LONG=1")

_Item = TypeVar("_Item")
_CALL = re.compile(r"(?:\[pid +\d+\] )?(\w+)\((.*)")
_CURRENT_FOLDER = re.compile(r"^AT_FDCWD<[^>]*>")
_ON_FILES = (
    "openat write pwrite64 fsync fdatasync rename unlink flock ftruncate fallocate mkdir mknod "
    "mknodat".split()
)
_ON_PROCESSES = "clone clone3 vfork fork execve wait4 waitid".split()


def _can_trace() -> bool:
    if sys.platform != "linux" or shutil.which("strace") is None:
        return False
    tried = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, check=False
    )
    return tried.returncode == 0


_WITH_A_FILTER = ["-f", "--seccomp-bpf"]
"""With it only traced calls stop the process, which is twice as fast. Not each strace has it."""


@lru_cache
def _can_filter() -> bool:
    tried = subprocess.run(
        ["strace", *_WITH_A_FILTER, "-o", "/dev/null", "true"], capture_output=True, check=False
    )
    return tried.returncode == 0 and not tried.stderr


needs_strace = pytest.mark.skipif(
    not _can_trace(), reason="needs strace and the permission to trace"
)


class Point(NamedTuple):
    """The n-th time that one process makes a system call."""

    call: str
    number: int

    def inject(self, fault: str, and_then: str = "") -> list[str]:
        """Return strace's options that inject a fault here, in each process that comes so far.

        With `and_then="+"` all following calls fail as well, with `"+2"` every second one.
        """
        when = f"{self.number}{and_then}"
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:{fault}:when={when}"]


# The errors of each call. Calls of wait4 and waitid for own children cannot fail.
_ERRORS = {
    "openat": ["EMFILE", "EIO", "ENOSPC", "EINTR"],
    "write": ["ENOSPC", "EIO", "EINTR"],
    "pwrite64": ["ENOSPC", "EIO", "EINTR"],
    "fsync": ["EIO", "ENOSPC"],
    "fdatasync": ["EIO", "ENOSPC"],
    "rename": ["EIO", "ENOSPC"],
    "unlink": ["EIO"],
    "flock": ["EINTR", "ENOLCK"],
    "ftruncate": ["EIO", "EINTR"],
    "fallocate": ["EOPNOTSUPP", "EIO", "ENOSPC", "EINTR"],
    "mkdir": ["ENOSPC", "EIO"],
    "mknod": ["ENOSPC", "EIO"],
    "mknodat": ["ENOSPC", "EIO"],
    "clone": ["EAGAIN", "ENOMEM"],
    "clone3": ["EAGAIN", "ENOMEM"],
    "vfork": ["EAGAIN", "ENOMEM"],
    "fork": ["EAGAIN", "ENOMEM"],
    "execve": ["EIO", "EAGAIN", "ENOMEM"],
}


class Fault(NamedTuple):
    """A point at which the system call fails, once or from then on."""

    point: Point
    error: str
    for_good: bool

    @property
    def options(self) -> list[str]:
        """The options of strace that inject it."""
        and_then = ""
        if self.for_good:
            # An interrupted call is repeated, which would go on for ever.
            and_then = "+2" if self.error == "EINTR" else "+"
        return self.point.inject(f"error={self.error}", and_then)


def faults(every: Iterable[Point]) -> list[Fault]:
    """Return each point with each of its errors, once and for good.

    In the short form it is one fault for each system call.
    """
    kinds: dict[str, list[tuple[Point, str]]] = {}
    for point in every:
        for error in _ERRORS.get(point.call, []):
            kinds.setdefault(point.call, []).append((point, error))
    if LONG:
        return [
            Fault(*one, for_good)
            for kind in kinds.values()
            for one in kind
            for for_good in (False, True)
        ]
    # Take one from the middle; alternate between once and for good.
    return [
        Fault(*kind[len(kind) // 2], bool(number % 2)) for number, kind in enumerate(kinds.values())
    ]


def announced(every: Sequence[Fault]) -> Iterator[Fault]:
    """Yield each fault after printing it."""
    print(f"{len(every)} faults")
    for fault in every:
        print(fault)
        yield fault


def sample(points: Sequence[_Item], about: int) -> Sequence[_Item]:
    """Return all points in the long form, else about so many from the first to the last.

    One point is taken from the middle.
    """
    if LONG or len(points) <= about:
        return points
    if about == 1:
        return [points[len(points) // 2]]
    return [points[round(i * (len(points) - 1) / (about - 1))] for i in range(about)]


def recording(prefix: Path) -> list[str]:
    """Return strace's options that record what `points` reads, one file per process.

    Before that, all modules are compiled: otherwise only the recorded run would write the compiled
    ones, and a point would not be the same in the next run.
    """
    compileall.compile_dir(str(Path(queuectl.__file__).parent), quiet=2)
    # With a question mark it is no error if this machine lacks a call (fork on ARM).
    calls = ",".join("?" + call for call in (*_ON_FILES, *_ON_PROCESSES))
    return ["-ff", "-y", "-qq", "-o", str(prefix), "-e", f"trace={calls}"]


def points(prefix: Path, queue: Queue, of: str = "*") -> list[Point]:
    """Return the points of a recorded run at which a kill could leave something incomplete.

    Reading modules of Python is not one of them. `of` restricts it to one process.
    """
    found = set()
    for path in prefix.parent.glob(f"{prefix.name}.{of}"):
        counts = dict.fromkeys((*_ON_FILES, *_ON_PROCESSES), 0)
        for line in path.read_text(errors="replace").splitlines():
            match = _CALL.match(line)
            if match is None or match.group(1) not in counts:
                continue
            call = match.group(1)
            # Every relative path comes with the current folder, which lies in the queue's.
            arguments = _CURRENT_FOLDER.sub("", match.group(2))
            counts[call] += 1
            matters = call in _ON_PROCESSES or str(queue.folder) in arguments
            if matters or (call == "write" and arguments.startswith("1<")):
                found.add(Point(call, counts[call]))
        path.unlink()
    print(f"{len(found)} points")  # shown by pytest -s, and when something fails
    return sorted(found)


def enqueue_points(queue: Queue) -> list[Point]:
    """Return the points of an enqueue that creates its queue."""
    prefix = queue.folder / "trace"
    done = strace(queue, recording(prefix), "enqueue", "--id", "traced", "--", "true")
    assert done.code == 0, done.err
    return points(prefix, queue)


def without_queue(queue: Queue) -> None:
    """Delete the files of the queue."""
    shutil.rmtree(queue.files.folder, ignore_errors=True)
    for suffix in ("", "-wal", "-shm"):
        try:
            Path(queue.files.database + suffix).unlink()
        except FileNotFoundError:
            pass


def strace(queue: Queue, options: Sequence[str], *args: str, before: Sequence[str] = ()) -> Called:
    """Run `BEFORE queuectl ARGS` under strace to its end."""
    return queue.run(*args, before=[*under_strace(options), *before])


def under_strace(options: Sequence[str]) -> list[str]:
    """Return what to put before the words of a command, so that strace follows its processes."""
    where = [] if "-o" in options else ["-o", "/dev/null"]
    return ["strace", *(_WITH_A_FILTER if _can_filter() else ["-f"]), *where, *options]


class Tracer:
    """A strace that runs at the same time as the test."""

    def __init__(
        self, queue: Queue, options: Sequence[str], log: Path, *, follow: bool = True
    ) -> None:
        """`options` end with `-p PID` or with a command; `follow`: trace its children as well."""
        self._log = log
        self._process = subprocess.Popen(
            ["strace", *["-f"] * follow, "-o", str(log), *options],
            env=queue.env,
            cwd=str(queue.work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def attached(self, pid: int) -> Tracer:
        """Wait until strace traces that process; return this object."""
        status = Path(f"/proc/{pid}/status")
        wait_until(lambda: f"TracerPid:\t{self._process.pid}\n" in status.read_text())
        return self

    @property
    def has_killed(self) -> bool:
        """Whether a traced process was killed."""
        return self._log.exists() and "killed by SIGKILL" in self._log.read_text()

    @property
    def injected(self) -> int:
        """The number of calls that failed by injection."""
        return self._log.read_text().count("(INJECTED)") if self._log.exists() else 0

    @property
    def is_over(self) -> bool:
        """Whether all traced processes have ended."""
        return self._process.poll() is not None

    def detach(self) -> None:
        """End strace; the traced processes go on without it."""
        # By SIGKILL, because at other signals strace ends the command that it started.
        self._process.kill()
        self._process.wait()


def kill_once(queue: Queue, point: Point, *args: str) -> None:
    """Run `queuectl ARGS` until one of its processes is killed at the point; wait for the others.

    A replacement would come to the same point, and be killed again and again.
    """
    log = queue.folder / "kills"
    log.unlink(missing_ok=True)
    tracer = Tracer(queue, [*point.inject("signal=SIGKILL"), COMMAND, *args], log)
    try:
        wait_until(lambda: tracer.has_killed or tracer.is_over, what=f"a kill at {point}")
    finally:
        tracer.detach()
    try:
        wait_until(lambda: not queue.pids(), what="all processes of the queue to end")
    except pytest.fail.Exception:
        for pid in queue.pids():  # printed with the failure
            print(pid, *(status_field(pid, of) for of in ("Name", "State", "PPid", "TracerPid")))
        raise
