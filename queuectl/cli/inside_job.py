"""Commands that are called inside a job: which job that is, and which worker runs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from queuectl.core.errors import NoSuchJob
from queuectl.host import lockfiles

if TYPE_CHECKING:
    from queuectl.core.models import Job
    from queuectl.host.files import QueueFiles
    from queuectl.storage import Storage


def own_job(storage: Storage) -> Job | None:
    """Return the job of this queue that the caller runs inside, if any."""
    own = os.environ.get("QUEUECTL_JOB_ID")
    if own is None or not _is_of_this_queue(storage.files):
        return None
    try:
        return storage.get(own)
    except NoSuchJob:
        return None


def own_worker(files: QueueFiles) -> str | None:
    """Return the id of the worker of this queue that runs the job of the caller, if any.

    Only lock files are asked. None if the attempt has ended, and the caller is a leftover of it.
    """
    if not _is_of_this_queue(files):
        return None
    _, _, number = os.environ.get("QUEUECTL_EXECUTION", "").rpartition("/")
    if not number.isdecimal():
        return None
    for owner in lockfiles.owners(files):
        if (
            not lockfiles.is_supervisor(owner)
            and lockfiles.seen_job_pid(files, owner, int(number)) is not None
            and lockfiles.is_alive(files, owner)
        ):
            return owner
    return None


def _is_of_this_queue(files: QueueFiles) -> bool:
    return os.environ.get("QUEUECTL_DB") == files.database
