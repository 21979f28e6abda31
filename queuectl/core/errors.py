"""Every error that a user can cause, each with the exit code it ends the command with."""

from __future__ import annotations

from typing import ClassVar, Sequence


class QueueError(Exception):
    """Refused or failed; nothing was changed. The message is one lower-case line."""

    exit_code: ClassVar[int] = 1
    position: int | None = None
    """Which of several inputs it is about, from 0."""


class InvalidInput(QueueError):
    """The input can never be accepted, whatever the queue holds."""

    exit_code = 2


class NoQueue(QueueError):
    """The database that was named does not exist."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no queue at {path} yet (enqueue a job or start a worker to make one)")
        self.path = path


class QueueUnusable(QueueError):
    """The database, or what lies beside it, cannot be opened, trusted, read or written."""


class DiskFailure(QueueUnusable):
    """A write did not reach the disk: it is full or broken. The transaction was rolled back."""


class QueueUpgraded(QueueUnusable):
    """A newer queuectl changed the schema while this process was connected."""


class QueueReplaced(QueueUnusable):
    """The file was removed, or another put in its place, while this process was connected."""


class QueueBusy(QueueError):
    """The write lock was not to be had in time. Nothing was changed."""

    exit_code = 75


class NoSuchJob(QueueError):
    """No job has this id, or this prefix of an id."""

    def __init__(self, job: str) -> None:
        super().__init__(f"no such job: {job}")
        self.job = job


class AmbiguousJob(QueueError):
    """Several made ids begin like this."""

    def __init__(self, prefix: str, ids: Sequence[str]) -> None:
        super().__init__(f"{prefix} could be {', '.join(ids)} (give more digits)")
        self.prefix = prefix
        self.ids = tuple(ids)


class DuplicateId(QueueError):
    """A job of this id exists already, or (then `state` is None) stands before it in the input."""

    def __init__(self, job_id: str, state: str | None, hint: str) -> None:
        super().__init__(
            f"the id {job_id} stands twice in the input"
            if state is None
            else f"a job {job_id} exists already and is {state} ({hint})"
        )
        self.job_id = job_id
        self.state = state


class UniqueKeyHeld(QueueError):
    """An unfinished job holds this unique key."""

    def __init__(self, key: str, holder: str) -> None:
        super().__init__(f"unique key {key} is held by unfinished job {holder}")
        self.key = key
        self.holder = holder


class WrongState(QueueError):
    """The job's state does not allow this."""

    def __init__(self, job_id: str, state: str, wanted: str) -> None:
        super().__init__(f"{job_id} is {state}, not {wanted}")
        self.job_id = job_id
        self.state = state
