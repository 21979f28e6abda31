"""Firing hooks: their jobs are stored in the transaction that records what they report."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta
from typing import Any, Mapping, Sequence

from queuectl.core import hooks
from queuectl.core.batches import is_batch, is_lane, lane_of
from queuectl.core.errors import UnreadableRow
from queuectl.core.hooks import Ended, Event, Hook
from queuectl.core.models import Claim, Job, Outcome
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import DEFAULT_QUEUE, DEFAULT_SHELL, Settings, effective
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.host.processes import host_name
from queuectl.storage.adding import Adding
from queuectl.storage.base import any_bytes
from queuectl.storage.contents import intern
from queuectl.storage.hook_rules import SELECT_HOOK, to_hook
from queuectl.storage.rows import values_of


class Missed(NamedTuple):
    """Planned times that a schedule has left out."""

    schedule: str
    """The name of the schedule."""
    queue: str
    """The queue of its jobs."""
    label: str | None
    """Their label; None if they have none."""
    times: int
    """How many planned times there were."""
    newest: datetime
    """The newest of them."""
    why: str
    """`missed`: nobody was there to make the job; `overlapped`: the job before it went on."""


class _Run(NamedTuple):
    """One hook that reports an event: a rule, or a hook of the job itself."""

    kind: str
    """The event, as a word of EVENTS."""
    name: str
    """The name of the hook."""
    command: str
    """The command that its job runs."""
    rule: Hook | None = None
    """The rule; None for a hook of the job itself."""


def attempt_ended(
    conn: sqlite3.Connection, claim: Claim, after: Job, outcome: Outcome, *, now: datetime
) -> bool:
    """Store the jobs of the hooks that report the end of an attempt; return whether there are any.

    `after` is the job after it. If the job is that of a hook itself, the end is noted there.
    """
    if after.hook is not None:
        note_result(conn, after, now=now)
        return False
    if after.state is JobState.CANCELLED:  # it was told why while it ran
        with any_bytes(conn):
            (reason,) = conn.execute(
                "SELECT CAST(cancel_reason AS TEXT) FROM jobs WHERE seq = ?", (after.seq,)
            ).fetchone()
        after = after._replace(cancel_reason=reason)
    ended = Ended(claim.execution_id, claim.log_owner, claim.job.locked_at, outcome)
    return fire(conn, after, JobState.PROCESSING, ended, now=now)


def fire(
    conn: sqlite3.Connection,
    job: Job,
    before: JobState,
    ended: Ended | None = None,
    *,
    now: datetime,
) -> bool:
    """Store the jobs of all hooks that report the change of a job; return whether there are any.

    `job` is the job after the change, `before` its state before it, and `ended` the attempt that
    ended with it. A job of a hook has no hooks, so that there is no loop. In a lane there are also
    jobs of hooks of another queue, which were imported.
    """
    if job.hook is not None or is_lane(job.queue):
        return False
    rules = _active_rules(conn)
    runs = _own_runs(job)
    for kind in _kinds(conn, job, before, {event for rule in rules for event in rule.events}):
        runs += _rule_runs(rules, kind, job.queue, job.label, job.schedule)
    if runs and job.hook_depth >= hooks.MAX_DEPTH:
        _warn(f"the hooks of {job.id} are not run: {job.hook_depth} hooks in a row led to it")
        return False
    if not runs:
        return False
    queue_id, change = _queue_id(conn), (job.seq, to_text(now))
    if ended is not None:
        # A queue that was restored numbers its attempts from a lower number again.
        change = (ended.execution_id, to_text(ended.started_at or now))
    data = {**hooks.job_data(job, ended), "queue_id": queue_id, "host": host_name()}
    variables = hooks.job_variables(job, ended)
    events = {
        kind: Event(kind, hooks.event_id(queue_id, *change, kind), now, job.queue, data, variables)
        for kind in {run.kind for run in runs}
    }
    return _Storing(conn, job, ended, now).store_all(runs, events)


def fire_missed(conn: sqlite3.Connection, missed: Missed, *, now: datetime) -> bool:
    """Store the jobs of the hooks that report times left out; return whether there are any."""
    rules = _active_rules(conn)
    runs = _rule_runs(rules, "missed", missed.queue, missed.label, missed.schedule)
    if not runs:
        return False
    queue_id, newest = _queue_id(conn), to_text(missed.newest)
    data = {
        **missed._asdict(),
        "newest": newest,
        "queue_id": queue_id,
        "host": host_name(),
    }
    variables = {
        "QUEUECTL_PARENT_QUEUE": missed.queue,
        "QUEUECTL_PARENT_LABEL": missed.label or "",
        "QUEUECTL_PARENT_SCHEDULE": missed.schedule,
        "QUEUECTL_PARENT_ERROR": f"{missed.why}: {newest}",
        "QUEUECTL_MISSED": str(missed.times),
    }
    name = hooks.event_id(queue_id, "schedule", missed.schedule, newest, missed.why)
    event = Event("missed", name, now, missed.queue, data, variables)
    return _Storing(conn, None, None, now).store_all(runs, {"missed": event})


def note_result(conn: sqlite3.Connection, job: Job, *, now: datetime) -> None:
    """Note at a rule how an attempt of one of its jobs ended, which is given as it is after that.

    A cancelled one is no failure: a person wanted that, or the hook was paused or removed. A row
    that breaks a constraint, because another program wrote it, is left as it is.
    """
    conn.execute(
        """
        UPDATE OR IGNORE hooks
           SET failures = CASE :state WHEN 'completed' THEN 0
                                      WHEN 'cancelled' THEN failures
                                      ELSE failures + 1 END,
               last_delivery_at = :now,
               last_result = CASE WHEN url IS NULL THEN coalesce(:error, 'ok')
                                  ELSE coalesce(last_result, :error, 'ok') END
         WHERE name = :hook
        """,
        {
            "state": job.state.value,
            "error": job.last_error,
            "now": to_text(now),
            "hook": job.hook,
        },
    )


def _active_rules(conn: sqlite3.Connection) -> list[Hook]:
    """Return the rules that report events now.

    One that another program wrote, and that cannot be read, must not keep a result from being
    recorded: it is left out.
    """
    with any_bytes(conn):
        rows = conn.execute(
            SELECT_HOOK + "WHERE paused_at IS NULL AND disabled_at IS NULL ORDER BY name"
        ).fetchall()
    rules = []
    for row in rows:
        try:
            rules.append(to_hook(row))
        except UnreadableRow as error:
            _warn(str(error))
    return rules


def _warn(message: str) -> None:
    from queuectl.host.log import log  # most commands that could get here do not need it

    log.warning("%s", message)


def _own_runs(job: Job) -> list[_Run]:
    """Return the hooks of a job itself that report the state which it has now."""
    found = []
    for name, events in hooks.OWN_EVENTS.items():
        command = getattr(job, name.replace("-", "_"))
        if command is not None and job.state.value in events:
            found.append(_Run(job.state.value, name, command))
    return found


def _rule_runs(
    rules: Sequence[Hook], kind: str, queue: str, label: str | None, schedule: str | None
) -> list[_Run]:
    return [
        _Run(kind, rule.name, rule.command or hooks.DELIVER, rule)
        for rule in rules
        if rule.reports(kind, queue, label, schedule)
    ]


def _kinds(conn: sqlite3.Connection, job: Job, before: JobState, wanted: set[str]) -> list[str]:
    """Return those of the wanted events that the change of a job is."""
    kinds = [job.state.value]
    if "recovered" in wanted and _has_recovered(conn, job):
        kinds.append("recovered")
    if "drained" in wanted and hooks.may_drain(before, job.state) and _is_drained(conn, job.queue):
        kinds.append("drained")
    return [kind for kind in kinds if kind in wanted]


def _has_recovered(conn: sqlite3.Connection, job: Job) -> bool:
    """Whether a job of a schedule completed after the last one that ended had died.

    That may be the same job, which was retried. If the schedule was removed, only other jobs count.
    """
    if job.schedule is None or job.state is not JobState.COMPLETED:
        return False
    remembered = conn.execute(
        "SELECT last_ended IS 'dead' FROM schedules WHERE name = ?", (job.schedule,)
    ).fetchone()
    if remembered is not None:
        return bool(remembered[0])
    row = conn.execute(
        """
        SELECT state
          FROM jobs
         WHERE schedule IS NOT NULL
           AND schedule = :schedule
           AND seq < :seq
           AND (state = 'completed' OR state = 'dead')
         ORDER BY seq DESC
         LIMIT 1
        """,
        {"schedule": job.schedule, "seq": job.seq},
    ).fetchone()
    return row is not None and row[0] == "dead"


def _is_drained(conn: sqlite3.Connection, queue: str) -> bool:
    row = conn.execute(
        """
        SELECT 1
          FROM job_counts
         WHERE (state = 'pending' OR state = 'failed' OR state = 'processing')
           AND queue = ?
           AND jobs > 0
        """,
        (queue,),
    ).fetchone()
    return row is None


def _queue_id(conn: sqlite3.Connection) -> str:
    with any_bytes(conn):
        row = conn.execute("SELECT value FROM meta WHERE key = 'queue_id'").fetchone()
    return "" if row is None else str(row[0])


def _settings(conn: sqlite3.Connection) -> Settings:
    with any_bytes(conn):  # what cannot be read counts as unset
        return effective(tuple(conn.execute("SELECT key, value FROM config ORDER BY key")))


class _Storing:
    """Stores the jobs of the hooks that report one change of a job, or one of a schedule."""

    def __init__(
        self, conn: sqlite3.Connection, parent: Job | None, ended: Ended | None, now: datetime
    ) -> None:
        self._conn = conn
        self._parent = parent
        self._ended = ended
        self._now = now
        self._into = Adding(conn, now=now)
        self._settings = _settings(conn)

    def store_all(self, runs: Sequence[_Run], events: Mapping[str, Event]) -> bool:
        """Store the jobs of hooks that report events, given by kind; return whether any is new."""
        made = [self._store(run, events[run.kind]) for run in runs]
        self._into.count()
        return any(made)

    def _store(self, run: _Run, event: Event) -> bool:
        """Store the job of a hook, or add the event to its digest; return whether a job is new."""
        conn, rule = self._conn, run.rule
        known = conn.execute(
            "SELECT 1 FROM jobs WHERE event_id IS NOT NULL AND event_id = ? AND hook = ?",
            (event.id, run.name),
        ).fetchone()
        if known is not None:
            return False
        if rule is None or not rule.digest_seconds:
            self._insert(run, event, hooks.payload(event, output=self._output(rule)))
            return True
        if self._add_to_digest(rule, event):
            return False
        seq = self._insert(run, event, hooks.first_of_digest(event))
        conn.execute("UPDATE OR IGNORE hooks SET digest_seq = ? WHERE name = ?", (seq, rule.name))
        return True

    def _output(self, rule: Hook | None) -> str | None:
        """Return the end of the output that a rule wants in the payload; None if it wants none."""
        if rule is None or not rule.output_bytes or self._ended is None:
            return None
        return self._ended.outcome.output.tail[-rule.output_bytes :].decode("utf-8", "replace")

    def _add_to_digest(self, rule: Hook, event: Event) -> bool:
        """Add an event to the job that collects the events of a rule; False if there is none."""
        row = self._conn.execute(
            """
            SELECT seq,
                   CAST(env AS BLOB),
                   (SELECT CAST(content AS BLOB) FROM contents WHERE contents.id = jobs.input_id)
              FROM jobs
             WHERE seq = (SELECT digest_seq FROM hooks WHERE name = :hook)
               AND hook = :hook
               AND (state = 'scheduled' OR state = 'pending')
               AND attempts = 0
            """,
            {"hook": rule.name},
        ).fetchone()
        if row is None:
            return False
        seq, variables, stored = row
        try:
            content, count = hooks.with_another(stored, event)
            env = {**json.loads(variables), "QUEUECTL_EVENT_COUNT": str(count)}
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            return False  # a user has given that job another input, or another program odd values
        self._conn.execute(
            """
            UPDATE jobs
               SET input_id = :input_id,
                   input_bytes = :input_bytes,
                   env = :env,
                   updated_at = :now
             WHERE seq = :seq
            """,
            {
                "input_id": intern(self._conn, content),
                "input_bytes": len(content),
                "env": json.dumps(env),
                "now": to_text(self._now),
                "seq": seq,
            },
        )
        return True

    def _insert(self, run: _Run, event: Event, content: bytes) -> int:
        """Insert the job of a hook; return its seq."""
        common = {
            **dict.fromkeys(Job._fields),
            "seq": 0,
            "command": run.command,
            "state": JobState.PENDING,
            "queue": lane_of(event.queue),
            "priority": hooks.PRIORITY,
            "attempts": 0,
            "interruptions": 0,
            "created_at": self._now,
            "updated_at": self._now,
            "cancel_requested": False,
            "id_made": True,
            "captured": {},
            "hook": run.name,
            "hook_of": None if self._parent is None else self._parent.seq,
            "hook_depth": self._depth(),
            "event_id": event.id,
            "input_id": intern(self._conn, content),
            "input_bytes": len(content),
            **(self._of_rule(run.rule, event) if run.rule else self._of_parent()),
        }
        common["env"] = {**(common["env"] or {}), **self._variables(run, event)}
        seq, _ = self._into.insert_named(lambda job_id: values_of(Job(**{**common, "id": job_id})))
        self._into.count()
        return seq

    def _of_parent(self) -> dict[str, Any]:
        """Return where and how a hook of the job itself runs: as that job does."""
        parent = self._parent
        assert parent is not None
        own = parent.own_env()
        return {
            "timeout": hooks.TIMEOUT,
            "max_retries": self._settings.hook_max_retries,
            "cwd": parent.cwd,
            "shell": parent.shell,
            "env": {name: own[name] for name in own if not name.startswith("QUEUECTL_")},
            "captured_id": parent.captured_id,
        }

    def _of_rule(self, rule: Hook, event: Event) -> dict[str, Any]:
        """Return where and how the job of a rule runs."""
        shell = self._settings.shell
        values: dict[str, Any] = {
            "timeout": rule.timeout,
            "max_retries": rule.max_retries,
            "cwd": rule.cwd if rule.url is None else "/",
            "shell": None if shell == DEFAULT_SHELL or rule.url is not None else shell,
            "captured_id": None if rule.env == "{}" else intern(self._conn, rule.env),
        }
        if rule.digest_seconds:
            values["run_at"] = self._now + timedelta(seconds=rule.digest_seconds)
            values["state"] = JobState.SCHEDULED
            if is_batch(event.queue):  # its workers will have left by then
                values["queue"] = lane_of(DEFAULT_QUEUE)
        return values

    def _variables(self, run: _Run, event: Event) -> Mapping[str, str]:
        variables = {
            "QUEUECTL_EVENT": hooks.EVENTS[event.kind],
            "QUEUECTL_EVENT_ID": event.id,
            "QUEUECTL_HOOK": run.name,
            "QUEUECTL_HOOK_DEPTH": str(self._depth()),
            **event.variables,
        }
        if run.rule is not None and run.rule.digest_seconds:
            variables["QUEUECTL_EVENT_COUNT"] = "1"
        return variables

    def _depth(self) -> int:
        return 1 if self._parent is None else self._parent.hook_depth + 1
