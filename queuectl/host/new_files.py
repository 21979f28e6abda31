"""Writing a file under a temporary name, and publishing it once it is complete."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import Iterator

from queuectl.core.errors import QueueUnusable
from queuectl.core.named_tuples import NamedTuple
from queuectl.host.filesystem import sync_folder, unlink_quietly


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
