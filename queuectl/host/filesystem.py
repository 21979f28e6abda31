"""Creating and removing files and folders that belong to us alone."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import Iterator

from queuectl.core.errors import QueueUnusable

_OURS = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def make(path: str, flags: int = os.O_RDWR | os.O_EXCL) -> int:
    """Create a file with our own mode, never through a link; return its descriptor.

    Without O_EXCL in `flags`, a file that exists already is opened. Raises OSError.
    """
    with without_umask():
        return os.open(path, flags | _OURS, own_mode(path))


def make_fifo(path: str) -> None:
    """Create a FIFO with our own mode. Raises OSError."""
    with without_umask():
        os.mkfifo(path, own_mode(path))


def open_private(path: str) -> int:
    """Open a file of ours for reading and writing; create it if needed. Return its descriptor.

    Raises QueueUnusable if that fails, or if something else has this name.
    """
    try:
        descriptor = make(path, os.O_RDWR)
    except OSError as error:
        raise QueueUnusable(f"cannot open {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise QueueUnusable(f"{path} is not a plain file (remove it)")
    return descriptor


def open_to_read(path: str) -> int:
    """Open a plain file of a private folder for reading; return its descriptor. Raises OSError.

    Something else may have been put there: a link is not followed, and a FIFO is not waited for.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        try:
            descriptor = os.open(path, flags)
            break
        except BlockingIOError:
            # Its worker has a lease on the log, for some microseconds, to see who else has it.
            time.sleep(0.001)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a plain file", path)
    return descriptor


def make_folder(path: str) -> None:
    """Create a folder that only we, or our team, can use; leave one that exists as it is."""
    try:
        with without_umask():
            # The system passes the setgid bit on from a folder to those created in it.
            os.mkdir(path, 0o770 if _belongs_to_team(os.path.dirname(path)) else 0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise QueueUnusable(f"cannot make the folder {path}: {error.strerror}") from None
    sync_folder(os.path.dirname(path))


def make_folders(path: str) -> None:
    """Create a folder, and those above it that are missing; leave what exists as it is."""
    if not os.path.isdir(path):
        make_folders(os.path.dirname(path))
        make_folder(path)


def sync_folder(path: str) -> None:
    """Make files that were created in a folder survive a power cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise QueueUnusable(f"cannot write the folder {path}: {error.strerror}") from None


def unlink_quietly(path: str) -> None:
    """Remove a file that another process may have removed already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_quietly(path: str) -> None:
    """Remove a file, or an empty folder that somebody put there; leave what cannot be removed."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:
        with suppress(OSError):
            os.rmdir(path)


@contextmanager
def without_umask() -> Iterator[None]:
    """Create files with exactly the mode that is asked for, whatever the umask is."""
    previous = os.umask(0)
    try:
        yield
    finally:
        os.umask(previous)


def own_mode(path: str) -> int:
    """Return the mode for a file that is to be created: 0600, or 0660 in the folder of a team.

    The folder of a team passes its group on to what is created in it (setgid), and its group can
    write there. Without --allow-shared, nothing is created in such a folder.
    """
    return 0o660 if _belongs_to_team(os.path.dirname(path)) else 0o600


def _belongs_to_team(folder: str) -> bool:
    team = stat.S_ISGID | stat.S_IWGRP
    return os.stat(folder).st_mode & team == team
