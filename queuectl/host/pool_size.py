"""How many workers a running pool is to have: written by `worker scale`, read by its supervisor."""

from __future__ import annotations

import os

from queuectl.core.errors import QueueUnusable
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import make, open_to_read, unlink_quietly

MOST_WORKERS = 1000
"""A pool can have this many workers at most."""


def write(files: QueueFiles, supervisor: str, workers: int) -> None:
    """Tell a supervisor its new size; it looks when it gets SCALE_SIGNAL. Raises QueueUnusable."""
    path = files.pool_size(supervisor)
    unfinished = f"{path}.{os.getpid()}"
    try:
        unlink_quietly(unfinished)
        descriptor = make(unfinished)
        try:
            os.write(descriptor, f"{workers}\n".encode("ascii"))
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)
    except OSError as error:
        unlink_quietly(unfinished)
        raise QueueUnusable(f"cannot write {path}: {error.strerror}") from None


def is_unread(files: QueueFiles, supervisor: str) -> bool:
    """Whether the supervisor has not read its new size yet."""
    return os.path.lexists(files.pool_size(supervisor))


def forget(files: QueueFiles, supervisor: str) -> None:
    """Remove a size that nobody will read."""
    unlink_quietly(files.pool_size(supervisor))


def take(files: QueueFiles, supervisor: str) -> int | None:
    """Read and remove the new size of a pool; None if there is none, or nothing sensible."""
    try:
        descriptor = open_to_read(files.pool_size(supervisor))
    except OSError:
        return None
    try:
        text = os.read(descriptor, 16).strip()
    finally:
        os.close(descriptor)
    forget(files, supervisor)
    return int(text) if text.isdigit() and 1 <= int(text) <= MOST_WORKERS else None
