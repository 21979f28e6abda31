"""Measurements of the peers with the same jobs, each with a parallelism of 2."""

from __future__ import annotations

import random
import statistics
import time

from measurement import Figure, Measurement, Missing, Value, single
from peer import Peer, opened
from peers import PEERS, Nq, Parallel, TaskSpooler
from place import Place, stamp, stamps, timed, wait_until
from usage import idle_percent, memory_mb


def measurements(place: Place) -> list[Measurement]:
    """List the measurements: one kind after the other, so that the table compares the peers."""
    return [
        *(
            single(
                f"peer-{kind.name}-rate",
                f"{kind.title}, parallelism 2",
                "jobs/s",
                lambda kind=kind: _rate(kind, place),
                against="drain-full-2",
            )
            for kind in PEERS
        ),
        *(
            single(
                f"peer-{kind.name}-enqueue",
                f"{kind.title}, one enqueue",
                "ms",
                lambda kind=kind: _enqueue(kind, place),
                against="enqueue-process",
            )
            for kind in PEERS
            if kind is not Parallel
        ),
        *(
            single(
                f"peer-{kind.name}-pickup",
                f"{kind.title}, enqueue to start of job",
                "ms",
                lambda kind=kind: _pickup(kind, place),
                against="pickup-process",
                once=True,
            )
            for kind in PEERS
        ),
        *(_idle_measurement(kind, place) for kind in PEERS if kind.resident),
    ]


def _rate(kind: type[Peer], place: Place) -> Value:
    jobs = place.sizes.slow_peer_jobs if kind.slow else place.sizes.peer_jobs
    commands = ["true"] * jobs
    with opened(kind, place) as peer:
        if kind in (TaskSpooler, Nq):
            # They run jobs during the submission, and the submission takes most of the time.
            peer.start()
            return jobs / timed(lambda: (peer.submit(commands), peer.finish(jobs)))
        peer.submit(commands)
        return jobs / timed(lambda: (peer.resident and peer.start(), peer.finish(jobs)))


def _enqueue(kind: type[Peer], place: Place) -> Value:
    count = place.sizes.processes
    with opened(kind, place) as peer:
        if kind is TaskSpooler:
            peer.start()
        peer.submit_one("true")
        return 1000 * statistics.median(
            timed(lambda: peer.submit_one("true")) for _ in range(count)
        )


def _pickup(kind: type[Peer], place: Place) -> Value:
    if not kind.resident:
        raise Missing("has no idle workers")
    with opened(kind, place) as peer:
        peer.start()
        called = []
        for done in range(place.sizes.peer_pickups):
            # Some poll less and less often when idle, so all get the same pauses.
            time.sleep(random.uniform(0.5, 1.5))
            called.append(time.time())
            peer.submit_one(stamp(peer.folder))
            wait_until(lambda done=done: len(stamps(peer.folder)) > done, 60)
        ran = stamps(peer.folder)
    return 1000 * statistics.median(start - call for start, call in zip(ran, called))


def _idle_measurement(kind: type[Peer], place: Place) -> Measurement:
    name = f"peer-{kind.name}"
    figures = (
        Figure(f"{name}-idle", f"{kind.title}, idle CPU", "%", "idle-cpu"),
        Figure(f"{name}-memory", f"{kind.title}, a worker's memory", "MB", "memory-resident"),
        Figure(f"{name}-memory-all", f"{kind.title}, private memory of all", "MB"),
    )
    return Measurement(figures[0].name, figures, lambda: _idle(name, kind, place), once=True)


def _idle(name: str, kind: type[Peer], place: Place) -> dict[str, Value]:
    with opened(kind, place) as peer:
        peer.start()
        peer.submit(["true"] * 4)
        peer.finish(4)
        time.sleep(0.3)
        pids = peer.processes()
        percent = idle_percent(pids, place.sizes.peer_idle_seconds)
        memories = [memory_mb(pid) for pid in pids]
    return {
        f"{name}-idle": percent,
        f"{name}-memory": memories[-1][0],
        f"{name}-memory-all": sum(private for _, private in memories),
    }
