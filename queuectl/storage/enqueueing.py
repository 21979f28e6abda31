"""Enqueueing jobs: all or none, in one transaction or, if they are many, through a stage."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import chain, islice
from typing import Any, Callable, Iterable, Iterator, Mapping, Sized, TypeVar

from queuectl.core.errors import QueueError, UniqueKeyHeld
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import DEFAULT_SHELL, Settings
from queuectl.core.specs import JobSpec
from queuectl.core.states import WAITING_STATES, JobState
from queuectl.core.times import to_text
from queuectl.core.values import captured_variables
from queuectl.storage.adding import Adding
from queuectl.storage.stages import Stages

MOST_AT_ONCE = 2000
"""How many jobs are stored in one transaction. More are staged, so that others need not wait."""
MOST_BYTES_AT_ONCE = 4 << 20
"""How large their commands and variables are together."""

_HOOK_DEPTH = "QUEUECTL_HOOK_DEPTH"
"""The variable that tells a job how many hooks led to it."""

_FEW = 10
"""How many jobs fit into one transaction, however large they are."""

_Item = TypeVar("_Item")


class Enqueued(NamedTuple):
    """The result for a spec: a new job, or the unfinished job that has its unique key."""

    seq: int
    """The order of entry."""
    id: str
    """The id of the job."""
    queue: str
    """The queue it is in."""
    timeout: float
    """How long an attempt may run, in seconds; 0 means no limit."""
    max_retries: int
    """The maximum number of attempts."""
    existing: bool = False
    """Whether the job was there already."""
    replaced: bool = False
    """Whether it got the command and the settings of the spec."""
    unsatisfiable: tuple[str, ...] = ()
    """Ids of dead or cancelled jobs that it waits for."""


def hook_depth(environ: Mapping[str, str]) -> int:
    """Return how many hooks led to a process with this environment, one enqueueing the next."""
    depth = environ.get(_HOOK_DEPTH, "")
    return int(depth) if depth.isdecimal() and len(depth) < 4 else 0


class _Call:
    """The values that all jobs of one call have in common."""

    __slots__ = ("at", "captured", "hook_depth", "now", "settings")

    def __init__(
        self, settings: Settings, now: datetime, captured: Mapping[str, str], hook_depth: int
    ) -> None:
        self.settings = settings
        self.now = now
        self.at = to_text(now)
        """`now` as text, so that it is not formatted for each of 100,000 jobs."""
        self.captured = json.dumps(captured) if captured else None
        """The variables that each job takes over, as JSON; None if there are none."""
        self.hook_depth = hook_depth
        """How many hooks led to the calling process, one enqueueing the next."""

    @classmethod
    def of(cls, settings: Settings, now: datetime, environ: Mapping[str, str]) -> _Call:
        """Return the call that is made now, in this environment."""
        captured = captured_variables(settings.capture_env, environ)
        return cls(settings, now, captured, hook_depth(environ))

    def env(self, spec: JobSpec) -> str:
        """Return the variables of a job itself, as JSON."""
        if self.hook_depth:  # what it enqueues in turn is as deep
            return json.dumps({**spec.env, _HOOK_DEPTH: str(self.hook_depth)})
        return json.dumps(spec.env) if spec.env else "{}"

    def timeout(self, spec: JobSpec) -> float:
        """Return the timeout of a job in seconds."""
        return self.settings.job_timeout if spec.timeout is None else spec.timeout

    def max_retries(self, spec: JobSpec) -> int:
        """Return the maximum number of attempts of a job."""
        return self.settings.max_retries if spec.max_retries is None else spec.max_retries

    def shell(self, spec: JobSpec) -> str | None:
        """Return the shell of a job; None if it is the usual one, as for older jobs."""
        shell = spec.shell or self.settings.shell
        return None if shell == DEFAULT_SHELL else shell

    def first_state(self, spec: JobSpec) -> JobState:
        """Return the first state of a job."""
        if spec.after or spec.after_any:
            return JobState.BLOCKED
        if spec.run_at is not None and spec.run_at > self.now:
            return JobState.SCHEDULED
        return JobState.PENDING


def store_one(
    into: Adding,
    spec: JobSpec,
    settings: Settings,
    captured: Mapping[str, str],
    *,
    hook_depth: int = 0,
) -> Enqueued:
    """Store a job that waits for no other, within the transaction of the caller.

    `captured` are the variables that it takes over. Raises UniqueKeyHeld or Reserved.
    """
    done: list[Enqueued] = []
    call = _Call(settings, into.now, captured, hook_depth)
    _store(into, [(0, spec)], done.append, call, {})
    into.count()
    return done[0]


class _Waiting(NamedTuple):
    """A stored job whose dependencies are still to be added."""

    position: int
    """The index of its spec in the input."""
    enqueued: Enqueued
    """The result for the spec."""
    spec: JobSpec


class Enqueueing(Stages):
    """The methods that add jobs."""

    def enqueue(
        self,
        specs: Iterable[JobSpec],
        *,
        now: datetime,
        environ: Mapping[str, str] | None = None,
    ) -> list[Enqueued]:
        """Store jobs as `enqueue_each` does; return what became of each spec."""
        all_enqueued: list[Enqueued] = []
        warnings = self.enqueue_each(specs, all_enqueued.append, now=now, environ=environ)
        unsatisfiable = {warning.seq: warning.unsatisfiable for warning in warnings}
        return [
            enqueued._replace(unsatisfiable=unsatisfiable[enqueued.seq])
            if enqueued.seq in unsatisfiable
            else enqueued
            for enqueued in all_enqueued
        ]

    def enqueue_each(
        self,
        specs: Iterable[JobSpec],
        report: Callable[[Enqueued], None],
        *,
        now: datetime,
        environ: Mapping[str, str] | None = None,
        moved: Callable[[int], None] = lambda _: None,
    ) -> list[Enqueued]:
        """Store jobs in the given order, all or none; call `report` for each spec.

        Many jobs are staged: others can write meanwhile, and nobody sees any of the jobs before it
        is certain that all will be there. All can be claimed when this returns. It returns the jobs
        that depend on a job which cannot complete by itself. `environ` supplies the variables that
        the key capture-env names. `moved` is called as soon as the jobs are part of the queue, and
        with the number of each few that can be seen. `after` may name any job of the same call by
        its id, and earlier jobs also as `find_seq` allows.

        Raises DuplicateId, UniqueKeyHeld, NoSuchJob, AmbiguousJob or InvalidInput (a cycle), with
        the `position` of the spec, and then stores nothing.
        """
        count = len(specs) if isinstance(specs, Sized) else 0
        first, rest = split(specs, _size)
        if rest is not None and self._database.connection.in_transaction:
            first, rest = [*first, *rest], None  # a batch of transactions commits as one
        if rest is None:
            done, warnings = self.unless_reserved(lambda: self._enqueue(first, now, environ or {}))
            moved(len(done))
            for enqueued in done:
                report(enqueued)
            return warnings
        return self._stage(chain(first, rest), count, report, now, environ or {}, moved)

    def _enqueue(
        self, specs: list[JobSpec], now: datetime, environ: Mapping[str, str]
    ) -> tuple[list[Enqueued], list[Enqueued]]:
        """Store jobs in one transaction; return what became of each, and the warnings."""
        done: list[Enqueued] = []
        waiting: dict[int, _Waiting] = {}
        with self._transaction() as conn:
            into = Adding(conn, now=now)
            call = _Call.of(self._settings(conn), now, environ)
            _store(into, enumerate(specs), done.append, call, waiting)
            warnings = _add_all_needs(into, waiting.values())
            if waiting:
                from queuectl.storage.needs import refuse_cycles  # most jobs wait for none

                refuse_cycles(conn, list(waiting))
            into.count()
        self._wake_workers()
        return done, warnings

    def _stage(
        self,
        specs: Iterator[JobSpec],
        count: int,
        report: Callable[[Enqueued], None],
        now: datetime,
        environ: Mapping[str, str],
        moved: Callable[[int], None],
    ) -> list[Enqueued]:
        """Store jobs through a stage; `count` is how many, 0 if that is unknown."""
        from queuectl.storage.staging import Stage  # only for many jobs

        waiting: dict[int, _Waiting] = {}
        warnings: list[Enqueued] = []
        with Stage.opened(self, count=count, now=now) as stage:
            with self._snapshot() as conn:
                call = _Call.of(self._settings(conn), now, environ)
            numbered = enumerate(specs)
            while portion := stage.take(numbered, lambda item: _size(item[1])):
                with stage.filling():
                    _store(stage, portion, report, call, waiting)
            left = iter(waiting.values())
            while some := stage.take_needs(left, _names_of_needs):
                with stage.filling():
                    warnings += _add_all_needs(stage, some)
            stage.finish(moved)
        return warnings


def split(
    items: Iterable[_Item], size: Callable[[_Item], int]
) -> tuple[list[_Item], Iterator[_Item] | None]:
    """Return the first items, and the others; None if one transaction can write all of them."""
    if isinstance(items, list) and len(items) <= min(_FEW, MOST_AT_ONCE):
        return items, None
    iterator = iter(items)
    first = take(iterator, MOST_AT_ONCE + 1, MOST_BYTES_AT_ONCE, size)
    following = list(islice(iterator, 1))
    if not following and len(first) <= MOST_AT_ONCE:
        return first, None
    return first, chain(following, iterator)


def take(
    items: Iterator[_Item], most: int, most_bytes: int, size: Callable[[_Item], int]
) -> list[_Item]:
    """Return the next items, until their number or their size together reaches its limit."""
    taken: list[_Item] = []
    total = 0
    while len(taken) < most and total < most_bytes:
        item = next(items, None)
        if item is None:
            break
        taken.append(item)
        total += size(item)
    return taken


def _names_of_needs(waiting: _Waiting) -> tuple[str, ...]:
    return waiting.spec.after + waiting.spec.after_any


def _size(spec: JobSpec) -> int:
    variables = sum(map(len, chain.from_iterable(spec.env.items())))
    return len(spec.command) + variables + len(spec.input or b"")


def _store(
    into: Adding,
    specs: Iterable[tuple[int, JobSpec]],
    report: Callable[[Enqueued], None],
    call: _Call,
    waiting: dict[int, _Waiting],
) -> None:
    """Store jobs, each with the index of its spec in the input.

    Those whose dependencies are still to be added are put into `waiting`, by their seq.
    """
    position = None
    try:
        for position, spec in specs:
            enqueued = None
            if spec.unique_key is not None:
                enqueued = _existing(into, spec, spec.unique_key, call)
            if enqueued is None:
                enqueued = _insert(into, spec, call)
            if enqueued.replaced or not enqueued.existing:
                # A later spec of this call may replace the job: then only its needs count.
                waiting.pop(enqueued.seq, None)
                if spec.after or spec.after_any:
                    waiting[enqueued.seq] = _Waiting(position, enqueued, spec)
            report(enqueued)
    except QueueError as error:
        error.position = position
        raise


def _add_all_needs(into: Adding, waiting: Iterable[_Waiting]) -> list[Enqueued]:
    """Store what new jobs wait for; return the jobs that depend on a dead or cancelled one."""
    warnings = []
    for position, enqueued, spec in waiting:
        try:
            # An abbreviated id can only refer to a job from before this call.
            unsatisfiable = into.add_needs(
                enqueued.seq, spec.after, spec.after_any, abbreviated=True
            )
        except QueueError as error:
            error.position = position
            raise
        if unsatisfiable:
            warnings.append(enqueued._replace(unsatisfiable=unsatisfiable))
    return warnings


def _existing(into: Adding, spec: JobSpec, key: str, call: _Call) -> Enqueued | None:
    """Return the unfinished job that holds the unique key, replaced if the spec says so.

    None if there is none. Raises UniqueKeyHeld if that job cannot do what the spec asks for: the
    caller would take it for done, and nothing would ever do it.
    """
    holder = into.key_holder(key)
    if holder is None:
        return None
    if spec.if_dup == "error":
        raise UniqueKeyHeld(key, holder.id)
    replaced = spec.if_dup == "replace"
    if replaced and JobState(holder.state) not in WAITING_STATES:
        raise UniqueKeyHeld(key, holder.id, "is running")
    if replaced:
        into.replace(holder, _replacement(into, holder.seq, spec, call))
    queue, timeout, max_retries, is_being_cancelled = into.limits(holder)
    if is_being_cancelled:
        raise UniqueKeyHeld(key, holder.id, "is being cancelled")
    return Enqueued(
        holder.seq, holder.id, queue, timeout, max_retries, existing=True, replaced=replaced
    )


def _insert(into: Adding, spec: JobSpec, call: _Call) -> Enqueued:
    timeout, max_retries = call.timeout(spec), call.max_retries(spec)
    input_id = into.contents.id_of(spec.input)
    captured_id = into.contents.id_of(call.captured)
    env = call.env(spec)

    def values(job_id: str) -> tuple[Any, ...]:
        return (
            None,
            job_id,
            spec.command,
            call.first_state(spec).value,
            spec.queue,
            spec.label,
            spec.priority,
            0,
            0,
            max_retries,
            timeout,
            None if spec.run_at is None else to_text(spec.run_at),
            call.at,
            call.at,
            None,
            spec.cwd,
            env,
            spec.unique_key,
            None,
            None,
            None,
            0,
            None,
            int(spec.id is None),
            spec.retry_delay,
            spec.backoff,
            call.shell(spec),
            None,
            input_id,
            None if spec.input is None else len(spec.input),
            captured_id,
            None,
            None,
            spec.on_success,
            spec.on_failure,
            spec.on_finish,
            None,
            None,
            call.hook_depth,
            None,
        )

    if spec.id is None:
        seq, job_id = into.insert_named(values)
    else:
        seq, job_id = into.insert(values(spec.id)), spec.id
    return Enqueued(seq, job_id, spec.queue, timeout, max_retries)


def _replacement(into: Adding, seq: int, spec: JobSpec, call: _Call) -> Mapping[str, Any]:
    """Return what a waiting job gets from a spec that replaces it."""
    return {
        "command": spec.command,
        "state": call.first_state(spec).value,
        "queue": spec.queue,
        "priority": spec.priority,
        "max_retries": call.max_retries(spec),
        "timeout": call.timeout(spec),
        "run_at": None if spec.run_at is None else to_text(spec.run_at),
        "now": call.at,
        "cwd": spec.cwd,
        "env": call.env(spec),
        "captured_id": into.contents.id_of(call.captured),
        "label": spec.label,
        "retry_delay": spec.retry_delay,
        "backoff": spec.backoff,
        "shell": call.shell(spec),
        "input_id": into.contents.id_of(spec.input),
        "input_bytes": None if spec.input is None else len(spec.input),
        "on_success": spec.on_success,
        "on_failure": spec.on_failure,
        "on_finish": spec.on_finish,
        "hook_depth": call.hook_depth,
        "seq": seq,
    }
