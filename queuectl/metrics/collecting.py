"""Collecting the figures of a queue: from its file, its workers and its disk."""

from __future__ import annotations

import os
import time
from datetime import datetime

from queuectl import __version__
from queuectl.core.errors import NoQueue, QueueUnusable
from queuectl.core.figures import Figures
from queuectl.storage import Storage


def collect(storage: Storage, *, now: datetime) -> Figures:
    """Return the figures of a queue. Raises NoQueue if there is none."""
    started = time.monotonic()
    files = storage.files
    if not files.exists():
        raise NoQueue(files.database)
    stored = storage.figures(now=now)
    workers = storage.living_workers()
    busy = sum(worker.job is not None for worker in workers)
    schema, _ = storage.schema_version()
    return Figures(
        queues=stored.queues,
        schedules=stored.schedules,
        hooks=stored.hooks,
        busy_workers=busy,
        idle_workers=len(workers) - busy,
        all_paused=stored.all_paused,
        findings={},
        database_bytes=_size(files.database),
        wal_bytes=_size(files.wal),
        free_bytes=_free(files.database),
        version=__version__,
        schema=schema,
        seconds=time.monotonic() - started,
    )


def _size(path: str) -> int:
    """Return the size of a file; 0 if it is not there."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise QueueUnusable(f"cannot look at {path}: {error.strerror}") from None


def _free(path: str) -> int:
    """Return how many bytes are free for us on the disk of a file."""
    try:
        disk = os.statvfs(os.path.dirname(path))
    except OSError as error:
        raise QueueUnusable(f"cannot look at the disk of {path}: {error.strerror}") from None
    return disk.f_bavail * disk.f_frsize
