"""SQLite's errors in the words of a user, with what to do about them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

from queuectl.core.errors import (
    DiskFailure,
    QueueBusy,
    QueueDamaged,
    QueueError,
    QueueUnusable,
    ReadTimeOut,
    UnreadableRow,
)

_SHM_BYTES = 32768
"""The step by which SQLite's -shm file grows."""
_PAGES_BYTES = 65536
"""More than SQLite writes at once: the largest page, or one of ours with the header of a frame."""


def is_busy(error: Exception) -> bool:
    """Whether another process holds the lock. (Error codes come with Python 3.11 only.)"""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


READING_ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""The errors of SQLite's module. A message that quotes bytes of a damaged file may not be text, and
a number that was computed from one in the file may be too large for SQLite."""


def is_undecodable(error: Exception) -> bool:
    """Whether a text in the database is not UTF-8."""
    return isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error)


def disk_full(path: str, todo: str = "queuectl prune deletes finished jobs") -> DiskFailure:
    """Return the error for a disk on which a queue has no space left."""
    return DiskFailure(f"cannot write {path}: the disk is full ({todo})")


def is_about_full_disk(error: Exception) -> bool:
    """Whether an error, as it was explained by `translated`, is that no space is left."""
    return isinstance(error, DiskFailure) and "the disk is full" in str(error)


def translated(error: Exception, path: str) -> Exception:
    """Return the error to raise instead of SQLite's; one that shows a bug is returned as it is."""
    text = str(error)
    odd = _about_odd_value(error, path)
    if odd is not None:
        return odd
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return error
    if text == "interrupted":
        return ReadTimeOut("the time for reading ran out")
    if is_busy(error):
        return QueueBusy(f"the queue is busy: another program has {path} locked (try again)")
    if "full" in text or ("disk I/O error" in text and _is_disk_full(path)):
        return disk_full(path)
    if "disk I/O error" in text and _is_file_too_large(path):
        return DiskFailure(
            f"cannot write {path}: the limit on the size of files is too low (ulimit -f)"
        )
    if "disk I/O error" in text:
        return DiskFailure(f"cannot read or write {path}: disk I/O error")
    if "unable to open" in text and _has_no_inodes(path):
        return DiskFailure(f"cannot make a file beside {path}: no inodes are left (df -i)")
    if "readonly" in text or "unable to open" in text:
        if _is_read_only(path):
            return QueueUnusable(
                f"{path} is on a read-only file system, where a queue cannot even be read "
                "(mount it for writing, or copy the file and its -wal elsewhere and use --db)"
            )
        return QueueUnusable(f"cannot open {path} for writing: {text} (check owner and mode)")
    if "not a database" in text or "malformed" in text or "no such table" in text:
        return QueueDamaged(f"{path} is damaged or not a queue: {text}")
    return QueueUnusable(f"{path} cannot be used: {text}")


def _about_odd_value(error: Exception, path: str) -> QueueError | None:
    """Return the error for a value that another program wrote; None if there is none."""
    if isinstance(error, OverflowError):
        return UnreadableRow(f"{path} holds a number that is too large")
    if is_undecodable(error):
        return UnreadableRow(f"{path} holds text that is not UTF-8")
    if str(error).startswith("CHECK constraint failed"):
        # Our own values keep to the rules, except a sum whose summand another program wrote.
        return QueueDamaged(f"{path} is damaged: {error}")
    return None


def _is_disk_full(path: str) -> bool:
    # SQLite reports an I/O error if the -shm file cannot grow.
    place = _file_system(path)
    return place is not None and place.f_bavail * place.f_frsize < _SHM_BYTES


def _has_no_inodes(path: str) -> bool:
    # Some file systems have no fixed number of inodes; they tell 0 of 0.
    place = _file_system(path)
    return place is not None and place.f_files > 0 and place.f_favail == 0


def _is_file_too_large(path: str) -> bool:
    """Whether one of SQLite's files has reached the limit of this process."""
    import resource  # only on the way to an error

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit == resource.RLIM_INFINITY:
        return False
    sizes = [_SHM_BYTES]
    for name in (path, f"{path}-wal"):
        with suppress(OSError):
            sizes.append(os.stat(name).st_size)
    return max(sizes) + _PAGES_BYTES > limit


def _is_read_only(path: str) -> bool:
    # SQLite does not pass on the system's error, EROFS.
    place = _file_system(path)
    return place is not None and bool(place.f_flag & os.ST_RDONLY)


def _file_system(path: str) -> os.statvfs_result | None:
    try:
        return os.statvfs(os.path.dirname(path))
    except OSError:
        return None
