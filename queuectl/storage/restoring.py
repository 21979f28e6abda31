"""Putting a backup in the place of a queue."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import Iterator

from queuectl.core.errors import QueueError, QueueUnusable
from queuectl.core.states import UNFINISHED_STATES
from queuectl.host import lockfiles, places, pools, processes
from queuectl.host.files import QueueFiles, find, logged_execution
from queuectl.host.filesystem import make, open_to_read, sync_folder, unlink_quietly
from queuectl.storage import schema
from queuectl.storage.connecting import connect, file_id, refuse_foreign_wal
from queuectl.storage.copies import give_up_running_jobs
from queuectl.storage.database import WAIT_SECONDS
from queuectl.storage.moving import finish_in_copy
from queuectl.storage.queries import Queries
from queuectl.storage.sqlite_errors import translated
from queuectl.storage.stages import Stages
from queuectl.storage.write_lock import WriteLock


class _Counted(Queries, Stages):
    """One open queue whose jobs can be counted."""


def unfinished_jobs(files: QueueFiles) -> int:
    """Return how many jobs of a queue, which need not exist, have not ended.

    Raises QueueError if the queue cannot be read.
    """
    if not files.exists():
        return 0
    with closing(_Counted.open(files, upgrade=False)) as storage:
        visible = sum(storage.by_state()[state] for state in UNFINISHED_STATES)
        return visible + storage.jobs_to_come()


def check(files: QueueFiles, source: str) -> None:
    """Raise what `restore` would raise as things are now, without changing anything."""
    places.refuse_shared(files)
    places.refuse_network(files)
    _refuse_running(files)
    with _named_errors(source):
        found = _find_source(files, source)
        with closing(connect(found.database, "ro")) as original:
            _refuse_no_queue(original, source)


def restore(files: QueueFiles, source: str, *, at_most_lost: int | None, now: datetime) -> int:
    """Put a copy of the queue in the file `source` in the place of a queue.

    Returns how many jobs it holds. The place need not have a queue. As in a backup, attempts that
    run in `source` are lost in the copy, and the copy has an id of its own. If this is killed at
    any step, the place holds the old queue or the new one, and can be restored again.

    Raises QueueError, and changes nothing, while workers or jobs run, if `source` holds no queue,
    or if more than `at_most_lost` unfinished jobs of the old queue would be lost.
    """
    places.refuse_shared(files)
    places.refuse_network(files)
    places.prepare(files)
    new = f"{files.folder}/restored.unfinished"
    lock = WriteLock(files.write_lock)
    # Workers that start now wait, and see the restored queue.
    with pools.none_starts(files):
        _refuse_running(files)
        try:
            jobs, is_another = _copy(files, source, new, now)
            # Other processes may enqueue until here.
            lock.acquire(WAIT_SECONDS)
            if at_most_lost is not None and unfinished_jobs(files) > at_most_lost:
                raise QueueError("jobs were enqueued meanwhile (restore again)")
            _publish(files, new)
            if is_another:
                _remove_logs(files)
        finally:
            lock.close()
            unlink_quietly(new)
    return jobs


def _refuse_running(files: QueueFiles) -> None:
    living = pools.living_processes(files)
    if living:
        raise QueueError(
            f"workers are running: {', '.join(one.id for one in living)} (queuectl worker stop)"
        )
    for owner in lockfiles.owners(files):
        job = lockfiles.job_process(files, owner)
        if job and processes.same_process(job.pid, job.start_ticks, processes.boot_id()):
            raise QueueError(
                f"a job runs on without a worker, as process {job.pid} (end it, or let workers "
                "adopt it: queuectl worker start --drain)"
            )


def _copy(files: QueueFiles, source: str, new: str, now: datetime) -> tuple[int, bool]:
    """Copy the queue in `source` into the new file `new`.

    Returns how many jobs it holds, and whether it has another origin than the queue that is to be
    replaced, see `schema.origin_of`.
    """
    replaced = _origin(files)
    with _named_errors(source):
        found = _find_source(files, source)
        unlink_quietly(new)
        os.close(make(new))
        with closing(connect(found.database, "ro")) as original:
            with closing(sqlite3.connect(new, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode = MEMORY")
                original.backup(copy)
                copy.execute("PRAGMA journal_mode = MEMORY")  # its own mode has been copied
                _refuse_no_queue(copy, source)
                origin = schema.origin_of(copy)
                is_another = None not in (origin, replaced) and origin != replaced
                jobs = _make_own(copy, file_id(new), now, keeps_outputs=not is_another)
    descriptor = open_to_read(new)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return jobs, is_another


@contextmanager
def _named_errors(source: str) -> Iterator[None]:
    """Turn the errors of SQLite and the system into a QueueError that names `source`."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, source) from error
    except OSError as error:
        raise QueueUnusable(f"cannot copy {source}: {error.strerror}") from None


def _find_source(files: QueueFiles, source: str) -> QueueFiles:
    """Return the files of the queue in `source`. Raises QueueError if there can be none."""
    found = find(source, None, allow_shared=True)
    if not found.exists():
        raise QueueUnusable(f"cannot read {source}: there is no such file")
    if os.path.exists(files.database) and os.path.samefile(found.database, files.database):
        raise QueueUnusable(f"{source} is the queue itself")
    refuse_foreign_wal(found)
    return found


def _refuse_no_queue(conn: sqlite3.Connection, source: str) -> None:
    (application,) = conn.execute("PRAGMA application_id").fetchone()
    (version,) = conn.execute("PRAGMA user_version").fetchone()
    if application != schema.APPLICATION_ID or not version:
        raise QueueUnusable(f"{source} is not a queue")
    if version > schema.VERSION:
        raise QueueUnusable(f"{source} was made by a newer queuectl (install that one)")
    (found,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise QueueUnusable(f"{source} is damaged: {found}")
    foreign = schema.foreign_code(conn)
    if foreign is not None:
        raise QueueUnusable(f"{source} is damaged or not a queue: another program made {foreign}")


def _make_own(
    copy: sqlite3.Connection, own_file: str, now: datetime, *, keeps_outputs: bool
) -> int:
    """Make the copy a queue of its own in the present schema; return how many jobs it holds.

    Without `keeps_outputs`, of each output only the end is left that is in the database: the files
    in the folder are those of another queue, which numbered its attempts from 1, too.
    """
    (version,) = copy.execute("PRAGMA user_version").fetchone()
    copy.execute("BEGIN")
    schema.migrate(copy, version)
    schema.keep_origin(copy)
    schema.name_queue(copy)
    schema.set_meta(copy, "file", own_file)
    copy.execute("DELETE FROM workers")
    give_up_running_jobs(copy, now, "lost: it ran when the copy was made")
    finish_in_copy(copy, now=now)
    if not keeps_outputs:
        copy.execute(
            """
            UPDATE executions
               SET output_in_file = 0,
                   output_truncated = 1
             WHERE output_in_file = 1
            """
        )
    (jobs,) = copy.execute("SELECT coalesce(sum(jobs), 0) FROM job_counts").fetchone()
    copy.execute("COMMIT")
    return int(jobs)


def _origin(files: QueueFiles) -> str | None:
    """Return the origin of the queue that is replaced; None if there is none, or it is unknown."""
    try:
        with closing(connect(files.database, "ro")) as conn:
            return schema.origin_of(conn)
    except (sqlite3.Error, QueueError):
        return None


def _remove_logs(files: QueueFiles) -> None:
    """Remove the outputs of the replaced queue: another one has other attempts of these numbers."""
    with suppress(OSError):
        for name in os.listdir(files.logs):
            if logged_execution(name) is not None:
                unlink_quietly(f"{files.logs}/{name}")


def _publish(files: QueueFiles, new: str) -> None:
    """Give the copy the name of the queue, then remove what SQLite kept beside the old file."""
    parent = os.path.dirname(files.database)
    try:
        os.replace(new, files.database)
        # Only now: without its log the old file would lose what was committed last. If we are
        # killed here, the log is refused as that of another file.
        sync_folder(parent)
        for path in (files.wal, files.shm, files.journal):
            unlink_quietly(path)
        sync_folder(parent)
    except OSError as error:
        raise QueueUnusable(f"cannot write {files.database}: {error.strerror}") from None
