"""The files of a queue: where each is, and the names by which others recognise them."""

from __future__ import annotations

import os
import re
import stat

from queuectl.core.errors import InvalidInput, QueueUnusable
from queuectl.core.named_tuples import NamedTuple

DEFAULT_DATABASE = "~/.local/state/queuectl/queue.db"

_PROCESS_LOCK = ".lock"
# "bell" was the first word for the wake-up FIFO. The name stays: workers and commands of different
# versions use one queue at the same time, and must find each other's FIFOs.
_WAKEUP_FIFO = ".bell"
_POOL_SIZE = ".size"
_LOG = ".log"
_STATUS = ".status"
_TURN = ".turn"
_TAIL = ".tail"
_UNFINISHED = ".new"


class QueueFiles(NamedTuple):
    """The paths of one queue: its database, and a private folder beside it for everything else."""

    database: str
    """The absolute path of the SQLite file, with symbolic links resolved."""
    is_default: bool = False
    """Whether this is the default place, whose missing folders are created."""
    allow_shared: bool = False
    """Whether others may be able to write to the queue (--allow-shared)."""
    given: str = ""
    """The absolute path that was asked for, with its symbolic links; empty if it is `database`."""

    @property
    def wal(self) -> str:
        """The write-ahead log that SQLite keeps beside the database."""
        return self.database + "-wal"

    @property
    def shm(self) -> str:
        """The shared memory that SQLite keeps beside the database."""
        return self.database + "-shm"

    @property
    def journal(self) -> str:
        """The rollback journal that SQLite would replay if it lay beside the database."""
        return self.database + "-journal"

    @property
    def before_upgrade(self) -> str:
        """The copy of an old database, made before it is converted."""
        return self.database + ".before-upgrade"

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
    def stage_lock(self) -> str:
        """The file that a process keeps locked while it enqueues or imports many jobs."""
        return f"{self.folder}/stage.lock"

    @property
    def batch_lock(self) -> str:
        """The lock that `run` holds while it stores a batch."""
        return f"{self.folder}/batch.lock"

    @property
    def detached_log(self) -> str:
        """The log of detached workers, unless they are given another."""
        return f"{self.folder}/workers.log"

    @property
    def web_key(self) -> str:
        """The secret from which the links of the web page are made."""
        return f"{self.folder}/web.key"

    @property
    def workers(self) -> str:
        """The folder of the lock files and wake-up FIFOs of workers and supervisors."""
        return f"{self.folder}/workers"

    @property
    def logs(self) -> str:
        """The folder of what jobs print."""
        return f"{self.folder}/logs"

    def process_lock(self, owner: str) -> str:
        """The file that a worker or supervisor keeps locked for as long as it lives."""
        return f"{self.workers}/{_entry(owner)}{_PROCESS_LOCK}"

    def unfinished_process_lock(self, owner: str) -> str:
        """The name of such a file until it is locked and complete."""
        return f"{self.workers}/.{owner}{_UNFINISHED}"

    def wakeup_fifo(self, worker_id: str) -> str:
        """The FIFO that wakes a worker."""
        return f"{self.workers}/{_entry(worker_id)}{_WAKEUP_FIFO}"

    def pool_size(self, supervisor: str) -> str:
        """The file that tells a supervisor how many workers it is to have."""
        return f"{self.workers}/{_entry(supervisor)}{_POOL_SIZE}"

    def worker_log(self, worker_id: str) -> str:
        """The file into which the running job of a worker prints."""
        return f"{self.logs}/{_entry(worker_id)}{_LOG}"

    def worker_status(self, worker_id: str) -> str:
        """The file into which the shell of a worker's running job writes how the job ended."""
        return f"{self.logs}/{_entry(worker_id)}{_STATUS}"

    def execution_log(self, execution_id: int) -> str:
        """The file that keeps the output of an ended attempt, if it is not in the attempt's row."""
        return f"{self.logs}/{execution_id}{_LOG}"

    def exists(self) -> bool:
        """Whether the database exists.

        Raises QueueUnusable if that cannot be known, or if it is not a plain file.
        """
        try:
            mode = os.stat(self.database).st_mode
        except FileNotFoundError:
            return False
        except OSError as error:
            raise QueueUnusable(f"cannot look at {self.database}: {error.strerror}") from None
        if not stat.S_ISREG(mode):
            raise QueueUnusable(f"{self.database} is not a file")
        return True


def with_tilde(path: str) -> str:
    """Return a path as people write it: with `~` for their home folder."""
    home = os.path.expanduser("~").rstrip("/")
    return f"~{path[len(home) :]}" if home and path.startswith(f"{home}/") else path


def find(path: str | None, environment_path: str | None, allow_shared: bool) -> QueueFiles:
    """Return the files of the queue at `path`, else at `environment_path`, else the default one.

    Symbolic links are resolved, so that one database never gets two folders.
    """
    given = path or environment_path
    named = given or DEFAULT_DATABASE
    expanded = os.path.expanduser(named)
    # With an empty HOME, `~` would be the root folder.
    is_homeless = named.startswith("~/") and os.environ.get("HOME") == ""
    if expanded.startswith("~") or is_homeless:
        raise QueueUnusable(f"cannot find the home folder in {named} (set HOME)")
    if "\0" in expanded:
        raise InvalidInput("the path of the database holds a NUL byte")
    absolute = expanded if expanded.startswith("/") else os.path.join(os.getcwd(), expanded)
    database = os.path.realpath(absolute)
    try:
        database.encode()  # also of the folders that a relative path and symbolic links lead to
    except UnicodeEncodeError:
        raise InvalidInput("the path of the database is not valid UTF-8") from None
    return QueueFiles(
        database,
        is_default=not given,
        allow_shared=allow_shared,
        given="" if absolute == database else absolute,
    )


def _entry(owner: str) -> str:
    """Return an id that is part of the name of a file.

    Raises QueueUnusable if it would lead to another folder: ids also come from the database and
    from lock files, which somebody else may have written.
    """
    if "/" in owner or "\0" in owner:
        raise QueueUnusable(f"not the id of a worker: {owner} (the queue is damaged)")
    return owner


def turn_of(write_lock: str) -> str:
    """Return the file beside the write lock whose flock says which writer is next."""
    return write_lock + _TURN


def unfinished(path: str) -> str:
    """Return the name that a kept log has until it is complete."""
    return path + _UNFINISHED


def tail_of(worker_log: str) -> str:
    """Return the file that keeps the end of a worker's log while its middle is cut out."""
    return worker_log + _TAIL


# The names below are those of directory entries, without a folder.


def lock_owner(name: str) -> str | None:
    """Return the worker or supervisor whose lock file has this name; None for another file."""
    return name[: -len(_PROCESS_LOCK)] if name.endswith(_PROCESS_LOCK) else None


def fifo_owner(name: str) -> str | None:
    """Return the worker whose wake-up FIFO has this name; None for another file."""
    return name[: -len(_WAKEUP_FIFO)] if name.endswith(_WAKEUP_FIFO) else None


def is_unfinished(name: str) -> bool:
    """Whether a file has the name of one that is not complete yet."""
    return name.endswith(_UNFINISHED)


def logged_execution(name: str) -> int | None:
    """Return the attempt whose output a file keeps, complete or not; None for another file."""
    found = re.fullmatch(r"([0-9]{1,18})\.log(?:\.new)?", name)
    return int(found.group(1)) if found else None


def log_owner(name: str) -> str | None:
    """Return the worker whose running job a log or status file belongs to; None for another."""
    found = re.fullmatch(r"([0-9a-f]+-[0-9]+)\.(?:log|log\.tail|status)", name)
    return found.group(1) if found else None
