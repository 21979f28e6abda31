"""What others wait for while one command enqueues or imports many jobs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

from measurement import Figure, Measurement, Value
from place import QUEUECTL, Place, Queue, epoch_seconds, stop, timed

from queuectl.core.specs import JobSpec
from queuectl.host.files import find
from queuectl.storage import Storage

_PAUSE_SECONDS = 0.01
_BACKLOG_PRIORITY = 1
"""The jobs that are run meanwhile come before those that are added."""


def measurements(place: Place) -> list[Measurement]:
    """List the measurements: one per command."""
    return [_measurement(place, command) for command in ("enqueue", "import")]


def _measurement(place: Place, command: str) -> Measurement:
    what = f"beside {command} of {place.sizes.beside:,} jobs"
    name = f"beside-{command}"
    figures = (
        Figure(f"{name}-wait", f"longest enqueue of one job {what}", "ms"),
        Figure(f"{name}-gap", f"longest time without a start of a job {what}, 2 workers", "ms"),
    )
    return Measurement(name, figures, lambda: _take(place, command, name), once=True)


def _take(place: Place, command: str, name: str) -> dict[str, Value]:
    with place.queue() as queue:
        for _ in range(0, place.sizes.backlog, 1000):
            queue.call("enqueue", "-", "-q", "--priority", str(_BACKLOG_PRIORITY),
                       stdin=queue.json_lines(min(1000, place.sizes.backlog)))  # fmt: skip
        words = ["enqueue", "-q", "--file"] if command == "enqueue" else ["import", "-q"]
        path = _lines(queue, place.sizes.beside)
        with queue.workers(2):
            waits, began, ended = _beside(queue, [*words, str(path)])
        starts = [
            epoch_seconds(start)
            for (start,) in queue.read("SELECT started_at FROM executions ORDER BY started_at")
        ]
    gaps = [
        second - first
        for first, second in zip(starts, starts[1:])
        if second >= began and first <= ended
    ]
    return {f"{name}-wait": 1000 * max(waits), f"{name}-gap": 1000 * max(gaps, default=0.0)}


def _lines(queue: Queue, jobs: int) -> Path:
    """Write a file with jobs that have ids of their own, in no order, as an export has them."""
    path = queue.folder / "many.jsonl"
    with path.open("w") as lines:
        for _ in range(jobs):
            lines.write(json.dumps({"id": os.urandom(8).hex(), "command": "true"}) + "\n")
    return path


def _beside(queue: Queue, words: list[str]) -> tuple[list[float], float, float]:
    """Enqueue one job again and again while a command runs; return how long each took, and when
    the command began and ended.
    """
    waits = []
    with contextlib.closing(Storage.open(find(queue.database, None, False))) as storage:
        began = time.time()
        process = subprocess.Popen([QUEUECTL, *words], env=queue.environment)
        try:
            while process.poll() is None or not waits:
                waits.append(timed(lambda: _enqueue(storage)))
                time.sleep(_PAUSE_SECONDS)
        finally:
            stop(process)
        return waits, began, time.time()


def _enqueue(storage: Storage) -> None:
    spec = JobSpec(command="true", priority=_BACKLOG_PRIORITY)
    storage.enqueue([spec], now=datetime.now(timezone.utc))
