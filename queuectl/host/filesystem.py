"""Creating, publishing and removing files and folders that belong to us alone."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import Iterator, NamedTuple

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


class NewFile(NamedTuple):
    """A file that is being written, before it has its final name."""

    descriptor: int
    """Open for reading and writing. Write through it: nobody else can change what it means."""
    name: str
    """Its temporary name, safe only in a folder in which nobody else can replace files."""


@contextmanager
def new_file(path: str, *, replace: bool = False) -> Iterator[NewFile]:
    """Yield a file to write; afterwards sync it and give it the name `path`.

    A partial file could be taken for a complete one. Raises QueueUnusable if the file cannot be
    written, or if `path` exists already. With `replace`, an existing file is replaced; only one
    process at a time may do that.
    """
    # Use a unique temporary name, so that two writers to one path cannot collide, and a file that
    # is left after a kill can be recognised. One writer alone can clean up after such a kill.
    unfinished = f"{path}.unfinished" if replace else f"{path}.{os.urandom(6).hex()}.unfinished"
    try:
        if replace:
            unlink_quietly(unfinished)
        elif os.path.lexists(path):
            raise FileExistsError
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield NewFile(descriptor, unfinished)
            os.fsync(descriptor)
            (os.replace if replace else _publish)(unfinished, path)
            if not _is_same_file(descriptor, path):
                raise QueueUnusable(f"cannot write {path}: another program replaced it")
        finally:
            os.close(descriptor)
            unlink_quietly(unfinished)
        sync_folder(os.path.dirname(os.path.abspath(path)))
    except FileExistsError:
        raise QueueUnusable(f"{path} exists already") from None
    except OSError as error:
        raise QueueUnusable(f"cannot write {path}: {error.strerror}") from None


def _is_same_file(descriptor: int, path: str) -> bool:
    """Whether a path names an open file: in a folder of others, anybody may swap names."""
    ours, named = os.fstat(descriptor), os.lstat(path)
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)


@contextmanager
def scratch_file() -> Iterator[str]:
    """Yield a name for a file that only we can make, read or replace; it is removed afterwards."""
    import tempfile  # only for a copy into a folder of others

    with tempfile.TemporaryDirectory(prefix="queuectl-") as folder:
        yield os.path.join(folder, "scratch")


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


def _publish(unfinished: str, path: str) -> None:
    """Give a file its final name; FileExistsError if that name is taken."""
    try:
        os.link(unfinished, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        # The file system has no links: take the name first, then give it to the file.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.replace(unfinished, path)
