"""Staging: many jobs of one call become part of the queue together, in transactions that are short.

Others wait only for one short transaction at a time. The jobs are put into `staged_jobs` bit by
bit. Then one commit decides that they are part of the queue. Only then are they moved into `jobs`.
If this process dies in between, another one discards or moves them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Callable, Iterator, Mapping, Sequence, TypeVar

from queuectl.core.errors import (
    DuplicateId,
    NoSuchJob,
    QueueBusy,
    QueueError,
    QueueLost,
    UniqueKeyHeld,
)
from queuectl.core.states import WAITING_STATES
from queuectl.core.times import to_text
from queuectl.host import lockfiles
from queuectl.storage.adding import (
    ID_PLACE,
    INSERT_JOB,
    Adding,
    Holder,
    is_staged,
    key_holder,
    replace_row,
    staged_key_holder,
)
from queuectl.storage.contents import Interned
from queuectl.storage.database import Database
from queuectl.storage.enqueueing import take
from queuectl.storage.ids import duplicate, last_seq
from queuectl.storage.moving import Mover, Pace, discard_all, finish, move_all
from queuectl.storage.needs import (
    Cycle,
    add_needs,
    cycle_through,
    find_needed,
    in_order,
    refuse_cycles,
    unmet,
    wanted,
)
from queuectl.storage.stages import Stages, StageState, read_stage

_Item = TypeVar("_Item")

_BYTES_AT_ONCE = 256 << 10
"""How large the commands and variables of one transaction are."""
_BYTES_OF_NEED = 256
"""A dependency takes as long to write as a job of this size."""
_MORE_BYTES = 64
"""How much more space a job needs in `jobs` than it needed before, with its entries in indexes."""
_POLL_SECONDS = 0.05


class SpreadIds:
    """Generated ids for many jobs: each is random in its own part of all ids, in ascending order.

    In random order, each new id would change another page of two indexes: to move 500,000 jobs
    took 19 s instead of 2 s.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._width = (1 << 48) // count
        self._given = 0

    def next(self) -> str:
        """Return the next id. It may be taken, then ask again."""
        part = self._given % self._count
        self._given += 1
        chance = int.from_bytes(os.urandom(6), "big") % self._width
        return f"{part * self._width + chance:012x}"


class Stage(Adding):
    """The stage of this process. Its methods that add jobs work within `filling`."""

    def __init__(self, storage: Stages, state: StageState, *, count: int, now: datetime) -> None:
        self._storage = storage
        self._database: Database = storage._database
        self.conn = self._database.connection
        self.now = now
        self.contents = Interned(self.conn)
        self._state = state
        self._ids = SpreadIds(count) if count else None
        self._pace = Pace()
        self._seq = self._reserved = state.first_seq - 1
        """The last seq that was given to a staged job, and the last one that is reserved."""
        self._is_alone = True
        """Whether no other process has added jobs meanwhile."""
        self._replacements: dict[int, tuple[Holder, Mapping[str, Any]]] = {}
        """New values for unfinished jobs of the queue, which they get at the decision, by seq."""
        self._their_needs: dict[int, tuple[Sequence[str], Sequence[str]]] = {}
        """The needs of those jobs."""
        self._moves_at_once = False
        """Whether one of them waits for a staged job. Then all jobs are moved when it is decided,
        in the same transaction: until then the job must neither run nor wait for nothing."""

    @classmethod
    @contextmanager
    def opened(cls, storage: Stages, *, count: int, now: datetime) -> Iterator[Stage]:
        """Begin a stage for `count` jobs (0: unknown); discard it if an exception is raised.

        Waits for the stage of another process. Raises QueueBusy if that one does not get on.
        """
        database = storage._database
        lock = _hold(storage)
        try:
            finish(database, storage._wake_workers, now=now)
            # Only the commit that decides has to wait for the disk: what came before is safe then.
            database.set_durability(waits_for_disk=False)
            with database.transaction() as conn:
                before = last_seq(conn)
                stage = cls(storage, _begin(conn, now), count=count, now=now)
                stage.before = before
            try:
                yield stage
            except BaseException:
                stage._discard()
                raise
        finally:
            lockfiles.let_go(lock)
            database.set_durability(waits_for_disk=True)

    def take(self, items: Iterator[_Item], size: Callable[[_Item], int]) -> list[_Item]:
        """Return the next items, as many as one transaction should write."""
        return take(items, self._pace.rows, _BYTES_AT_ONCE, size)

    def take_needs(
        self, items: Iterator[_Item], needs: Callable[[_Item], Sequence[str]]
    ) -> list[_Item]:
        """Do the same for jobs whose dependencies are to be written, given those of a job."""
        return self.take(items, lambda item: _BYTES_OF_NEED * len(needs(item)))

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Run one transaction that stages jobs."""
        staged = self._reserved - self._state.first_seq + 1
        self._database.refuse_full_disk(staged * _MORE_BYTES)
        with self._pace.timed(self._database) as conn:
            self._refuse_lost()
            self._seq = _last_reserved(conn)
            self._is_alone = self._is_alone and self._seq == self._reserved
            yield
            conn.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'jobs'", (self._seq,))
        self._reserved = self._seq

    def finish(self, moved: Callable[[int], None]) -> None:
        """Decide that all staged jobs are part of the queue, then move them there.

        `moved` is called with 0 when it is decided, and then with the number of each few jobs.
        """
        self._put_in_waves()
        self._database.set_durability(waits_for_disk=True)
        self._decide()
        moved(0)
        self._database.set_durability(waits_for_disk=False)
        try:
            for jobs in move_all(self._database, self._state, now=self.now):
                self._storage._wake_workers()
                moved(jobs)
        except QueueLost:
            raise
        except (QueueError, OSError) as error:  # an OSError: a lock cannot even be released
            raise QueueError(
                f"the jobs are enqueued, but cannot be shown and run yet: {error}"
            ) from error

    # The methods of Adding, for jobs that are staged.

    def key_holder(self, key: str) -> Holder | None:
        """Return the unfinished job, staged or not, that holds a unique key, if any."""
        return key_holder(self.conn, key) or staged_key_holder(self.conn, key)

    def duplicate(self, job_id: str) -> DuplicateId | None:
        """Return the error for an id that is taken; None if it is free."""
        taken = duplicate(self.conn, job_id, before=self.before)
        if taken is None and is_staged(self.conn, job_id):
            return DuplicateId(job_id, None)
        return taken

    def insert(self, values: Sequence[Any]) -> int:
        """Stage a job, given the values for INSERT_JOB; return its seq. Raises DuplicateId."""
        job_id = values[ID_PLACE]
        row = self.conn.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is not None:
            raise DuplicateId(job_id, row[0])
        seq = self._seq + 1
        if not self.conn.execute(INSERT_JOB["staged_jobs"], (seq, *values[1:])).rowcount:
            raise DuplicateId(job_id, None)
        self._seq = seq
        return seq

    def new_id(self) -> str:
        """Return an id that may be free."""
        return super().new_id() if self._ids is None else self._ids.next()

    def replace(self, holder: Holder, values: Mapping[str, Any]) -> None:
        """Give a waiting job another command and other settings, if it is decided."""
        if holder.is_staged:
            replace_row(self.conn, "staged_jobs", values)
        else:
            self._replacements[holder.seq] = holder, values

    def limits(self, holder: Holder) -> tuple[str, float, int, bool]:
        """Return queue, timeout and max_retries of a job, and whether it is being cancelled."""
        if holder.seq in self._replacements:
            values = self._replacements[holder.seq][1]
            return values["queue"], values["timeout"], values["max_retries"], False
        if not holder.is_staged:
            return super().limits(holder)
        queue, timeout, max_retries = self.conn.execute(
            "SELECT queue, timeout, max_retries FROM staged_jobs WHERE seq = ?", (holder.seq,)
        ).fetchone()
        return queue, timeout, max_retries, False

    def add_needs(
        self, seq: int, after: Sequence[str], after_any: Sequence[str], *, abbreviated: bool
    ) -> tuple[str, ...]:
        """Store what a job waits for; return the ids of those that cannot complete by themselves.

        Call it when all jobs are staged: a job may wait for any of them.
        """
        is_replaced = seq in self._replacements
        if is_replaced:
            self._their_needs[seq] = after, after_any
        staged = set()

        def read(needed: int) -> tuple[str, str]:
            job_id, state, is_staged = self.conn.execute(
                """
                SELECT id, state, 1 FROM staged_jobs WHERE seq = :seq
                 UNION ALL
                SELECT id, state, 0 FROM jobs WHERE seq = :seq
                """,
                {"seq": needed},
            ).fetchone()
            if is_staged:
                staged.add(needed)
            return job_id, state

        up_to = self.before if abbreviated else 0
        needs = wanted(lambda name: self._find(name, by=seq, up_to=up_to), after, after_any)
        left, unsatisfiable = unmet(needs, read, by=seq)
        if is_replaced:
            if any(needed_seq in staged for needed_seq, _ in left):
                self._moves_at_once = True
            return unsatisfiable
        for needed_seq, any_outcome in left:
            self.conn.execute(
                """
                INSERT INTO staged_needs (job_seq, needs_seq, however)
                VALUES (:job, :needs, :any_outcome)
                """,
                {"job": seq, "needs": needed_seq, "any_outcome": int(any_outcome)},
            )
        return unsatisfiable

    def _find(self, name: str, *, by: int, up_to: int) -> Sequence[int]:
        try:
            row = self.conn.execute("SELECT seq FROM staged_jobs WHERE id = ?", (name,)).fetchone()
        except UnicodeEncodeError:
            raise NoSuchJob(name) from None
        if row is not None:
            return [int(row[0])]
        return find_needed(self.conn, name, by=by, up_to=up_to)

    def _put_in_waves(self) -> None:
        """Refuse jobs that wait for each other, and note which jobs must be moved after others."""
        with self._database.snapshot() as conn:
            waits_for_later = conn.execute(
                "SELECT EXISTS (SELECT 1 FROM staged_needs WHERE needs_seq > job_seq)"
            ).fetchone()[0]
            if not waits_for_later:
                return  # the order of the input is right, and there is no cycle
            needs: dict[int, list[int]] = {}
            for seq, needed_seq in conn.execute(
                """
                SELECT staged_needs.job_seq, staged_needs.needs_seq
                  FROM staged_needs
                  JOIN staged_jobs ON staged_jobs.seq = staged_needs.needs_seq
                 ORDER BY staged_needs.job_seq, staged_needs.needs_seq
                """
            ):
                needs.setdefault(seq, []).append(needed_seq)
        waves = iter(_waves(self._in_order(needs), needs).items())
        while some := self.take(waves, lambda _: 1):
            with self.filling():
                self.conn.executemany(
                    "UPDATE staged_jobs SET wave = ? WHERE seq = ?",
                    [(wave, seq) for seq, wave in some],
                )

    def _in_order(self, needs: Mapping[int, Sequence[int]]) -> Sequence[int]:
        try:
            return in_order(list(needs), lambda seq: needs.get(seq, ()))
        except Cycle as cycle:
            with self._database.snapshot() as conn:
                row = conn.execute(
                    "SELECT id FROM staged_jobs WHERE seq = ?", (cycle.seq,)
                ).fetchone()
            raise cycle_through(row[0]) from None

    def _decide(self) -> None:
        with self._database.transaction() as conn:
            self._refuse_lost()
            for holder, values in self._replacements.values():
                self._replace_now(holder, values)
            conn.execute("UPDATE stage SET phase = 'decided'")
            if self._moves_at_once:
                mover = Mover(self.now)
                while mover.move(conn, self._pace.rows):
                    pass
            for seq, (after, after_any) in self._their_needs.items():
                add_needs(conn, seq, after, after_any, up_to=self.before, now=self.now)
            refuse_cycles(conn, list(self._their_needs))
        self._storage._wake_workers()

    def _replace_now(self, holder: Holder, values: Mapping[str, Any]) -> None:
        row = self.conn.execute(
            "SELECT state, unique_key FROM jobs WHERE seq = ?", (holder.seq,)
        ).fetchone()
        if row is not None and row[0] == "processing":
            raise UniqueKeyHeld(row[1], holder.id, "is running")
        if row is None or row[0] not in WAITING_STATES:
            raise QueueError(f"job {holder.id}, which was to be replaced, has just ended")
        super().replace(holder, values)

    def _refuse_lost(self) -> None:
        """Raise QueueError if another process took this one for dead, and discarded the stage."""
        current = read_stage(self.conn)
        if current is None or not current.is_still_undecided(self._state):
            raise QueueError(
                f"{self._storage.files.stage_lock} was removed, so another process discarded what"
                " was to be enqueued"
            )

    def _discard(self) -> None:
        """Remove what was staged, unless it was decided. If that fails, another process does it."""
        try:
            with self._database.snapshot() as conn:
                current = read_stage(conn)
            if current is None or not current.is_still_undecided(self._state):
                return
            discard_all(self._database, self._state)
            if self._is_alone:
                with self._database.transaction() as conn:
                    _give_back(conn, self._state.first_seq, self._reserved)
        except (QueueError, sqlite3.Error):
            return


def _hold(storage: Stages) -> int:
    """Take the lock of stages; wait while the process that holds it gets on."""
    wait_seconds = storage._database.wait_seconds
    deadline, last_seen = time.monotonic() + wait_seconds, None
    while True:
        lock = lockfiles.try_hold(storage.files.stage_lock)
        if lock is not None:
            return lock
        with storage._database.snapshot() as conn:
            seen = conn.execute(
                """
                SELECT (SELECT token FROM stage),
                       (SELECT max(seq) FROM staged_jobs),
                       (SELECT min(seq) FROM staged_jobs),
                       (SELECT max(job_seq) FROM staged_needs)
                """
            ).fetchone()
            other = read_stage(conn)
        if seen != last_seen:
            deadline, last_seen = time.monotonic() + wait_seconds, seen
        if time.monotonic() >= deadline:
            who = "another process" if other is None else f"queuectl process {other.pid}"
            raise QueueBusy(
                f"the queue stayed busy for {wait_seconds:.0f} s: {who} is enqueueing many jobs"
                " (try again)"
            )
        storage.refuse_replaced()
        time.sleep(_POLL_SECONDS)


def _begin(conn: sqlite3.Connection, now: datetime) -> StageState:
    state = StageState(os.urandom(8).hex(), "filling", _last_reserved(conn) + 1, os.getpid())
    conn.execute(
        """
        INSERT INTO stage (token, phase, first_seq, pid, started_at)
        VALUES (:token, :phase, :first_seq, :pid, :now)
        """,
        {
            "token": state.token,
            "phase": state.phase,
            "first_seq": state.first_seq,
            "pid": state.pid,
            "now": to_text(now),
        },
    )
    return state


def _last_reserved(conn: sqlite3.Connection) -> int:
    """Return the last seq that was given to a job, or reserved for one."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
    if row is None:
        conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', 0)")
    return 0 if row is None else int(row[0])


def _give_back(conn: sqlite3.Connection, first_seq: int, last_seq: int) -> None:
    """Let the next jobs have the seqs that were reserved, unless a later one was given already."""
    conn.execute(
        "UPDATE sqlite_sequence SET seq = :before WHERE name = 'jobs' AND seq = :last",
        {"before": first_seq - 1, "last": last_seq},
    )


def _waves(ordered: Sequence[int], needs: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Return the wave of each job that is not in the first one.

    `ordered` names each job after those that it waits for. In (wave, seq) this is so as well.
    """
    waves: dict[int, int] = {}
    for seq in ordered:
        wave = max(
            (waves.get(needed, 0) + (needed > seq) for needed in needs.get(seq, ())), default=0
        )
        if wave:
            waves[seq] = wave
    return waves
