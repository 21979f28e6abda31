"""The cost of a long history: the same work on queues with more and more finished jobs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
from typing import Callable, Iterator

from measurement import Figure, Measurement, Value
from place import Place, Queue, timed

_FILL_JOBS = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :jobs)
    INSERT INTO jobs (
        id, command, state, priority, attempts, run_at, created_at, updated_at, finished_at,
        exit_code, id_made
    )
    SELECT printf('%012x', n), 'true', :state, :priority, :attempts, :run_at,
           :moment, :moment, :finished_at, :exit_code, 1
      FROM numbers
     ORDER BY n
"""
_FILL_EXECUTIONS = """
    INSERT INTO executions (
        job_seq, attempt, worker, started_at, finished_at, outcome, exit_code, pid, seconds,
        cpu_seconds, max_rss_bytes
    )
    SELECT seq, 1, '00000000-1', created_at, finished_at, 'ok', 0, 4711, 0.001, 0.001, 3000000
      FROM jobs
     WHERE state = 'completed'
     ORDER BY seq
"""
_MOMENT = "2026-01-01T00:00:00.000000Z"
_WORK = {
    "drain": ("drain, 2 workers", "jobs/s"),
    "enqueue": ("queuectl enqueue true", "ms"),
    "status": ("queuectl status", "ms"),
    "list": ("queuectl list -n 50", "ms"),
}


class Histories:
    """The queues with finished jobs, each created at its first use and kept for all rounds.

    Only the empty queue is created for each round, because the jobs of a round are a history.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._kept: dict[str, Queue] = {}

    def measurements(self) -> list[Measurement]:
        """List the measurements: all four kinds of work on each queue."""
        counts = self._place.sizes.history
        most = counts[1]
        return [
            *(
                self._measurement(
                    f"history-{count}",
                    f"finished jobs: {count:,}",
                    lambda queue, count=count: fill(queue, count, state="completed"),
                )
                for count in counts
            ),
            self._measurement(
                f"future-{most}",
                f"jobs for later at a higher priority: {most:,}",
                lambda queue: fill(queue, most, state="scheduled"),
            ),
        ]

    def _measurement(
        self, name: str, circumstance: str, prepare: Callable[[Queue], None]
    ) -> Measurement:
        figures = tuple(
            Figure(
                f"{name}-{work}",
                f"{title}; {circumstance}",
                unit,
                None if name == "history-0" else f"history-0-{work}",
            )
            for work, (title, unit) in _WORK.items()
        )

        def take() -> dict[str, Value]:
            with self._queue(name, prepare) as queue:
                return {f"{name}-{work}": value for work, value in self._work(queue).items()}

        return Measurement(name, figures, take)

    @contextlib.contextmanager
    def _queue(self, name: str, prepare: Callable[[Queue], None]) -> Iterator[Queue]:
        if name == "history-0":
            with self._place.queue() as queue:
                yield queue
            return
        if name not in self._kept:
            folder = self._place.root / name
            folder.mkdir()
            queue = Queue(folder)
            queue.load(1)
            queue.drain(1)
            prepare(queue)
            self._kept[name] = queue
        yield self._kept[name]

    def _work(self, queue: Queue) -> dict[str, float]:
        sizes = self._place.sizes
        queue.load(sizes.history_jobs)
        rate = sizes.history_jobs / queue.drain(2)
        commands = {
            "enqueue": ("enqueue", "true"),
            "status": ("status",),
            "list": ("list", "-n", "50"),
        }
        taken = {
            work: 1000
            * statistics.median(
                timed(lambda words=words: queue.call(*words)) for _ in range(sizes.processes)
            )
            for work, words in commands.items()
        }
        return {"drain": rate, **taken}


def fill(queue: Queue, count: int, *, state: str) -> None:
    """Put so many jobs into a queue, which are completed or scheduled for a distant day."""
    done = state == "completed"
    with contextlib.closing(sqlite3.connect(queue.database, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            _FILL_JOBS,
            {
                "jobs": count,
                "state": state,
                "priority": 0 if done else 100,
                "attempts": 1 if done else 0,
                "run_at": None if done else "2999-01-01T00:00:00.000000Z",
                "moment": _MOMENT,
                "finished_at": _MOMENT if done else None,
                "exit_code": 0 if done else None,
            },
        )
        if done:
            database.execute("DELETE FROM executions")
            database.execute(_FILL_EXECUTIONS)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.sync()  # else the first drain would include the time to write it


def measurements(place: Place) -> list[Measurement]:
    """List the measurements of the cost of a history."""
    return Histories(place).measurements()
