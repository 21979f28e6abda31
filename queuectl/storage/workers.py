"""The table of workers, and which of them are alive."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Sequence

from queuectl.core.batches import serves
from queuectl.core.errors import QueueDamaged, QueueReplaced, QueueUnusable
from queuectl.core.models import Worker
from queuectl.core.times import from_text, optional_time, to_text
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles
from queuectl.storage import schema
from queuectl.storage.base import Base, any_bytes
from queuectl.storage.rows import names_files


class Workers(Base):
    """The methods about workers. The lock file of one proves that it is alive, not its row."""

    def register_worker(self, worker: Worker) -> None:
        """Add a worker to the table; it does so before it claims a job."""
        with self._transaction() as conn:
            conn.execute(
                """
                INSERT INTO workers (id, supervisor, pid, start_ticks, boot_id, host, queues,
                                     started_at)
                VALUES (:id, :supervisor, :pid, :start_ticks, :boot_id, :host, :queues,
                        :started_at)
                """,
                {
                    **worker._asdict(),
                    "queues": json.dumps(worker.queues),
                    "started_at": to_text(worker.started_at),
                },
            )

    def forget_worker(self, worker_id: str, *, seen_at: str) -> None:
        """Remove a worker that has left, or that is dead and holds no claim any more.

        `seen_at` is when it was last seen, as text.
        """
        with self._transaction(finishing=True) as conn:
            conn.execute("DELETE FROM workers WHERE id = ?", (worker_id,))
            schema.set_meta(conn, "last_worker_at", seen_at)

    def workers(self) -> list[Worker]:
        """Return the registered workers, with the job that each runs.

        Pools come in the order of their start, and the workers of a pool by their numbers.
        """
        with self._snapshot() as conn, any_bytes(conn):
            rows = conn.execute(
                """
                SELECT workers.id, supervisor, pid, start_ticks, boot_id, host, workers.queues,
                       started_at, jobs.id, jobs.locked_at
                  FROM workers
                  LEFT JOIN jobs ON jobs.state = 'processing' AND jobs.locked_by = workers.id
                 ORDER BY started_at, workers.id
                """
            ).fetchall()
        workers = [worker for worker in map(_to_worker, rows) if worker is not None]
        first_start: dict[str, datetime] = {}
        for worker in workers:
            first_start.setdefault(worker.supervisor, worker.started_at)
        # By the length of ids first, so that `-9` comes before `-10`.
        workers.sort(
            key=lambda one: (first_start[one.supervisor], one.supervisor, len(one.id), one.id)
        )
        return workers

    def orphans(self) -> list[str]:
        """Return the ids of workers that hold claims but are not registered."""
        with self._snapshot() as conn, any_bytes(conn):
            rows = conn.execute(
                """
                SELECT DISTINCT locked_by
                  FROM jobs
                 WHERE state = 'processing'
                   AND locked_by NOT IN (SELECT id FROM workers)
                 ORDER BY locked_by
                """
            )
            return [row[0] for row in rows if names_files(row[0])]

    @property
    def queue_id(self) -> str:
        """Return the id of this queue, which no other queue on any machine has.

        Raises QueueDamaged if it is missing, or cannot be given to a process.
        """
        found: object = self.meta().get("queue_id")
        if not isinstance(found, str) or "\0" in found:
            raise QueueDamaged(f"{self.files.database} is damaged: it has no id (meta.queue_id)")
        return found

    def refuse_copy(self) -> None:
        """Raise QueueReplaced if the file is a copy that has the id of another queue.

        It must have come here after `worker start`, which gives a copy an id of its own.
        """
        if self.file_id and self.meta().get("file") != self.file_id:
            raise QueueReplaced(self.files.database)

    def meta(self) -> dict[str, str]:
        """Return facts about the file: `queue_id`, `file`, `min_writer`, `last_worker_at`."""
        query = "SELECT CAST(key AS TEXT), CAST(value AS TEXT) FROM meta ORDER BY key"
        with self._snapshot() as conn, any_bytes(conn):
            return dict(conn.execute(query))

    def is_worker_alive(self, worker_id: str) -> bool | None:
        """Return whether a worker is alive, as its lock file proves; None if that is unknown."""
        return lockfiles.is_alive(self.files, worker_id)

    def living_workers(self, queues: Sequence[str] = ()) -> list[Worker]:
        """Return the workers that are alive, as their lock files prove.

        Only those that serve one of these queues, if any is named.
        """
        return [
            worker._replace(
                problem=_problem(self.files, worker),
                job_pid=None
                if worker.job is None
                else lockfiles.seen_job_pid(self.files, worker.id),
            )
            for worker in self.workers()
            if lockfiles.is_alive(self.files, worker.id)
            and (not queues or any(serves(worker.queues, queue) for queue in queues))
        ]


def _to_worker(row: Sequence[Any]) -> Worker | None:
    """Read a row; None if another program wrote it, and it cannot be read.

    Its worker is still found through its lock file.
    """
    worker_id, supervisor, pid, ticks, boot_id, host, queues, started_at, job, since = row
    try:
        served = json.loads(queues)
        numbers = (pid, 0 if ticks is None else ticks)
        texts = (worker_id, supervisor, boot_id or "", host, job or "", *served)
        if set(map(type, numbers)) != {int} or set(map(type, texts)) != {str}:
            return None
        if not names_files(worker_id):
            return None
        return Worker(
            id=worker_id,
            supervisor=supervisor,
            pid=pid,
            start_ticks=ticks,
            boot_id=boot_id,
            host=host,
            queues=tuple(served),
            started_at=from_text(started_at),
            job=job,
            job_since=optional_time(since),
        )
    except (QueueUnusable, ValueError, TypeError, RecursionError):
        return None


def _is_suspended(worker: Worker) -> bool:
    """Whether a worker is stopped; False if it is in another container, where we do not see it."""
    try:
        seen = processes.same_process(worker.pid, worker.start_ticks, worker.boot_id)
    except OSError:
        return False
    return seen and processes.is_suspended(worker.pid)


def _problem(files: QueueFiles, worker: Worker) -> str | None:
    """Return why a living worker runs no jobs; None if nothing keeps it from running them."""
    if _is_suspended(worker):
        return f"stopped (kill -CONT {worker.pid})"
    problem = lockfiles.about(files, worker.id).get("problem")
    return problem if isinstance(problem, str) else None
