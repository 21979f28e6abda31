"""The plan of a pool: what `worker start` asked for, and its way to the process of the pool."""

from __future__ import annotations

import json

from queuectl.core.named_tuples import NamedTuple
from queuectl.host.files import QueueFiles


class Plan(NamedTuple):
    """The options of `worker start`."""

    workers: int
    """The number of worker processes."""

    queues: tuple[str, ...] = ()
    """The queues that they serve; empty for all."""

    drain: bool = False
    """Whether they exit when no job is pending, failed or running."""

    max_jobs: int | None = None
    """The number of jobs after which each worker exits; None for no limit."""

    max_runtime: float | None = None
    """The seconds after which nothing more is claimed; None for no limit."""

    fails: bool = False
    """Whether the pool exits with 1 if a job that it ran is dead."""


class Launch(NamedTuple):
    """All that the process of a pool has to know at its start."""

    files: QueueFiles
    """The files of the queue."""

    supervisor_id: str
    """The id of the supervisor."""

    plan: Plan
    """The task of the pool."""

    quiet: bool
    """Whether only warnings are logged."""

    lock: int
    """The descriptor of the supervisor's lock file, which is locked already."""

    announce: int | None
    """The pipe into which the id is written when the workers are ready.

    Without one, a service manager is told instead, if it asked for that.
    """

    colored: bool | None = None
    """Whether to use colours on a terminal; None if nobody said no."""

    def to_text(self) -> str:
        """Return this as text, for `from_text`."""
        return json.dumps(self)

    @classmethod
    def from_text(cls, text: str) -> Launch:
        """Return what `to_text` was given."""
        files, supervisor_id, plan, *rest = json.loads(text)
        workers, queues, *bounds = plan
        return cls(QueueFiles(*files), supervisor_id, Plan(workers, tuple(queues), *bounds), *rest)
