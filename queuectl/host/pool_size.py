"""How many workers a running pool is to have: written by `worker scale`, read by its supervisor."""

from __future__ import annotations

import os
from contextlib import suppress

from queuectl.core.errors import QueueUnusable
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import make, open_to_read, remove_quietly, unlink_quietly
from queuectl.host.processes import FileIdentity

MOST_WORKERS = 1000
"""A pool can have this many workers at most."""


def write(files: QueueFiles, supervisor: str, workers: int) -> FileIdentity:
    """Tell a supervisor its new size; it looks when it gets SCALE_SIGNAL. Raises QueueUnusable.

    Returns the identity of the file that holds it. A later call replaces the file.
    """
    path = files.pool_size(supervisor)
    unfinished = f"{path}.{os.getpid()}"
    try:
        unlink_quietly(unfinished)
        descriptor = make(unfinished)
        try:
            os.write(descriptor, f"{workers}\n".encode("ascii"))
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)
    except OSError as error:
        remove_quietly(unfinished)
        raise QueueUnusable(f"cannot write {path}: {error.strerror}") from None
    return status.st_dev, status.st_ino


def is_unread(files: QueueFiles, supervisor: str, written: FileIdentity) -> bool:
    """Whether the supervisor has not read this size yet, and no later one has replaced it."""
    try:
        status = os.lstat(files.pool_size(supervisor))
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == written


def withdraw(files: QueueFiles, supervisor: str, written: FileIdentity) -> None:
    """Remove a size that nobody will read, but not a later one of another process."""
    if is_unread(files, supervisor, written):
        remove_quietly(files.pool_size(supervisor))


def forget(files: QueueFiles, supervisor: str) -> None:
    """Remove what a supervisor that exits has not read."""
    remove_quietly(files.pool_size(supervisor))


def take(files: QueueFiles, supervisor: str) -> int | None:
    """Read and remove the new size of a pool; None if there is none, or nothing sensible."""
    path = files.pool_size(supervisor)
    taken = f"{path}.taken"
    text = b""
    with suppress(OSError):
        # Renamed first: a size that is written while we read must not be removed with this one.
        os.rename(path, taken)
        descriptor = open_to_read(taken)
        try:
            text = os.read(descriptor, 16).strip()
        finally:
            os.close(descriptor)
    remove_quietly(taken)
    return int(text) if text.isdigit() and 1 <= int(text) <= MOST_WORKERS else None
