"""What each queue loses or runs twice if it is killed while it works."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Callable, Sequence

from measurement import Measurement, single
from peer import Peer, opened
from peers import PEERS, Nq, TaskSpooler
from place import QUEUECTL, Place, Queue, wait_until


class Queuectl(Peer):
    """queuectl, driven like the peers."""

    name, title = "ours", "queuectl"

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._queue = Queue(folder)
        self.environment = self._queue.environment

    def submit(self, commands: Sequence[str]) -> None:
        """Enqueue all jobs with one process."""
        self._run(QUEUECTL, "enqueue", "--lines", "-q", "-", text="\n".join(commands) + "\n")

    def start(self) -> None:
        """Start two workers."""
        self._popen(QUEUECTL, "worker", "start", "-c", "2", "-q")


def measurements(place: Place) -> list[Measurement]:
    """List the trials."""
    kinds: list[type[Peer]] = [Queuectl, *PEERS]
    seconds = place.sizes.loss_seconds
    return [
        single(
            f"loss-{kind.name}-{name}",
            f"{kind.title}, killed {whom}, {seconds:.0f} s later",
            "words",
            lambda kind=kind, kill=kill: _try(kind, kill, place),
            once=True,
        )
        for kind in kinds
        for name, whom, kill in (
            ("alone", "but not its jobs", lambda peer: peer.kill()),
            ("jobs", "with its jobs", lambda peer: peer.kill_with_jobs()),
        )
    ]


def _try(kind: type[Peer], kill: Callable[[Peer], None], place: Place) -> str:
    jobs = place.sizes.loss_jobs
    # These jobs run at the kill, and long enough to be found by the restarted queue.
    caught = (jobs // 4, jobs // 4 + 1)
    with opened(kind, place) as peer:
        journal = peer.folder / "journal"
        _submit(peer, [_command(journal, job, 3 if job in caught else 0.1) for job in range(jobs)])
        wait_until(lambda: {job for _, job, _ in _lines(journal)}.issuperset(caught), 60)
        kill(peer)
        with contextlib.suppress(subprocess.CalledProcessError):
            peer.restart()
        _settle(journal, place.sizes.loss_seconds)
        return _verdict(journal, jobs)


def _submit(peer: Peer, commands: Sequence[str]) -> None:
    # nq runs jobs at once; task-spooler needs its daemon to take jobs.
    if isinstance(peer, TaskSpooler):
        peer.start()
        peer.submit(commands)
    else:
        peer.submit(commands)
        if not isinstance(peer, Nq):
            peer.start()


def _command(journal: Path, job: int, seconds: float) -> str:
    begin, end = (f"echo {word} {job} $$ >> {journal}" for word in ("began", "ended"))
    return f"{begin}; sleep {seconds}; {end}"


def _lines(journal: Path) -> list[tuple[str, int, int]]:
    """Return the entries in order: began or ended, the job, and its PID."""
    try:
        lines = [line.split() for line in journal.read_text().splitlines()]
    except FileNotFoundError:
        return []
    return [(word, int(job), int(pid)) for word, job, pid in lines]


def _settle(journal: Path, seconds: float) -> None:
    # Longer than the 2 s after which a lost attempt is retried.
    seen, since = _lines(journal), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.05)
        now = _lines(journal)
        if now != seen:
            seen, since = now, time.monotonic()


def _verdict(journal: Path, jobs: int) -> str:
    lines = _lines(journal)
    lost = jobs - len({job for word, job, _ in lines if word == "ended"})
    again = beside = 0
    for job in range(jobs):
        runs = [pid for word, of, pid in lines if (word, of) == ("began", job)]
        again += len(runs) > 1
        beside += any(
            ("ended", job, first) in lines[lines.index(("began", job, second)) :]
            for first, second in zip(runs, runs[1:])
        )
    return (
        f"not ended {lost} of {jobs}; begun twice {again - beside} one after the other, "
        f"{beside} at the same time"
    )
