"""Which processes hold a lock of a queue, as the kernel tells."""

from __future__ import annotations

import os
from typing import Iterable

from queuectl.host.files import QueueFiles, turn_of

_READERS = range(120, 128)
"""The bytes of SQLite's file `-shm` that readers lock while they read. Everybody who has the
database open also locks another byte, and some of the database, all the time."""


def holders(files: QueueFiles) -> set[int]:
    """Return the PIDs of processes that hold a lock for which others may have to wait.

    None are known where the kernel does not tell (/proc/locks).
    """
    ours = _inodes(
        [
            files.write_lock,
            turn_of(files.write_lock),
            files.start_lock,
            files.stage_lock,
            files.batch_lock,
        ]
    )
    shared_memory = _inodes([files.shm])
    of_sqlite = shared_memory | _inodes([files.database])
    found = set()
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as lines:
            for line in lines:
                # 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF; a process that waits has `->`.
                fields = line.split()
                if len(fields) != 8 or fields[1] == "->":
                    continue
                kind, pid, start = fields[3], int(fields[4]), int(fields[6])
                # Only the inode: on some file systems stat() tells another device.
                inode = fields[5].rpartition(":")[2]
                if (
                    inode in ours
                    or (inode in of_sqlite and kind == "WRITE")
                    or (inode in shared_memory and start in _READERS)
                ):
                    found.add(pid)
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
