"""Queues that users do not name: batches and lanes, and which workers serve them.

A batch is a queue whose name begins with `@`, made by `queuectl run` for the jobs of one call.
Workers that serve all queues leave it alone, so a batch is run only by workers that name it.

A lane is a queue for the jobs of hooks: `mail/hooks` for the hooks of the jobs in `mail`. Workers
of that queue serve it as well. But a pause or a limit of the queue does not hold its lane. The lane
of a batch is also served by workers that serve all queues, because those of the batch leave when
its own jobs have ended: a webhook may be retried for a day.
"""

from __future__ import annotations

import json
import os.path
import re
from typing import Iterable, Sequence

PREFIX = "@"
"""The beginning of the name of a batch; no other name of a queue begins so."""

LANE = "/hooks"
"""The end of the name of a lane; no other queue can have a slash in its name."""

_NAME_LENGTH = 20


def is_batch(queue: str) -> bool:
    """Whether a queue is a batch."""
    return queue.startswith(PREFIX)


def is_lane(queue: str) -> bool:
    """Whether a queue is a lane."""
    return queue.endswith(LANE)


def lane_of(queue: str) -> str:
    """Return the name of the lane of a queue."""
    return queue if is_lane(queue) else queue + LANE


def owner_of(lane: str) -> str:
    """Return the queue whose lane this is; the queue itself if it is no lane."""
    return lane[: -len(LANE)] if is_lane(lane) else lane


def with_lanes(queues: Sequence[str]) -> Sequence[str]:
    """Return these queues, each with its lane."""
    return [*queues, *map(lane_of, queues)] if queues else queues


def waits_for(queues: Sequence[str], queue: str) -> bool:
    """Whether a queue is one of these; with none given, one of all queues but lanes.

    So hooks change neither how long `wait --all` waits nor its exit code.
    """
    return queue in queues if queues else not is_lane(queue)


def serves(queues: Sequence[str], queue: str) -> bool:
    """Whether a worker that was started for these queues (for all, if none is named) serves one."""
    if not queues:
        return is_lane(queue) or not is_batch(queue)
    return queue in queues or (is_lane(queue) and owner_of(queue) in queues)


def start_command(queues: Iterable[str]) -> str:
    """Return the command that starts workers for these queues; batches have to be named."""
    batches = ",".join(sorted({name for name in queues if is_batch(name) and not is_lane(name)}))
    if not batches:
        return "queuectl worker start"
    from queuectl.core.shell_words import quote_argument  # it loads shlex

    return f"queuectl worker start --queue {quote_argument(batches)}"


def series_name(words: Sequence[str], folder: str) -> str:
    """Return the name that all batches of a command template in a folder have in common.

    It is the name of the program, and a hash that tells templates and folders apart.
    """
    # Only `run` needs these.
    import hashlib

    from queuectl.core.shell_words import leading_assignments

    program = " ".join(words[leading_assignments(words) :]).split()[:1]
    shown = re.sub(r"[^\w.-]+", "", os.path.basename("".join(program)), flags=re.ASCII).strip("-.")
    identity = json.dumps([list(words), folder]).encode()
    digest = hashlib.sha256(identity).hexdigest()[:6]
    return f"{PREFIX}{shown[:_NAME_LENGTH] or 'batch'}-{digest}"
