"""The place of a queue on the disk: refused if it is not safe, prepared if it is."""

from __future__ import annotations

import os
import stat

from queuectl.core.errors import QueueUnusable
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import make, make_folder, make_folders, sync_folder
from queuectl.host.trust import weak_place

_NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb2 smb3 smbfs 9p ceph glusterfs lustre afs gpfs ocfs2 gfs2 beegfs orangefs "
    "ncpfs coda vboxsf prl_fs vmhgfs".split()
)


def prepare(files: QueueFiles) -> None:
    """Create the queue's private folders if they are missing; call `refuse_shared` first.

    The folder that holds the database is created for the default place only.
    """
    parent = os.path.dirname(files.database)
    if files.is_default:
        _make_state_folder(parent)
    try:
        status = os.stat(parent)
    except OSError as error:
        raise QueueUnusable(f"cannot use the folder {parent}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise QueueUnusable(f"{parent} is not a folder")
    for folder in (files.folder, files.workers, files.logs):
        _make_private(folder)


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
    """Raise QueueUnusable if others can change what the queue holds, unless that is allowed."""
    weak = None if files.allow_shared else weak_place(files)
    if weak is None:
        return
    if weak.owner is None:
        raise QueueUnusable(
            f"others can write {weak.path}, so they could run commands as you "
            f"(chmod go-w {weak.path}, or --allow-shared)"
        )
    own = "set HOME to your own, use --db" if files.is_default else "use your own --db"
    raise QueueUnusable(
        f"{weak.path} belongs to somebody else, who could run commands as you "
        f"({own}, or --allow-shared)"
    )


# Not by regular expressions: to compile one takes half a millisecond of the start of a command, and
# 0.2 MB of each worker. The backslash comes first, since the others contain one.
_MOUNT_ESCAPES = (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012"))
"""How the kernel writes characters of a path in mountinfo, in octal."""


def refuse_second_name(files: QueueFiles) -> None:
    """Raise QueueUnusable if the database, which exists, can be reached under another name.

    SQLite keeps its log and its locks beside the name, so two names overwrite each other's changes.
    Symbolic links are no such names: they have been resolved.
    """
    try:
        links = os.stat(files.database).st_nlink
    except OSError as error:  # it has just been removed
        raise QueueUnusable(f"cannot look at {files.database}: {error.strerror}") from None
    if links > 1:
        raise QueueUnusable(
            f"{files.database} has another name (a hard link), and two names would overwrite each "
            "other's changes (remove the other name; to copy a queue: queuectl backup)"
        )
    mounted = files.database
    for character, escape in _MOUNT_ESCAPES:
        mounted = mounted.replace(character, escape)
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            is_mounted = b" %b " % mounted.encode() in mounts.read()
    except OSError:  # not on Linux
        return
    if is_mounted:
        raise QueueUnusable(
            f"{files.database} is mounted as a single file, and its two names would overwrite each "
            "other's changes (mount the folder that contains it)"
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
                mount = left.split(" ")[4]
                for character, escape in reversed(_MOUNT_ESCAPES):
                    mount = mount.replace(escape, character)
                inside = path == mount or path.startswith(mount.rstrip("/") + "/")
                if inside and len(mount) >= best[0]:
                    best = (len(mount), right.split(" ")[0])
    except (OSError, IndexError):
        return None
    return best[1]


def is_network(kind: str) -> bool:
    """Whether a type of file system is, or may be, a network file system."""
    return kind in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse.")


def _make_state_folder(path: str) -> None:
    """Create the folder of the default place, and those above it that are missing.

    Raises QueueUnusable if that is the home of another user, who could not use them afterwards.
    """
    above = path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if above != path and os.stat(above).st_uid not in (os.geteuid(), 0):
        raise QueueUnusable(
            f"{above} belongs to somebody else, who could not use folders that you make there "
            "(set HOME to your own, or use --db)"
        )
    make_folders(path)


def _make_private(path: str) -> None:
    """Create a private folder if it is missing."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        make_folder(path)
        return
    except OSError as error:
        raise QueueUnusable(f"cannot look at {path}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise QueueUnusable(f"{path} is not a folder (remove it)")
