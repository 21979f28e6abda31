"""Every error that a user can cause, each with the exit code it ends the command with.

An error carries facts. The command line adds what to do about it where that needs an option's name.
"""

from __future__ import annotations

from typing import ClassVar, Sequence


class QueueError(Exception):
    """Refused or failed; nothing was changed. The message is one lower-case line."""

    exit_code: ClassVar[int] = 1
    position: int | None = None
    """Index, from 0, of the job in the input that this error is about; None if there is one job."""


class InvalidInput(QueueError):
    """The input can never be accepted, whatever the queue holds."""

    exit_code = 2


class NoQueue(QueueError):
    """There is no database at the given path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no queue at {path} yet (enqueue a job or start a worker to make one)")
        self.path = path


class QueueUnusable(QueueError):
    """The database, or a file beside it, cannot be opened, trusted, read or written."""


class UnreadableRow(QueueUnusable):
    """A row of the database holds a value that another program wrote and that cannot be read."""


class DiskFailure(QueueUnusable):
    """A write did not reach the disk: it is full or broken. The transaction was rolled back."""


class QueueLost(QueueUnusable):
    """No process that is connected to the queue can go on, and to try again would not help."""


class QueueDamaged(QueueLost):
    """The database, or a part of it, cannot be read, or contradicts itself."""


class QueueChanged(QueueLost):
    """The queue is not the one any more to which this process is connected."""


class QueueUpgraded(QueueChanged):
    """A newer queuectl changed the schema."""


class QueueReplaced(QueueChanged):
    """The database was removed, or replaced by another file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} was removed or replaced")
        self.path = path


class ReadTimeOut(QueueError):
    """A read lasted longer than its caller allows."""


class QueueBusy(QueueError):
    """The write lock could not be taken in time. Nothing was changed."""

    exit_code = 75


class NoSuchJob(QueueError):
    """No job has this name. `message` says it in other words, where there are better ones."""

    def __init__(self, job: str, message: str | None = None) -> None:
        hint = ""
        if job.isascii() and job.isdecimal():
            hint = f" (a number is written @{job})"
        elif job in ("last", "running", "failed"):
            hint = f" (did you mean @{job}?)"
        super().__init__(message or f"no such job: {job}{hint}")
        self.job = job


class NoSuchHook(QueueError):
    """No hook has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no such hook: {name}")
        self.name = name


class HookExists(QueueError):
    """There is a hook of this name already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a hook {name} already")
        self.name = name


class SecretChanged(QueueError):
    """A hook was rotated, replaced or removed since its secret was read."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the hook {name} was changed meanwhile (queuectl hook show {name})")
        self.name = name


class JobDeleted(QueueError):
    """The job was there when it was looked up, and has been deleted since."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} was deleted")
        self.job_id = job_id


class AmbiguousJob(QueueError):
    """Several generated ids begin with this prefix."""

    def __init__(self, prefix: str, ids: Sequence[str]) -> None:
        super().__init__(f"{prefix} could be {', '.join(ids)} (give more digits)")
        self.prefix = prefix
        self.ids = tuple(ids)


class DuplicateId(QueueError):
    """The id is taken: by a job in the queue, or (then `state` is None) earlier in the input."""

    def __init__(self, job_id: str, state: str | None) -> None:
        super().__init__(
            f"duplicate id {job_id} in the input"
            if state is None
            else f"a job {job_id} exists already and is {state}"
        )
        self.job_id = job_id
        self.state = state


class UniqueKeyHeld(QueueError):
    """An unfinished job holds this unique key.

    `until_it_ends` says why that job cannot stand for the new one, which can be enqueued only when
    that job has ended: `is running`. It is None if any unfinished job is refused. `refused` is the
    job that is in the queue already and cannot be retried, so that one of many can be told.
    """

    def __init__(
        self,
        key: str,
        holder: str,
        until_it_ends: str | None = None,
        *,
        refused: str | None = None,
    ) -> None:
        what = "" if refused is None else f"cannot retry {refused}: "
        super().__init__(
            f"{what}unique key {key} is held by unfinished job {holder}"
            if until_it_ends is None
            else f"{what}unique key {key} is held by job {holder}, which {until_it_ends}"
        )
        self.key = key
        self.holder = holder
        self.until_it_ends = until_it_ends


class Reserved(QueueError):
    """An id or a unique key belongs to a job that another process is enqueueing with many others.

    Whether that job will exist is not decided yet, so the caller has to try again.
    """


class WrongState(QueueError):
    """The job's state does not allow this action.

    `action` is a verb, as in `retry`; `only` is the one state that would allow it, None if there
    are several.
    """

    def __init__(self, job_id: str, state: str, action: str, only: str | None = None) -> None:
        wanted = "" if only is None else f", not {only}"
        super().__init__(f"cannot {action} {job_id}: it is {state}{wanted}")
        self.job_id = job_id
        self.state = state
        self.action = action
        self._only = only

    def with_name(self, name: str) -> WrongState:
        """Return the same error, which calls the job by another name."""
        return WrongState(name, self.state, self.action, self._only)
