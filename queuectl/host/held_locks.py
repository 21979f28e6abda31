"""Which processes hold a lock of a queue, as the kernel tells."""

from __future__ import annotations

import os
from typing import Iterable

from queuectl.host.files import QueueFiles, turn_of

_WAL_LOCKS = range(120, 128)
"""The bytes of SQLite's file `-shm` that writers, checkpoints and readers lock for a moment. Other
bytes are locked by everybody who has the database open."""


def holders(files: QueueFiles) -> set[int]:
    """Return the PIDs of processes that hold a lock for which others may have to wait.

    None are known where the kernel does not tell (/proc/locks).
    """
    locks = _inodes([files.write_lock, turn_of(files.write_lock), files.start_lock,
                     files.stage_lock])  # fmt: skip
    shared = _inodes([f"{files.database}-shm"])
    found = set()
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as lines:
            for line in lines:
                # 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF; a process that waits has `->`.
                fields = line.split()
                if len(fields) != 8 or fields[1] == "->":
                    continue
                # Only the inode: on some file systems stat() tells another device.
                inode, start = fields[5].rpartition(":")[2], fields[6]
                if inode in locks or (inode in shared and int(start) in _WAL_LOCKS):
                    found.add(int(fields[4]))
    except (OSError, ValueError):
        pass
    return found


def _inodes(paths: Iterable[str]) -> set[str]:
    found = set()
    for path in paths:
        try:
            found.add(str(os.stat(path).st_ino))
        except OSError:  # not made yet
            continue
    return found
