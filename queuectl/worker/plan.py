"""What `worker start` asked of a pool."""

from __future__ import annotations

from typing import NamedTuple


class Plan(NamedTuple):
    """What `worker start` asked for. `queues` is empty for all; `max_runtime` is in seconds."""

    workers: int
    queues: tuple[str, ...] = ()
    drain: bool = False
    max_jobs: int | None = None
    max_runtime: float | None = None
