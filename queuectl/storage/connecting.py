"""Connecting to a file: which file it is, and whether the log beside it is its own."""

from __future__ import annotations

import os
import sqlite3

from queuectl.core.errors import QueueUnusable
from queuectl.host.files import QueueFiles
from queuectl.storage.sqlite_errors import READING_ERRORS, translated

_BUSY_SECONDS = 1.0
"""How long SQLite itself waits for a program that does not know the write lock."""
_MAGIC = b"SQLite format 3\0"
_IS_WAL = b"\2\2"
"""The versions for writing and reading in the header of a database in WAL mode."""

connected: list[str] = []
"""The databases to which this process has a connection."""


def connect(path: str, mode: str = "rw") -> sqlite3.Connection:
    """Connect to a file that exists; `mode` is `rw` or `ro`."""
    # Only a URI can say: do not create. Its own special characters are escaped.
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        return sqlite3.connect(
            f"file:{escaped}?mode={mode}", uri=True, isolation_level=None, timeout=_BUSY_SECONDS
        )
    except READING_ERRORS as error:
        raise translated(error, path) from error


def refuse_foreign_wal(files: QueueFiles) -> None:
    """Raise QueueUnusable if the log beside a database is that of another file.

    SQLite would apply it to this one: the old changes come back, or the file is damaged. The header
    of a file says whether it is in WAL mode, and a backup is not. So if there is a log all the
    same, a copy was put in the place of the file to which it belongs.
    """
    if files.database in connected:
        return  # it was checked before
    try:
        if os.stat(files.wal).st_size == 0 or os.stat(files.database).st_size == 0:
            return  # SQLite ignores the log of an empty file
        # This process has no connection to the file: SQLite would lose its locks when this
        # descriptor is closed.
        descriptor = os.open(files.database, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # there is no log, or SQLite will say what is wrong
        return
    try:
        header = os.pread(descriptor, 20, 0)
    finally:
        os.close(descriptor)
    if header.startswith(_MAGIC) and header[18:20] != _IS_WAL:
        raise QueueUnusable(
            f"{files.wal} belongs to another database, as after a copy was put in the place of "
            f"{files.database} (remove it and {files.shm}; the right way: queuectl restore)"
        )


def identity(path: str) -> tuple[int, int] | None:
    """Return device and inode; zeros if there is no file, None if that cannot be known."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    except OSError:
        return None
    return status.st_dev, status.st_ino


def file_id(path: str) -> str:
    """Return device and inode of a file, as text; empty if they cannot be known."""
    return as_text(identity(path))


def as_text(known: tuple[int, int] | None) -> str:
    """Return what `identity` returned as text, to be stored; empty if it was unknown."""
    return "" if known is None else "{}:{}".format(*known)
