"""Collecting the figures of a queue: from its file, its workers and its disk."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import datetime

from queuectl import __version__
from queuectl.core.diagnosis import diagnose
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
    facts = storage.facts(now=now)
    busy = sum(worker.job is not None for worker in facts.workers)
    schema, _ = storage.schema_version()
    return Figures(
        queues=stored.queues,
        schedules=stored.schedules,
        hooks=stored.hooks,
        busy_workers=busy,
        idle_workers=len(facts.workers) - busy,
        all_paused=stored.all_paused,
        findings=Counter(finding.severity.value for finding in diagnose(facts)),
        database_bytes=_size(files.database),
        wal_bytes=_size(files.wal),
        free_bytes=None if facts.disk is None else facts.disk.free_bytes,
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
