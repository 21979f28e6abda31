"""What is lost when a queue is killed in the middle of its work: each is tried."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import List, Sequence, Type

from measurement import Measurement, single
from peer import Peer, opened
from peers import PEERS, Nq, TaskSpooler
from place import QUEUECTL, Place, Queue, wait_until


class Queuectl(Peer):
    """Ours, driven as the peers are."""

    name, title = "ours", "queuectl"

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._queue = Queue(folder)
        self.environment = self._queue.environment

    def submit(self, commands: Sequence[str]) -> None:
        """Enqueue them all from one process."""
        self._run(QUEUECTL, "enqueue", "--lines", "-q", "-", text="\n".join(commands) + "\n")

    def start(self) -> None:
        """Start two workers."""
        self._popen(QUEUECTL, "worker", "start", "-c", "2", "-q")


def measurements(place: Place) -> List[Measurement]:
    """List the trials."""
    kinds: List[Type[Peer]] = [Queuectl, *PEERS]
    return [
        single(
            f"loss-{kind.name}",
            f"{kind.title}, killed and restarted",
            "words",
            lambda kind=kind: _try(kind, place),
            once=True,
        )
        for kind in kinds
    ]


def _try(kind: Type[Peer], place: Place) -> str:
    jobs = place.sizes.loss_jobs
    with opened(kind, place) as peer:
        journal = peer.folder / "journal"
        commands = [
            f"echo began {number} >> {journal}; sleep 0.1; echo ended {number} >> {journal}"
            for number in range(jobs)
        ]
        try:
            _submit(peer, commands)
            wait_until(lambda: _count(journal)["ended"] >= jobs // 4, 60)
            peer.kill()
            with contextlib.suppress(subprocess.CalledProcessError):
                peer.restart()
            _settle(journal, jobs, place.sizes.loss_seconds)
            return _verdict(journal, jobs)
        finally:
            peer.kill()


def _submit(peer: Peer, commands: Sequence[str]) -> None:
    # nq runs what it is given at once; task-spooler needs its daemon for being filled.
    if isinstance(peer, TaskSpooler):
        peer.start()
        peer.submit(commands)
    else:
        peer.submit(commands)
        if not isinstance(peer, Nq):
            peer.start()


def _count(journal: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in _lines(journal))


def _lines(journal: Path) -> List[str]:
    try:
        return journal.read_text().splitlines()
    except FileNotFoundError:
        return []


def _settle(journal: Path, jobs: int, seconds: float) -> None:
    # Longer than the 2 s after which a lost attempt is retried: ours may have been killed between
    # the claim and the start. A moment is enough once all have ended.
    seen, since = Counter(_lines(journal)), time.monotonic()
    while time.monotonic() - since < (1 if _count(journal)["ended"] >= jobs else seconds):
        time.sleep(0.05)
        now = Counter(_lines(journal))
        if now != seen:
            seen, since = now, time.monotonic()


def _verdict(journal: Path, jobs: int) -> str:
    lines = Counter(_lines(journal))
    ended = sum(1 for number in range(jobs) if lines[f"ended {number}"])
    twice = sum(1 for number in range(jobs) if lines[f"began {number}"] > 1)
    return f"of {jobs} jobs {jobs - ended} not ended, {twice} begun twice"
