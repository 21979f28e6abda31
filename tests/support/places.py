"""Where the temporary folders of the tests are."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_PREFIX = "queuectl-tests-"
_ENOUGH_BYTES = 1 << 30
"""A whole run needs less; the default of a container, 64 MiB, would fill up."""


def folder_in_memory() -> Path | None:
    """Make a folder on a file system in memory; None if there is none of use.

    A commit takes 0.1 ms there; on a disk with other work it was seen to take 10 ms. The folder
    is locked while this process lives, and folders of runs that were killed are removed.
    """
    try:
        status = os.statvfs(_MEMORY)
        if status.f_flag & os.ST_NOEXEC or status.f_bavail * status.f_frsize < _ENOUGH_BYTES:
            return None
        for old in _MEMORY.glob(_PREFIX + "*"):
            if _locked(old) is not None:
                shutil.rmtree(old, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY))
    except OSError:
        return None
    _locked(made)
    return made


def _locked(folder: Path) -> int | None:
    """Lock a folder until this process ends; None if another process has it, or another user."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
