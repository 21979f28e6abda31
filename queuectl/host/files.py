"""Where a queue's files are, and that nobody else can put anything there."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager
from typing import Iterator, NamedTuple

from queuectl.core.errors import InvalidInput, QueueUnusable

DEFAULT_DATABASE = "~/.local/state/queuectl/queue.db"

_NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb2 smb3 smbfs 9p ceph glusterfs lustre afs gpfs ocfs2 gfs2 beegfs orangefs "
    "ncpfs coda vboxsf prl_fs vmhgfs".split()
)


class QueueFiles(NamedTuple):
    """The paths of one queue: the database, and a private folder beside it for all the rest."""

    database: str
    is_default: bool = False
    allow_shared: bool = False

    @property
    def folder(self) -> str:
        """The private folder beside the database."""
        return self.database + ".d"

    @property
    def write_lock(self) -> str:
        """The file whose flock orders all writers."""
        return f"{self.folder}/write.lock"

    @property
    def start_lock(self) -> str:
        """The file whose flock orders the decisions of `worker start --unless-running`."""
        return f"{self.folder}/start.lock"

    @property
    def workers(self) -> str:
        """The folder of the lock files and bells of workers and supervisors."""
        return f"{self.folder}/workers"

    @property
    def logs(self) -> str:
        """The folder of what jobs print."""
        return f"{self.folder}/logs"

    @property
    def detached_log(self) -> str:
        """What detached workers log."""
        return f"{self.folder}/workers.log"

    def execution_log(self, execution_id: int) -> str:
        """The file that keeps the output of an ended attempt, if it is not in its row."""
        return f"{self.logs}/{execution_id}.log"

    def worker_log(self, worker_id: str) -> str:
        """The file into which the running job of a worker prints."""
        return f"{self.logs}/{worker_id}.log"

    def worker_status(self, worker_id: str) -> str:
        """The file into which the shell of a worker's running job writes how it ended."""
        return f"{self.logs}/{worker_id}.status"

    def exists(self) -> bool:
        """Whether there is a database; QueueUnusable if that cannot be known or it is no file."""
        try:
            mode = os.stat(self.database).st_mode
        except FileNotFoundError:
            return False
        except OSError as error:
            raise QueueUnusable(f"cannot look at {self.database}: {error.strerror}") from None
        if not stat.S_ISREG(mode):
            raise QueueUnusable(f"{self.database} is not a file")
        return True

    def prepare_to_write(self) -> None:
        """Refuse a place that others can write, and make the private folders.

        The folder of the database itself is made for the default place only.
        """
        parent = os.path.dirname(self.database)
        if self.is_default:
            _make_folders(parent)
        self.refuse_shared()
        for folder in (self.folder, self.workers, self.logs):
            _make_private(folder, self.allow_shared)

    def refuse_shared(self) -> None:
        """Raise QueueUnusable if others own or can write the database, or write its folder, or that
        is gone.
        """
        parent = os.path.dirname(self.database)
        try:
            status = os.stat(parent)
        except OSError as error:
            raise QueueUnusable(f"cannot use the folder {parent}: {error.strerror}") from None
        if not stat.S_ISDIR(status.st_mode):
            raise QueueUnusable(f"{parent} is not a folder")
        if self.allow_shared:
            return
        shared = parent if status.st_mode & 0o022 else None
        if self.exists():
            database = os.stat(self.database)
            if database.st_uid != os.geteuid():
                raise QueueUnusable(
                    f"{self.database} belongs to somebody else, who could run commands as you "
                    "(use your own --db, or --allow-shared)"
                )
            beside = (self.database, self.database + "-wal", self.database + "-shm")
            shared = shared or next(filter(_others_can_write, beside), None)
        if shared is not None:
            raise QueueUnusable(
                f"others can write {shared}, so they could run commands as you "
                f"(chmod go-w {shared}, or --allow-shared)"
            )

    def create_database(self) -> None:
        """Make an empty database file; one that exists is left."""
        try:
            with without_umask():
                descriptor = os.open(
                    self.database,
                    os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC,
                    own_mode(self.database),
                )
        except FileExistsError:
            return
        except OSError as error:
            raise QueueUnusable(f"cannot make {self.database}: {error.strerror}") from None
        os.close(descriptor)
        sync_folder(os.path.dirname(self.database))

    def refuse_network(self) -> None:
        """Raise QueueUnusable on a network file system: locks and shared memory fail there."""
        kind = file_system(os.path.dirname(self.database))
        if kind is not None and is_network(kind):
            raise QueueUnusable(
                f"{self.database} is on a network file system ({kind}), where a queue is not safe "
                "(use --db with a path on a local disk)"
            )


def find(path: str | None, environment_path: str | None, allow_shared: bool) -> QueueFiles:
    """Return the files of the queue meant: `path`, else the environment's, else the default.

    Symbolic links are followed, so that one database never gets two folders.
    """
    given = path or environment_path
    expanded = os.path.expanduser(given or DEFAULT_DATABASE)
    if expanded.startswith("~"):
        raise QueueUnusable(
            f"cannot find the home folder in {given or DEFAULT_DATABASE} (set HOME)"
        )
    try:
        expanded.encode()
    except UnicodeEncodeError:
        raise InvalidInput("the path of the database is not valid UTF-8") from None
    if "\0" in expanded:
        raise InvalidInput("the path of the database holds a NUL byte")
    return QueueFiles(os.path.realpath(expanded), is_default=not given, allow_shared=allow_shared)


def file_system(path: str) -> str | None:
    """Return the type of the file system that holds `path`, None where the kernel does not tell.

    Read from mountinfo, since statfs reports some network file systems as local ones.
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
    """Whether a type of file system is, or may be, a network's."""
    return kind in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse.")


def sync_folder(path: str) -> None:
    """Make what was created in a folder survive a power cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise QueueUnusable(f"cannot write the folder {path}: {error.strerror}") from None


@contextmanager
def new_file(path: str) -> Iterator[str]:
    """Yield the name of a file to write; it is there as `path` once it is whole and on the disk:
    half of it would pass for all.

    Raises QueueUnusable if there is something already, or it cannot be written.
    """
    # A name of its own, which tells what it is should we be killed: of two that write to one path
    # none takes the other's file for its.
    unfinished = f"{path}.{os.urandom(6).hex()}.unfinished"
    try:
        if os.path.lexists(path):
            raise FileExistsError
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield unfinished
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _publish(unfinished, path)
        sync_folder(os.path.dirname(os.path.abspath(path)))
    except FileExistsError:
        raise QueueUnusable(f"{path} exists already") from None
    except OSError as error:
        raise QueueUnusable(f"cannot write {path}: {error.strerror}") from None
    finally:
        unlink_quietly(unfinished)


def _publish(unfinished: str, path: str) -> None:
    """Give a file its name, FileExistsError if that is taken."""
    try:
        os.link(unfinished, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        # A file system without links: the name is taken first, and then given to the file.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.replace(unfinished, path)


@contextmanager
def without_umask() -> Iterator[None]:
    """Give what is made meanwhile the mode that was asked for, whatever the umask."""
    previous = os.umask(0)
    try:
        yield
    finally:
        os.umask(previous)


def own_mode(path: str) -> int:
    """Return the mode of a file that is to be made: 0600, or 0660 in the folder of a team.

    That is one which gives its group to all that is made in it (setgid) and which its group can
    write. Without --allow-shared nothing is made in one.
    """
    return 0o660 if _is_of_team(os.path.dirname(path)) else 0o600


def _is_of_team(folder: str) -> bool:
    team = stat.S_ISGID | stat.S_IWGRP
    return os.stat(folder).st_mode & team == team


def open_private(path: str) -> int:
    """Open or make a file of ours for reading and writing, never through a link; a descriptor."""
    try:
        with without_umask():
            descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, own_mode(path)
            )
    except OSError as error:
        raise QueueUnusable(f"cannot open {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise QueueUnusable(f"{path} is not a plain file (remove it)")
    return descriptor


def _others_can_write(path: str) -> bool:
    try:
        return os.stat(path).st_mode & 0o022 != 0
    except FileNotFoundError:
        return False


def unlink_quietly(path: str) -> None:
    """Remove a file that another may have removed already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _make_folders(path: str) -> None:
    """Make a folder and those above it; what exists is left as it is."""
    if not os.path.isdir(path):
        _make_folders(os.path.dirname(path))
        _make_folder(path)


def _make_folder(path: str) -> None:
    try:
        with without_umask():
            # The system hands the setgid bit on from one folder to the next.
            os.mkdir(path, 0o770 if _is_of_team(os.path.dirname(path)) else 0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise QueueUnusable(f"cannot make the folder {path}: {error.strerror}") from None
    sync_folder(os.path.dirname(path))


def _make_private(path: str, allow_shared: bool) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        _make_folder(path)
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
