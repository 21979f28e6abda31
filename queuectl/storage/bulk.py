"""Acting on many jobs, some hundred per transaction, and counting the jobs that are refused."""

from __future__ import annotations

from array import array
from datetime import datetime
from typing import Any, Callable, Mapping, Sequence

from queuectl.core.errors import QueueBusy, QueueError
from queuectl.core.job_query import JobQuery
from queuectl.core.models import JobKey
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import to_text
from queuectl.storage.actions import RETRYABLE_STATES, Actions
from queuectl.storage.finding import INDEXES
from queuectl.storage.matching import matching
from queuectl.storage.retention import Retention
from queuectl.storage.rows import one_of

AT_ONCE = 500
"""How many jobs one transaction changes."""


class Refused(NamedTuple):
    """A job that was left as it is."""

    seq: int
    """The job."""
    why: str
    """The reason."""


class Many(NamedTuple):
    """The result of an action on many jobs."""

    done: int
    """How many were changed."""
    refused: list[Refused]
    """The others."""


class Bulk(Retention, Actions):
    """The methods that act on many jobs. At most AT_ONCE are to be given to each call.

    With `unchanged_since`, jobs that changed after that time are left alone: the user who chose
    them has not seen the change.
    """

    def seqs_of(
        self, query: JobQuery, *, up_to: int | None = None, with_hooks: bool = True
    ) -> array[int]:
        """Return the seqs of all jobs that fit a query; with `up_to`, of none that is newer.

        Without `with_hooks`, jobs of hooks are left out. 1,000,000 of them take 8 MB.
        """
        parts, values = matching(query)
        if not with_hooks:
            parts.append("hook IS NULL")
        if up_to is not None:
            parts.append("seq <= ?")
            values.append(up_to)
        found = array("q")
        with self._snapshot() as conn:
            for scan in _scans(query.states):
                where = " AND ".join((*scan[1:], *parts)) or "1"
                rows = conn.execute(
                    f"SELECT seq FROM jobs {scan[0]} WHERE {where} ORDER BY seq", values
                )
                found.extend(row[0] for row in rows)
        return array("q", sorted(found))

    def retry_many(
        self,
        seqs: Sequence[int],
        changes: Mapping[str, Any],
        *,
        states: Sequence[JobState] = RETRYABLE_STATES,
        unchanged_since: datetime | None = None,
        now: datetime,
    ) -> Many:
        """Retry jobs, as `retry` does."""

        def act(job: JobKey) -> None:
            self.retry(job, changes, now=now, states=states)

        return self._each(seqs, act, unchanged_since)

    def cancel_many(
        self,
        seqs: Sequence[int],
        *,
        reason: str | None = None,
        unchanged_since: datetime | None = None,
        now: datetime,
    ) -> Many:
        """Cancel jobs, as `cancel` does."""

        def act(job: JobKey) -> None:
            self.cancel(job, reason=reason, now=now)

        return self._each(seqs, act, unchanged_since)

    def delete_many(
        self, seqs: Sequence[int], *, unchanged_since: datetime | None = None, now: datetime
    ) -> Many:
        """Delete finished jobs, as `prune` does."""
        changed = self._changed(seqs, unchanged_since)
        chosen = [seq for seq in seqs if seq not in changed]
        if not chosen:
            return Many(0, list(changed.values()))
        done = self.prune(states=FINISHED_STATES, before=now, jobs=_keys(chosen))
        kept = self._kept(chosen) if done < len(chosen) else []
        return Many(done, [*changed.values(), *kept])

    def _each(
        self, seqs: Sequence[int], act: Callable[[JobKey], None], unchanged_since: datetime | None
    ) -> Many:
        with self.batch():
            refused = self._changed(seqs, unchanged_since)
            for job in _keys(seqs):
                if job.seq in refused:
                    continue
                try:
                    act(job)
                except QueueBusy:
                    raise
                except QueueError as error:
                    refused[job.seq] = Refused(job.seq, str(error))
        return Many(len(seqs) - len(refused), list(refused.values()))

    def _changed(self, seqs: Sequence[int], since: datetime | None) -> dict[int, Refused]:
        """Return those of some jobs that changed after a time."""
        if since is None:
            return {}
        with self._snapshot() as conn:
            rows = conn.execute(
                f"""
                SELECT seq
                  FROM jobs
                 WHERE seq {one_of(seqs)}
                   AND coalesce(finished_at, updated_at) > ?
                 ORDER BY seq
                """,
                (*seqs, to_text(since)),
            )
            return {row[0]: Refused(row[0], f"@{row[0]} has changed meanwhile") for row in rows}

    def _kept(self, seqs: Sequence[int]) -> list[Refused]:
        """Return those of some jobs that are still there after all should have been deleted."""
        with self._snapshot() as conn:
            rows = conn.execute(
                f"""
                SELECT seq, state
                  FROM jobs
                 WHERE seq {one_of(seqs)}
                 ORDER BY seq
                """,
                tuple(seqs),
            ).fetchall()
        finished = {state.value for state in FINISHED_STATES}
        return [
            Refused(
                seq,
                f"@{seq} is kept: an unfinished job waits for it, or reports it"
                if state in finished
                else f"cannot delete @{seq}: it is {state}",
            )
            for seq, state in rows
        ]


def _scans(states: Sequence[JobState]) -> list[tuple[str, ...]]:
    """Return how to read the jobs in some states: an index, and conditions that it needs.

    Most jobs of a large queue are completed. To read these from their index would take longer than
    to read all jobs.
    """
    if not states or {JobState.COMPLETED, JobState.CANCELLED} & set(states):
        return [("NOT INDEXED",)]
    return [
        (f"INDEXED BY {INDEXES[state][0]}", INDEXES[state][1], f"state = '{state.value}'")
        for state in states
    ]


def _keys(seqs: Sequence[int]) -> list[JobKey]:
    """Return the keys of jobs; errors name them by their numbers."""
    return [JobKey(seq, f"@{seq}") for seq in seqs]
