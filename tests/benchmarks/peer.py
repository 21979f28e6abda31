"""A peer: another queue, driven in a folder of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterable, Iterator, Sequence

from measurement import Missing
from place import PATIENCE_SECONDS, Place, wait_until
from usage import family


class Peer:
    """Another queue, in a folder of its own."""

    name = ""
    title = ""
    slow = False
    """Whether it takes long to take or to run a job, so that it gets fewer jobs."""
    resident = True
    """Whether it has processes while there is nothing to do."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder = folder
        self.place = place
        self.environment = {**os.environ, "HOME": str(folder)}
        self.started: list[subprocess.Popen[Any]] = []

    def start(self) -> None:
        """Start the processes that run jobs."""

    def submit(self, commands: Sequence[str]) -> None:
        """Enqueue jobs in the fastest way."""
        raise NotImplementedError

    def submit_one(self, command: str) -> None:
        """Enqueue one job with a process of its own."""
        self.submit([command])

    def finish(self, jobs: int) -> None:
        """Wait until so many jobs are done. It is called once per peer."""
        wait_until(lambda: self.done() >= jobs)

    def done(self) -> int:
        """Return the number of jobs that are done."""
        done = self.folder / "done"
        return done.stat().st_size if done.exists() else 0

    def processes(self) -> list[int]:
        """Return its PIDs; the last one is that of the worker whose memory is measured."""
        return [pid for one in self.running() for pid in family(one)]

    def running(self) -> list[int]:
        """Return the PIDs of the processes that were started here and still run."""
        return [one.pid for one in self.started if one.poll() is None]

    def kill(self) -> None:
        """Kill all its processes at once, but no job."""
        _kill(pid for pid in self.processes() if not is_called(pid, "sh", "sleep"))
        for one in self.started:
            one.wait()
        self.started.clear()

    def kill_with_jobs(self) -> None:
        """Kill all its processes and jobs, as a crash of the machine would."""
        self.kill()
        wait_until(lambda: not _kill(self._left()), 20)

    def _left(self) -> list[int]:
        return [pid for one in mentioning(self.folder) for pid in family(one)]

    def restart(self) -> None:
        """Start it again after it was killed."""
        self.start()

    def _popen(self, *command: str) -> subprocess.Popen[Any]:
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.started.append(process)
        return process

    def _run(self, *command: str, text: str = "") -> str:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, input=text, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            timeout=PATIENCE_SECONDS,
        ).stdout  # fmt: skip


def program(name: str) -> str:
    """Find a program, or raise Missing."""
    found = shutil.which(name)
    if not found:
        raise Missing(f"no {name}")
    return found


def library(*names: str) -> None:
    """Raise Missing unless these can be imported."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise Missing(f"no Python package {name}")


def is_called(pid: int, *names: str) -> bool:
    """Return whether a process has one of these names."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() in names
    except OSError:
        return False


def mentioning(folder: Path) -> Iterator[int]:
    """Find the processes that have a folder's path in their environment or their arguments."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            texts = [(entry / name).read_bytes() for name in ("environ", "cmdline")]
            if any(os.fsencode(folder) in text for text in texts):
                yield int(entry.name)


def _kill(pids: Iterable[int]) -> list[int]:
    killed = list(pids)
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    return killed


@contextlib.contextmanager
def opened(kind: type[Peer], place: Place) -> Iterator[Peer]:
    """Yield a peer in an empty folder, and kill it at the end, which is faster than a stop."""
    with place.folder() as folder:
        peer = kind(folder, place)
        try:
            yield peer
        finally:
            peer.kill_with_jobs()
