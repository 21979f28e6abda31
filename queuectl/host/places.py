"""The place of a queue on the disk: refused if it is not safe, prepared if it is."""

from __future__ import annotations

import os
import re
import stat

from queuectl.core.errors import QueueUnusable
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import make, make_folder, make_folders, sync_folder

_NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb2 smb3 smbfs 9p ceph glusterfs lustre afs gpfs ocfs2 gfs2 beegfs orangefs "
    "ncpfs coda vboxsf prl_fs vmhgfs".split()
)


def prepare_to_write(files: QueueFiles) -> None:
    """Refuse a place that others can write to, then create the queue's private folders.

    The folder that holds the database is created for the default place only.
    """
    parent = os.path.dirname(files.database)
    if files.is_default:
        make_folders(parent)
    refuse_shared(files)
    for folder in (files.folder, files.workers, files.logs):
        _make_private(folder, files.allow_shared)


def create_database(files: QueueFiles) -> None:
    """Create an empty database file; leave one that exists as it is."""
    try:
        descriptor = make(files.database)
    except FileExistsError:
        return
    except OSError as error:
        raise QueueUnusable(f"cannot make {files.database}: {error.strerror}") from None
    os.close(descriptor)
    sync_folder(os.path.dirname(files.database))


def refuse_shared(files: QueueFiles) -> None:
    """Raise QueueUnusable if others own the database, or can write to it or to its folder.

    Raises it also if that folder does not exist.
    """
    parent = os.path.dirname(files.database)
    try:
        status = os.stat(parent)
    except OSError as error:
        raise QueueUnusable(f"cannot use the folder {parent}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise QueueUnusable(f"{parent} is not a folder")
    if files.allow_shared:
        return
    shared = parent if status.st_mode & 0o022 else None
    if files.exists():
        if os.stat(files.database).st_uid != os.geteuid():
            raise QueueUnusable(
                f"{files.database} belongs to somebody else, who could run commands as you "
                "(use your own --db, or --allow-shared)"
            )
        beside = (files.database, files.wal, files.shm)
        shared = shared or next(filter(_others_can_write, beside), None)
    if shared is not None:
        raise QueueUnusable(
            f"others can write {shared}, so they could run commands as you "
            f"(chmod go-w {shared}, or --allow-shared)"
        )


def refuse_network(files: QueueFiles) -> None:
    """Raise QueueUnusable on a network file system, where locks and shared memory fail."""
    kind = file_system(os.path.dirname(files.database))
    if kind is not None and is_network(kind):
        raise QueueUnusable(
            f"{files.database} is on a network file system ({kind}), where a queue is not safe "
            "(use --db with a path on a local disk)"
        )


def file_system(path: str) -> str | None:
    """Return the type of the file system that holds `path`; None if the kernel does not tell.

    The type is read from mountinfo, since statfs reports some network file systems as local ones.
    """
    best: tuple[int, str | None] = (-1, None)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                # White space in a path is written in octal: "\\040".
                mount = re.sub(
                    r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), left.split(" ")[4]
                )
                inside = path == mount or path.startswith(mount.rstrip("/") + "/")
                if inside and len(mount) >= best[0]:
                    best = (len(mount), right.split(" ")[0])
    except (OSError, IndexError):
        return None
    return best[1]


def is_network(kind: str) -> bool:
    """Whether a type of file system is, or may be, a network file system."""
    return kind in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse.")


def _others_can_write(path: str) -> bool:
    try:
        return os.stat(path).st_mode & 0o022 != 0
    except FileNotFoundError:
        return False


def _make_private(path: str, allow_shared: bool) -> None:
    """Create a private folder if it is missing; refuse one that is not private."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        make_folder(path)
        status = os.lstat(path)
    except OSError as error:
        raise QueueUnusable(f"cannot look at {path}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise QueueUnusable(f"{path} is not a folder (remove it)")
    if allow_shared:
        return
    if status.st_uid != os.geteuid():
        raise QueueUnusable(f"{path} belongs to somebody else (use your own --db)")
    if status.st_mode & 0o022:
        raise QueueUnusable(f"others can write {path} (chmod go-w {path})")
