"""The file that node_exporter reads the figures from: complete at any moment, however we end."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager
from typing import Iterator

from queuectl.core.errors import InvalidInput, QueueBusy, QueueUnusable
from queuectl.host.filesystem import sync_folder, unlink_quietly

SUFFIX = ".prom"
"""The end that the name must have: node_exporter ignores other files."""

_MODE = 0o644
_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.02


@contextmanager
def replacing(path: str) -> Iterator[int]:
    """Yield the descriptor of a file to write, which afterwards takes the place of `path`.

    Everybody can read it, whatever the umask is: node_exporter runs as a user of its own. Figures
    must be collected inside of this. Two processes at once could otherwise replace newer figures by
    older ones, and Prometheus would take the smaller counters for a restart.

    If anything fails, the file at `path` stays as it is. A process that is killed leaves its
    unfinished file; the next one uses and renames it. Raises QueueBusy if another process is
    writing for too long, and QueueUnusable if the file cannot be written.
    """
    if not path.endswith(SUFFIX):
        raise InvalidInput(f"the name of the textfile must end in {SUFFIX}: {path}")
    unfinished = f"{path}.unfinished"
    try:
        descriptor = _open_locked(unfinished, path)
        try:
            os.ftruncate(descriptor, 0)
            yield descriptor
            os.fchmod(descriptor, _MODE)
            os.fsync(descriptor)
            os.replace(unfinished, path)
        except BaseException:
            unlink_quietly(unfinished)
            raise
        finally:
            os.close(descriptor)
        sync_folder(os.path.dirname(os.path.abspath(path)))
    except OSError as error:
        raise QueueUnusable(f"cannot write {path}: {error.strerror}") from None


def _open_locked(unfinished: str, path: str) -> int:
    """Open the unfinished file and lock it, when no other process writes it any more."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(unfinished, flags, 0o600)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise QueueUnusable(f"{unfinished} is not a plain file (remove it)")
            # Others who can write there could choose the file that we overwrite, or keep theirs.
            if status.st_nlink > 1 or status.st_uid != os.geteuid():
                raise QueueUnusable(f"{unfinished} was made by somebody else (remove it)")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, unfinished):
                return descriptor
            os.close(descriptor)  # its writer has renamed or removed it meanwhile
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise QueueBusy(f"another process is writing {path} (try again)") from None
            time.sleep(_LOOK_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise


def _is_at(descriptor: int, path: str) -> bool:
    """Whether a path still names an open file."""
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)
