"""Enqueueing jobs: in one transaction, all or none."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple

from queuectl.core.errors import InvalidInput, QueueError, UniqueKeyHeld
from queuectl.core.settings import Settings
from queuectl.core.specs import JobSpec, captured_variables
from queuectl.core.states import FINISHED_STATES, WAITING_STATES, JobState
from queuectl.core.times import to_text
from queuectl.storage.base import UNFINISHED, Base
from queuectl.storage.dependencies import unblock
from queuectl.storage.ids import duplicate, find_seq, last_seq, new_id

_CACHE_KIB = 8192


class Enqueued(NamedTuple):
    """What became of a spec: a new job, or the unfinished job that has its unique key."""

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


class _Call(NamedTuple):
    """What all jobs of one call have in common."""

    settings: Settings
    """The configuration."""
    now: datetime
    """The time of the call."""
    at: str
    """`now` as text, so that it is not formatted for each of 100,000 jobs."""
    captured: Mapping[str, str]
    """The variables that each job takes over."""
    encoded: str
    """`captured` as JSON."""
    before: int
    """The seq of the last job that was there before this call."""

    def env(self, spec: JobSpec) -> str:
        """Return the variables of a job as JSON."""
        return json.dumps({**self.captured, **spec.env}) if spec.env else self.encoded

    def timeout(self, spec: JobSpec) -> float:
        """Return the timeout of a job in seconds."""
        return self.settings.job_timeout if spec.timeout is None else spec.timeout

    def max_retries(self, spec: JobSpec) -> int:
        """Return the maximum number of attempts of a job."""
        return self.settings.max_retries if spec.max_retries is None else spec.max_retries

    def first_state(self, spec: JobSpec) -> JobState:
        """Return the first state of a job."""
        if spec.after or spec.after_any:
            return JobState.BLOCKED
        if spec.run_at is not None and spec.run_at > self.now:
            return JobState.SCHEDULED
        return JobState.PENDING


_Waiting = Tuple[int, Enqueued, JobSpec]
"""A stored job whose dependencies are still to be added: the index of its spec in the input, what
became of it, and its spec. (Defining a named tuple takes 0.1 ms, at the start of each enqueue.)"""


class Enqueueing(Base):
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
    ) -> list[Enqueued]:
        """Store jobs in the given order and in one transaction; call `report` for each spec.

        Nothing is committed until this returns. It returns the jobs that depend on a job which
        cannot complete by itself. `environ` supplies the variables that the key capture-env names.
        `after` may name any job of the same call by its id, and earlier jobs also as `find_seq`
        allows. Raises DuplicateId, UniqueKeyHeld, NoSuchJob, AmbiguousJob or InvalidInput (a
        cycle), with the `position` of the spec, and then stores nothing.
        """
        with self._transaction() as conn:
            # Ids are random, so each new one changes another page of their index. With SQLite's
            # cache of 2 MiB, many jobs would write each of these pages again and again.
            conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            settings = self._settings(conn)
            captured = captured_variables(settings.capture_env, environ or {})
            call = _Call(
                settings, now, to_text(now), captured, json.dumps(captured), last_seq(conn)
            )
            waiting = _store(conn, specs, report, call)
            warnings = _add_all_needs(conn, waiting.values(), call)
            refuse_cycles(conn, list(waiting))
        self._wake_workers()
        return warnings


def _store(
    conn: sqlite3.Connection,
    specs: Iterable[JobSpec],
    report: Callable[[Enqueued], None],
    call: _Call,
) -> dict[int, _Waiting]:
    """Store jobs; return, by their seq, those whose dependencies are still to be added."""
    waiting: dict[int, _Waiting] = {}
    position = -1
    try:
        for position, spec in enumerate(specs):
            enqueued = None
            if spec.unique_key is not None:
                enqueued = _existing(conn, spec, spec.unique_key, call)
            if enqueued is None:
                enqueued = _insert(conn, spec, call)
            if enqueued.replaced or not enqueued.existing:
                # A later spec of this call may replace the job: then only its needs count.
                waiting.pop(enqueued.seq, None)
                if spec.after or spec.after_any:
                    waiting[enqueued.seq] = (position, enqueued, spec)
            report(enqueued)
    except QueueError as error:
        error.position = position
        raise
    return waiting


def _add_all_needs(
    conn: sqlite3.Connection, waiting: Iterable[_Waiting], call: _Call
) -> list[Enqueued]:
    """Store what new jobs wait for; return the jobs that depend on a dead or cancelled one."""
    warnings = []
    for position, enqueued, spec in waiting:
        try:
            # An abbreviated id can only refer to a job from before this call, hence `up_to`.
            unsatisfiable = add_needs(
                conn, enqueued.seq, spec.after, spec.after_any, up_to=call.before, now=call.now
            )
        except QueueError as error:
            error.position = position
            raise
        if unsatisfiable:
            warnings.append(enqueued._replace(unsatisfiable=unsatisfiable))
    return warnings


def key_holder(conn: sqlite3.Connection, key: str) -> tuple[int, str, str] | None:
    """Return seq, id and state of the unfinished job that holds a unique key, if any."""
    row: tuple[int, str, str] | None = conn.execute(
        "SELECT seq, id, state FROM jobs WHERE unique_key IS NOT NULL AND unique_key = ? AND "
        + UNFINISHED
        + " ORDER BY seq",
        (key,),
    ).fetchone()
    return row


def _existing(conn: sqlite3.Connection, spec: JobSpec, key: str, call: _Call) -> Enqueued | None:
    """Return the unfinished job that holds the unique key, replaced if the spec says so.

    None if there is none. Raises UniqueKeyHeld if that job cannot do what the spec asks for: the
    caller would take it for done, and nothing would ever do it.
    """
    holder = key_holder(conn, key)
    if holder is None:
        return None
    seq, job_id, state = holder
    if spec.if_dup == "error":
        raise UniqueKeyHeld(key, job_id)
    replaced = spec.if_dup == "replace"
    if replaced and JobState(state) not in WAITING_STATES:
        raise UniqueKeyHeld(key, job_id, "is running")
    if replaced:
        _replace(conn, seq, spec, call)
    queue, timeout, max_retries, cancel_requested = conn.execute(
        "SELECT queue, timeout, max_retries, cancel_requested FROM jobs WHERE seq = ?", (seq,)
    ).fetchone()
    if cancel_requested:
        raise UniqueKeyHeld(key, job_id, "is being cancelled")
    return Enqueued(seq, job_id, queue, timeout, max_retries, existing=True, replaced=replaced)


def _insert(conn: sqlite3.Connection, spec: JobSpec, call: _Call) -> Enqueued:
    timeout, max_retries = call.timeout(spec), call.max_retries(spec)
    while True:
        job_id = spec.id or new_id()
        inserted = conn.execute(
            """
            INSERT INTO jobs (id, id_made, command, state, queue, priority, max_retries, timeout,
                              run_at, created_at, updated_at, cwd, env, unique_key, label)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO NOTHING
            """,
            (
                job_id,
                int(spec.id is None),
                spec.command,
                call.first_state(spec).value,
                spec.queue,
                spec.priority,
                max_retries,
                timeout,
                None if spec.run_at is None else to_text(spec.run_at),
                call.at,
                call.at,
                spec.cwd,
                call.env(spec),
                spec.unique_key,
                spec.label,
            ),
        )
        if inserted.rowcount:
            assert inserted.lastrowid is not None
            return Enqueued(inserted.lastrowid, job_id, spec.queue, timeout, max_retries)
        taken = duplicate(conn, job_id, before=call.before)
        if spec.id is not None and taken is not None:
            raise taken


def _replace(conn: sqlite3.Connection, seq: int, spec: JobSpec, call: _Call) -> None:
    """Give a waiting job the command and settings of a spec; it keeps its id and place.

    Its dependencies are deleted; the caller adds those of the spec.
    """
    conn.execute("DELETE FROM dependencies WHERE job_seq = ?", (seq,))
    conn.execute(
        """
        UPDATE jobs
           SET command = :command,
               state = :state,
               queue = :queue,
               priority = :priority,
               attempts = 0,
               interruptions = 0,
               max_retries = :max_retries,
               timeout = :timeout,
               run_at = :run_at,
               updated_at = :now,
               exit_code = NULL,
               signal = NULL,
               last_error = NULL,
               cwd = :cwd,
               env = :env,
               label = :label
         WHERE seq = :seq
           AND (state = 'scheduled' OR state = 'blocked' OR state = 'pending' OR state = 'failed')
        """,
        {
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
            "label": spec.label,
            "seq": seq,
        },
    )


def add_needs(
    conn: sqlite3.Connection,
    seq: int,
    after: Sequence[str],
    after_any: Sequence[str],
    *,
    up_to: int,
    now: datetime,
) -> tuple[str, ...]:
    """Store what a new job waits for; return the ids of those that cannot complete by themselves.

    `up_to`: see `find_seq`.
    """
    unsatisfiable = []
    # If a job is named in both, it has to complete: that is the stronger condition.
    wanted = dict.fromkeys(_find_needed(conn, after_any, by=seq, up_to=up_to), True)
    wanted.update(dict.fromkeys(_find_needed(conn, after, by=seq, up_to=up_to), False))
    for needed_seq, any_outcome in wanted.items():
        job_id, state = conn.execute(
            "SELECT id, state FROM jobs WHERE seq = ?", (needed_seq,)
        ).fetchone()
        if needed_seq == seq:
            raise InvalidInput(f"{job_id} waits for itself")
        if state == "completed" or (any_outcome and state in FINISHED_STATES):
            continue
        if state in FINISHED_STATES:
            unsatisfiable.append(job_id)
        conn.execute(
            """
            INSERT INTO dependencies (job_seq, needs_seq, however)
            VALUES (:job, :needs, :any_outcome)
            """,
            {"job": seq, "needs": needed_seq, "any_outcome": int(any_outcome)},
        )
    unblock(conn, seq, now=now)
    return tuple(unsatisfiable)


def _find_needed(
    conn: sqlite3.Connection, names: Sequence[str], *, by: int, up_to: int
) -> Iterator[int]:
    """Yield the seqs of the jobs that the job with the seq `by` is to wait for."""
    for name in names:
        if name.startswith("@"):
            from queuectl.storage.names import find_needed  # most jobs wait for none

            yield from find_needed(conn, name, by=by, up_to=up_to)
        else:
            yield find_seq(conn, name, up_to=up_to)


def refuse_cycles(conn: sqlite3.Connection, changed: list[int]) -> None:
    """Raise InvalidInput if one of these jobs waits, through others, for itself."""
    needs: dict[int, list[int]] = {}
    done = set()
    for start in changed:
        # Depth first without recursion: a chain may have 100,000 links.
        trail, on_trail = [start], {start}
        while trail:
            seq = trail[-1]
            if seq not in needs:
                rows = conn.execute(
                    "SELECT needs_seq FROM dependencies WHERE job_seq = ? ORDER BY needs_seq",
                    (seq,),
                )
                needs[seq] = [row[0] for row in rows]
            if not needs[seq] or seq in done:
                done.add(seq)
                on_trail.discard(seq)
                trail.pop()
                continue
            following = needs[seq].pop()
            if following in on_trail:
                row = conn.execute("SELECT id FROM jobs WHERE seq = ?", (following,)).fetchone()
                raise InvalidInput(f"the dependencies form a cycle through {row[0]}")
            if following not in done:
                trail.append(following)
                on_trail.add(following)
