"""Waiting until jobs have finished, and the exit code that stands for each way to finish."""

from __future__ import annotations

import time
from typing import Callable, Container, Iterable, Sequence

from queuectl.cli import output
from queuectl.cli.inside_job import own_job
from queuectl.core.batches import serves, start_command, waits_for
from queuectl.core.errors import NoSuchJob, QueueError
from queuectl.core.models import SPAWN_FAILED, Job, OutcomeKind, signal_name
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.naming import quoted
from queuectl.core.states import FINISHED_STATES, UNFINISHED_STATES, WAITING_STATES, JobState
from queuectl.host.pools import living_pools
from queuectl.storage import Storage

TIME_RAN_OUT = 124
"""The exit code when the time ran out, of the wait or of the job, as of timeout(1)."""

COULD_NOT_WAIT = 125
"""The exit code when queuectl itself failed, as of timeout(1) and env(1)."""

_CANCELLED = 143
_LOST = 137
_POLL_SECONDS = 0.04
_SEARCH_SECONDS = 2.0


class Ending(NamedTuple):
    """How a job ended, or that it has not: the exit code that stands for it, and why in words."""

    job: Job
    code: int
    why: str


class WaitFailure(QueueError):
    """The wait was given up because of one job."""

    def __init__(self, job_id: str, why: str, code: int) -> None:
        super().__init__(f"{job_id} {why}")
        self.job_id = job_id
        self.why = why
        self.exit_code = code  # type: ignore[misc]


def wait_for_jobs(
    storage: Storage,
    jobs: Sequence[Job],
    *,
    any_one: bool = False,
    deadline: float | None = None,
    report: Callable[[WaitedFor], None] = lambda _: None,
    warns: bool = True,
) -> list[Ending]:
    """Wait until all of these jobs have finished, and return their endings in the same order.

    With `any_one`, return the ending of the first one to finish. `deadline` is a time of the
    monotonic clock; when it has passed, jobs that have not finished have an ending with the code
    TIME_RAN_OUT. `report` is called with the present state of things, many times a second. Raises
    WaitFailure if one of the jobs is deleted or can never finish by itself, or if the caller runs
    inside one of them.
    """
    refuse_own_job(storage, jobs)
    if warns:
        warn_of_workers(storage, jobs)
    waited_for = WaitedFor(storage, jobs, any_one=any_one)
    stuck = _StuckJobs(storage, among=waited_for.unfinished)
    while not _poll(storage, waited_for.look, stuck, deadline, lambda: report(waited_for)):
        states = storage.states_of(list(waited_for.unfinished))
        # If one has finished or was deleted after the last look, the next look finds it.
        if states.keys() == waited_for.unfinished.keys() and not set(FINISHED_STATES) & set(
            states.values()
        ):
            waited_for.endings.update(
                (seq, late(job._replace(state=states[seq])))
                for seq, job in waited_for.unfinished.items()
            )
            return [waited_for.endings[job.seq] for job in jobs]
    if any_one:
        return list(waited_for.endings.values())
    return [waited_for.endings[job.seq] for job in jobs]


def wait_for_all(
    storage: Storage,
    queues: Sequence[str],
    *,
    deadline: float | None,
    report: Callable[[int], None] = lambda _: None,
) -> int:
    """Wait until no job of these queues is unfinished, or until the deadline.

    None named means all but lanes: nobody waits for hooks. Returns how many are unfinished then;
    `report` is told that number at each look. Reads the counts that the database keeps, so the
    number of jobs makes no difference. Raises WaitFailure if a job can never finish by itself, or
    if the caller runs inside a job of these queues.
    """
    own = own_job(storage)
    if own is not None and waits_for(queues, own.queue):
        refuse_own_job(storage, [own])
    counts = [each for each in storage.counts() if waits_for(queues, each.queue)]
    warn_unserved(storage, {each.queue for each in counts if each.state in UNFINISHED_STATES})
    _warn_busy(
        storage,
        lambda: {
            each.queue
            for each in storage.counts()
            if each.state in WAITING_STATES and waits_for(queues, each.queue)
        },
    )
    left = count_unfinished(storage, queues)

    def look() -> bool:
        nonlocal left
        # Asked first: a job that is moved from there to here must not be missed.
        to_come = storage.jobs_to_come()
        left = count_unfinished(storage, queues) + to_come
        return not left

    _poll(storage, look, _StuckJobs(storage, queues), deadline, lambda: report(left))
    return left


def count_unfinished(storage: Storage, queues: Sequence[str]) -> int:
    """Return how many jobs of these queues (of all but lanes, if none is named) are unfinished."""
    return sum(
        each.jobs
        for each in storage.counts()
        if each.state in UNFINISHED_STATES and waits_for(queues, each.queue)
    )


def _poll(
    storage: Storage,
    look: Callable[[], bool],
    stuck: _StuckJobs,
    deadline: float | None,
    report: Callable[[], None],
) -> bool:
    """Look at the queue whenever it has changed until `look` returns True; call `report` often.

    Returns False when the deadline has passed. Raises WaitFailure when a job is stuck.
    """
    version = None
    while True:
        before, version = version, storage.version()
        changed = version != before
        if changed and look():
            return True
        stuck.refuse(changed=changed)
        report()
        if deadline is not None and time.monotonic() >= deadline:
            return False
        storage.refuse_replaced()
        time.sleep(_POLL_SECONDS)


class WaitedFor:
    """The jobs that are waited for: the unfinished ones, and the endings of the others by seq."""

    def __init__(
        self,
        storage: Storage,
        jobs: Sequence[Job],
        *,
        any_one: bool,
    ) -> None:
        self.unfinished: dict[int, Job] = {job.seq: job for job in jobs}
        self.endings: dict[int, Ending] = {}
        self._storage = storage
        self._any_one = any_one

    def look(self) -> bool:
        """Note which jobs have finished; return whether these are enough."""
        states = self._storage.states_of(list(self.unfinished))
        for seq, job in list(self.unfinished.items()):
            if seq not in states:
                raise WaitFailure(job.id, "was deleted", COULD_NOT_WAIT)
            if states[seq] in FINISHED_STATES:
                self._note_ending(job)
            if self._any_one and self.endings:
                return True
        return not self.unfinished

    def _note_ending(self, job: Job) -> None:
        finished = self._storage.get(job.id)
        if finished.seq != job.seq or finished.state not in FINISHED_STATES:
            return  # it was retried or deleted meanwhile: the next look tells
        self.endings[job.seq] = ending_of(self._storage, finished)
        del self.unfinished[job.seq]


def late(job: Job) -> Ending:
    """Return the ending of an unfinished job when the time has run out."""
    return Ending(job, TIME_RAN_OUT, f"is {job.state.value}: time ran out")


def ending_when_given_up(storage: Storage, job: Job, failure: WaitFailure) -> Ending:
    """Return how far a job has come when the wait was given up."""
    try:
        job = storage.get(job.id)
    except NoSuchJob:
        return Ending(job, COULD_NOT_WAIT, "was deleted")
    if job.state in FINISHED_STATES:
        return ending_of(storage, job)
    if job.id == failure.job_id:
        return Ending(job, failure.exit_code, failure.why)
    return Ending(job, failure.exit_code, f"is {job.state.value}: no longer waited for")


def ending_of(storage: Storage, job: Job) -> Ending:
    """Return how a finished job ended."""
    if job.state is JobState.COMPLETED:
        return Ending(job, 0, "completed")
    if job.state is JobState.CANCELLED:
        reason = f": {job.cancel_reason}" if job.cancel_reason else ""
        return Ending(job, _CANCELLED, f"was cancelled{reason}")
    last = storage.last_execution(job)
    outcome = None if last is None else last.outcome
    if outcome is OutcomeKind.TIMEOUT:
        return Ending(job, TIME_RAN_OUT, f"is dead: {job.last_error}")
    if outcome in (OutcomeKind.LOST, OutcomeKind.INTERRUPTED):
        return Ending(job, _LOST, f"is dead: {job.last_error}")
    if outcome is OutcomeKind.SPAWN_ERROR:
        return Ending(job, job.exit_code or SPAWN_FAILED, f"is dead: {job.last_error}")
    if job.signal is not None:
        return Ending(job, 128 + job.signal, f"was killed by signal {signal_name(job.signal)}")
    code = job.exit_code or 1
    return Ending(job, code, f"is dead: {job.last_error or f'exit {code}'}")


def refuse_own_job(storage: Storage, jobs: Sequence[Job]) -> None:
    """Raise WaitFailure if the caller runs inside one of these jobs: it would wait for ever.

    Jobs that wait for the job of the caller are refused as well.
    """
    own = own_job(storage)
    if own is None:
        return
    if own.seq in {job.seq for job in jobs}:
        raise WaitFailure(own.id, "cannot wait for itself", 1)
    blocked = [job for job in jobs if job.state is JobState.BLOCKED]
    waiting = storage.all_dependants(own) if blocked else frozenset()
    for job in blocked:
        if job.seq in waiting:
            raise WaitFailure(own.id, f"cannot wait for {job.id}, which waits for {own.id}", 1)


def warn_of_workers(storage: Storage, jobs: Iterable[Job], *, quiet: bool = False) -> None:
    """Warn if no worker can run some of these jobs: there is none, or a job keeps it busy.

    The second is also said with `quiet`. It goes into the output of the outer job, where nothing
    else would explain why both jobs wait until a timeout.
    """
    jobs = list(jobs)
    if not quiet:
        warn_unserved(storage, {job.queue for job in jobs if job.state not in FINISHED_STATES})

    def waiting() -> set[str]:
        states = storage.states_of([job.seq for job in jobs])
        return {job.queue for job in jobs if states.get(job.seq) in WAITING_STATES}

    _warn_busy(storage, waiting)


def warn_unserved(storage: Storage, queues: set[str]) -> None:
    """Warn about queues that no worker serves."""
    pools = living_pools(storage.files)
    unserved = sorted(queue for queue in queues if not any(p.serves([queue]) for p in pools))
    if unserved:
        which = f"serves {', '.join(unserved)}" if pools else "is running"
        output.message(f"no worker {which} ({start_command(unserved)})")


def _warn_busy(storage: Storage, waiting: Callable[[], set[str]]) -> None:
    """Warn inside a job if jobs can only run when a running job has ended.

    `waiting` returns the queues of those that wait now.

    A job that waits for another one keeps its worker busy. If all of them do that, they wait until
    their timeouts kill them.
    """
    own = own_job(storage)
    if own is None:
        return
    workers = storage.living_workers()
    # Asked last: the worker that is busy may be so with the very job that waited a moment before.
    queues = waiting()
    for queue in storage.queues():
        if queue.name not in queues:
            continue
        serving = [each for each in workers if serves(each.queues, queue.name)]
        if serving and all(each.job is not None for each in serving):
            _warn_in_job(own, f"all workers for {queue.name} are busy", "worker start --count")
            return
        running = queue.counts[JobState.PROCESSING]
        if queue.limit is not None and running >= queue.limit:
            limit = f"the limit of {queue.name}, {running}/{queue.limit}, is used up"
            _warn_in_job(own, limit, f"queue limit {quoted(queue.name)}")
            return


def _warn_in_job(own: Job, why: str, command: str) -> None:
    output.message(f"job {own.id} waits for another job, but {why} (raise queuectl {command})")


class _StuckJobs:
    """Finds a job that can never finish: one that waits for a dead or cancelled job.

    To search after each change would cost too much. A job gets stuck only when another dies or is
    cancelled, or when it is newly blocked, and the kept counts show both. But between two looks one
    change may cancel out another in the counts. So any change causes a search a little later.
    """

    def __init__(
        self,
        storage: Storage,
        queues: Sequence[str] = (),
        among: Container[int] | None = None,
    ) -> None:
        self._storage = storage
        self._queues = queues
        self._among = among
        self._ended_badly, self._blocked = -1, 0
        self._search_at = float("inf")

    def refuse(self, *, changed: bool) -> None:
        """Raise WaitFailure if a job is stuck; `changed` tells that the queue has changed."""
        now = time.monotonic()
        if changed:
            counts = self._storage.by_state()
            before = self._ended_badly, self._blocked
            self._ended_badly = counts[JobState.DEAD] + counts[JobState.CANCELLED]
            self._blocked = counts[JobState.BLOCKED]
            if self._ended_badly != before[0] or self._blocked > before[1]:
                self._search_at = now
            else:
                self._search_at = min(self._search_at, now + _SEARCH_SECONDS)
        if not self._blocked or now < self._search_at:
            return
        self._search_at = float("inf")
        stuck = self._storage.first_stuck(self._queues, self._among)
        needed = None if stuck is None else self._storage.stuck_on(stuck)
        if stuck is not None and needed is not None:
            raise WaitFailure(
                stuck.id,
                f"can never finish: it waits for {needed.id}, which is {needed.state.value}",
                COULD_NOT_WAIT,
            )
