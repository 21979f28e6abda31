"""How large the write-ahead log (WAL) of a queue becomes before it is moved into the database."""

from __future__ import annotations

import os

PAGE_BYTES = 2048
"""A commit writes whole pages, and it changes little of each: SQLite's 4096 write more."""
_CHECKPOINT_PAGES = 4000
"""SQLite's 1000 make one commit in 110 wait for the whole file to be synced: 2 % of a drain."""
_FEWEST_CHECKPOINT_PAGES = 100


def checkpoint_pages(path: str) -> int:
    """Return after how many pages the write-ahead log is moved into the database.

    On a small disk the log may take a twentieth: else it alone fills one of 8 MB.
    """
    try:
        place = os.statvfs(path)
    except OSError:
        return _CHECKPOINT_PAGES
    share = place.f_blocks * place.f_frsize // 20 // PAGE_BYTES
    return min(_CHECKPOINT_PAGES, max(_FEWEST_CHECKPOINT_PAGES, share))


def log_bytes(path: str) -> int:
    """Return how large the log may become, in bytes: it may grow on while it is moved."""
    return 2 * checkpoint_pages(path) * PAGE_BYTES


def largest_file(path: str) -> int:
    """Return how large one of the files of a queue may be soon, in bytes: its database or log."""
    try:
        size = os.stat(path).st_size
    except OSError:  # it will be made
        size = 0
    return size + log_bytes(path)
