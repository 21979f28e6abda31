"""Batches: queues whose names begin with `@`, made by `queuectl run` for the jobs of one call.

Workers that serve all queues leave them alone, so a batch is run only by workers that name it.
"""

from __future__ import annotations

import json
import os.path
import re
from typing import Iterable, Sequence

PREFIX = "@"
"""What the name of a batch begins with; no other queue can be named so."""

_NAME_LENGTH = 20


def is_batch(queue: str) -> bool:
    """Whether a queue is a batch."""
    return queue.startswith(PREFIX)


def serves(queues: Sequence[str], queue: str) -> bool:
    """Whether a worker that was started for these queues (for all, if none is named) serves one."""
    return queue in queues if queues else not is_batch(queue)


def start_command(queues: Iterable[str]) -> str:
    """Return the command that starts workers for these queues; batches have to be named."""
    batches = ",".join(sorted(filter(is_batch, queues)))
    return "queuectl worker start" + (f" --queue {batches}" if batches else "")


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
