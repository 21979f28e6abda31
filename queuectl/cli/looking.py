"""The jobs that `show`, `logs` and `why` look at: one, several, or on a terminal a default one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence, TypeVar

import click

from queuectl.cli import output
from queuectl.cli.command import usage_error
from queuectl.cli.selection import (
    choose,
    jobs_argument,
    one_by_one,
    queue_option,
    state_option,
)
from queuectl.core.errors import QueueError
from queuectl.core.models import JobKey
from queuectl.core.naming import number
from queuectl.core.states import JobState
from queuectl.core.values import JOB_WORDS
from queuectl.storage.names import GROUPS

if TYPE_CHECKING:
    from queuectl.core.models import Job
    from queuectl.storage import Storage

_GENERATED = 12
"""The length of an id that nobody gave."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Default = Callable[["Storage"], "Job | None"]


def looking_options(function: _Function) -> _Function:
    """Add `[JOB]...`, `--queue` and `--state`."""
    return jobs_argument()(queue_option(state_option()(function)))


def shown_name(job: Job | JobKey) -> str:
    """Return what to call a job: its id if a person gave it or reads no terminal, else `@17`."""
    return number(job) if output.on_terminal() and _is_generated(job) else job.id


def _is_generated(job: Job | JobKey) -> bool:
    """Return whether nobody gave the id; a key only tells whether the id looks so."""
    if isinstance(job, JobKey):
        return len(job.id) == _GENERATED and set(job.id) <= set("0123456789abcdef")
    return job.id_made


def newest(storage: Storage) -> Job | None:
    """Return the job that was enqueued last; None if there are no jobs."""
    return storage.newest()


class Looking:
    """Finds the jobs one by one; an error about one of several does not keep it from the others."""

    def __init__(self, jobs: Sequence[str], queues: Sequence[str], states: Sequence[Any]) -> None:
        """End the command with exit code 2 if no job is chosen, and stdout is no terminal."""
        self._choice = None
        if jobs or queues or states:
            self._choice = choose(jobs, queues, states, everything=False, among=tuple(JobState))
        elif not output.on_terminal():
            usage_error("no job given (give its id)")
        named = () if self._choice is None else self._choice.named
        self.is_single = self._choice is None or len(named) == 1
        """Whether one job is meant, also by a name such as `@running`."""
        self.is_several = not self.is_single or jobs == ("-",) or named[:1] in _GROUPS
        """Whether several jobs may be found."""
        self.is_vague = self._choice is None or named[:1] in _WORDS
        """Whether the caller may want to know which job was found."""
        self.code = 0
        """The exit code: 1 after an error about one of several jobs."""

    def one(self, storage: Storage, *, default: _Default = newest) -> Job:
        """Return the job that is meant if it is a single one."""
        found = default(storage) if self._choice is None else storage.get(self._choice.named[0])
        if found is None:
            raise QueueError("there are no jobs yet")
        return found

    def jobs(self, storage: Storage, *, default: _Default = newest) -> Iterator[Job]:
        """Yield the jobs in the order in which they are named, else in the order of entry."""
        if not self.is_several:
            yield self.one(storage, default=default)
        elif self._choice is not None and self._choice.selection is None:
            for name in one_by_one(storage, self._choice.named, tuple(JobState)):
                with self.going_on():
                    yield storage.get(name)
        elif self._choice is not None:
            if not self._choice.finds_any(storage):
                output.message("no such jobs")
            yield from self._choice.jobs(storage)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Print an error about one of several jobs and continue; raise that of a single job."""
        try:
            yield
        except QueueError as error:
            if not self.is_several:
                raise
            output.error(click.get_current_context().command_path, str(error))
            self.code = 1


_GROUPS = [(name,) for name in GROUPS]
_WORDS = [(name,) for name in JOB_WORDS]
