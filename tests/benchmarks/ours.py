"""Measurements of queuectl."""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import subprocess
import time
from datetime import datetime, timezone
from typing import Iterator

from measurement import Figure, Measurement, Value, percentile, single
from place import (
    PATIENCE_SECONDS,
    QUEUECTL,
    Place,
    Queue,
    epoch_seconds,
    stamp,
    stamps,
    timed,
    wait_until,
)
from usage import cpu_seconds, idle_percent, memory_mb, written_bytes

from queuectl.core.specs import JobSpec
from queuectl.host.files import QueueFiles
from queuectl.storage import Storage


def measurements(place: Place) -> list[Measurement]:
    """List the measurements of queuectl."""
    drains = [
        single(
            f"drain-{durability}-{workers}",
            f"drain, durability {durability}, workers: {workers}",
            "jobs/s",
            lambda durability=durability, workers=workers: _drain(place, workers, durability),
            against="xargs",
        )
        for durability in ("full", "normal")
        for workers in (1, 2, 4)
    ]
    pickups = [_pickup_measurement(place, workers) for workers in place.sizes.idle_workers]
    return [
        *drains,
        single(
            "run",
            "queuectl run, workers: 2, jobs are stored first",
            "jobs/s",
            lambda: _run(place),
            against="drain-full-2",
        ),
        single(
            "enqueue-process",
            "queuectl enqueue true, the whole process",
            "ms",
            lambda: _enqueue_process(place),
            against="imports",
        ),
        single(
            "enqueue-bulk",
            "queuectl enqueue -, jobs as JSON Lines",
            "jobs/s",
            lambda: _bulk(place),
            against="insert",
        ),
        *pickups,
        Measurement(
            "pickup-process",
            (
                Figure("pickup-process", "start of queuectl enqueue to start of job, p50", "ms"),
                Figure("pickup-created", "time of entry to start of job, p50", "ms"),
            ),
            lambda: _pickup_from_process(place),
        ),
        single("wait", "end of job to end of queuectl wait, p50", "ms", lambda: _wait(place)),
        Measurement(
            "enqueue-busy",
            (
                Figure("enqueue-busy-p50", "one enqueue while 4 workers drain, p50", "ms"),
                Figure("enqueue-busy-p99", "one enqueue while 4 workers drain, p99", "ms"),
            ),
            lambda: _enqueue_busy(place),
        ),
        Measurement(
            "idle",
            (
                Figure("idle-cpu", "4 idle workers together, of one core", "%"),
                Figure("idle-supervisor-cpu", "their supervisor, of one core", "%"),
                Figure("idle-written", "4 idle workers, written to disk", "bytes"),
            ),
            lambda: _idle(place),
            once=True,
        ),
        Measurement(
            "memory",
            (
                Figure("memory-resident", "a worker's memory, resident", "MB"),
                Figure("memory-private", "a worker's memory, shared with nobody", "MB"),
            ),
            lambda: _memory(place),
        ),
    ]


def _drain(place: Place, workers: int, durability: str) -> float:
    with place.queue() as queue:
        queue.load(place.sizes.jobs)
        queue.call("config", "set", "durability", durability)
        return place.sizes.jobs / queue.drain(workers)


def _run(place: Place) -> float:
    with place.queue() as queue:
        arguments = queue.folder / "arguments"
        arguments.write_text("".join(f"{number}\n" for number in range(place.sizes.jobs)))
        words = ["run", "-q", "-j", "2", "true", "::::", str(arguments)]
        return place.sizes.jobs / timed(lambda: queue.call(*words))


def _enqueue_process(place: Place) -> float:
    with place.queue() as queue:
        queue.load(1)
        return 1000 * statistics.median(
            timed(lambda: queue.call("enqueue", "true")) for _ in range(place.sizes.processes)
        )


def _bulk(place: Place) -> float:
    with place.queue() as queue:
        queue.load(1)
        path = queue.json_lines(place.sizes.bulk)
        return place.sizes.bulk / timed(lambda: queue.call("enqueue", "-", "-q", stdin=path))


class _Stamped(Storage):
    """A storage that notes the time of its commit, just before it wakes the workers."""

    committed = 0.0

    def _wake_workers(self) -> None:
        self.committed = time.time()
        super()._wake_workers()


@contextlib.contextmanager
def _opened(queue: Queue) -> Iterator[_Stamped]:
    files = QueueFiles(os.path.realpath(queue.database), is_default=False, allow_shared=False)
    storage = _Stamped.open(files, create=True)
    try:
        yield storage
    finally:
        storage.close()


def _enqueue(storage: Storage) -> None:
    storage.enqueue([JobSpec(command="true")], now=datetime.now(timezone.utc), environ=os.environ)


def _pickup_measurement(place: Place, workers: int) -> Measurement:
    title = f"commit to start of job, idle workers: {workers}"
    names = [f"pickup-{workers}-{share}" for share in ("p50", "p99")]
    figures = tuple(Figure(name, f"{title}, {name[-3:]}", "ms") for name in names)

    def take() -> dict[str, Value]:
        waits = _pickup(place, workers)
        return {names[0]: percentile(waits, 0.5), names[1]: percentile(waits, 0.99)}

    return Measurement(names[0][:-4], figures, take, once=workers > 16)


def _pickup(place: Place, workers: int) -> list[float]:
    with place.queue() as queue, _opened(queue) as storage, queue.workers(workers):
        committed = []
        for done in range(place.sizes.pickups):
            # So that they sleep again, each at another point of its polling interval.
            time.sleep(random.uniform(0.02, 0.06))
            _enqueue(storage)
            committed.append(storage.committed)
            wait_until(lambda done=done: queue.finished() > done)
        starts = queue.read("SELECT started_at FROM executions ORDER BY job_seq")
        return [
            1000 * (epoch_seconds(start) - commit) for (start,), commit in zip(starts, committed)
        ]


def _pickup_from_process(place: Place) -> dict[str, Value]:
    with place.queue() as queue, queue.workers(4):
        called = []
        for done in range(place.sizes.processes):
            called.append(time.time())
            queue.call("enqueue", stamp(queue.folder))
            wait_until(lambda done=done: queue.finished() > done)
        rows = queue.read(
            "SELECT started_at, created_at FROM executions JOIN jobs ON seq = job_seq ORDER BY seq"
        )
        ran = stamps(queue.folder)
    whole = [1000 * (start - call) for start, call in zip(ran, called)]
    inner = [1000 * (epoch_seconds(start) - epoch_seconds(created)) for start, created in rows]
    return {
        "pickup-process": statistics.median(whole),
        "pickup-created": statistics.median(inner),
    }


def _wait(place: Place) -> float:
    with place.queue() as queue, queue.workers(1):
        ended = []
        for _ in range(place.sizes.processes):
            # The job ends long after `wait` has begun to wait.
            job = queue.call("enqueue", "sleep 0.5").strip()
            queue.call("wait", job)
            ended.append(time.time())
        rows = queue.read("SELECT finished_at FROM executions ORDER BY job_seq")
    return statistics.median(
        1000 * (end - epoch_seconds(done)) for end, (done,) in zip(ended, rows)
    )


def _enqueue_busy(place: Place) -> dict[str, Value]:
    with place.queue() as queue, _opened(queue) as storage:
        queue.load(place.sizes.jobs)
        process = subprocess.Popen(
            [QUEUECTL, "worker", "start", "-c", "4", "--drain", "-q"], env=queue.environment
        )
        took: list[float] = []
        try:
            wait_until(lambda: queue.finished() > 0)
            # Fewer jobs than are drained, so that the drain ends.
            while len(took) < max(1, place.sizes.jobs // 5) and process.poll() is None:
                took.append(1000 * timed(lambda: _enqueue(storage)))
                time.sleep(0.001)
            process.wait(PATIENCE_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
    return {
        "enqueue-busy-p50": percentile(took, 0.5),
        "enqueue-busy-p99": percentile(took, 0.99),
    }


def _idle(place: Place) -> dict[str, Value]:
    with place.queue() as queue:
        queue.load(20)
        with queue.workers(4) as (supervisor, *workers):
            wait_until(lambda: queue.finished() == 20)
            time.sleep(0.2)
            before, above = written_bytes(workers), cpu_seconds([supervisor])
            percent = idle_percent(workers, place.sizes.idle_seconds)
            above = 100 * (cpu_seconds([supervisor]) - above) / place.sizes.idle_seconds
            written = written_bytes(workers) - before
    return {"idle-cpu": percent, "idle-supervisor-cpu": above, "idle-written": float(written)}


def _memory(place: Place) -> dict[str, Value]:
    with place.queue() as queue:
        queue.load(max(20, place.sizes.jobs // 10))
        with queue.workers(2) as (_, worker, _other):
            wait_until(lambda: queue.finished() >= max(20, place.sizes.jobs // 10))
            resident, private = memory_mb(worker)
    return {"memory-resident": resident, "memory-private": private}
