"""The storage against a model in memory: after any operations in any order, both agree."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from queuectl.core.errors import DuplicateId, InvalidInput, QueueError, UniqueKeyHeld, WrongState
from queuectl.core.models import Claim, Outcome, OutcomeKind, Recorded, Selection, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.host.files import find
from support.new_queues import open_new
from support.stages import stage_all

QUEUES = ("x", "y", "z")
WAITING = (JobState.BLOCKED, JobState.SCHEDULED, JobState.PENDING, JobState.FAILED)
OK = Outcome(OutcomeKind.OK, exit_code=0)
EXIT_1 = Outcome(OutcomeKind.EXIT, exit_code=1)
LOST = Outcome(OutcomeKind.LOST)
INTERRUPTED = Outcome(OutcomeKind.INTERRUPTED, signal=15)


@dataclass
class ModelJob:
    """What the model knows of a job."""

    place: int
    queue: str
    priority: int
    max_retries: int
    state: JobState
    run_at: datetime | None = None
    unique_key: str | None = None
    attempts: int = 0
    holder: int | None = None
    worker: str | None = None
    cancel_requested: bool = False
    is_paused: bool = False
    finished_at: datetime | None = None
    needs: dict[str, bool] = field(default_factory=dict)
    """Id of a job that it waits for -> whether any end of that job is enough."""


class StorageModel(RuleBasedStateMachine):
    """Everything that users and workers can do to a queue."""

    ids = Bundle("ids")
    is_staged = False
    """Whether each enqueue goes through a stage."""

    @initialize(target=ids)
    def make(self):
        self.patch = pytest.MonkeyPatch()
        if self.is_staged:
            stage_all(self.patch)
        self.folder = tempfile.mkdtemp()
        files = find(str(Path(self.folder) / "queue.db"), None, False)
        self.storage = open_new(files)
        # The model says nothing about the disk, and this is ten times as fast.
        self.storage._database.connection.execute("PRAGMA synchronous = OFF")
        # Opening one for each look took a third of the whole time.
        self.outside = sqlite3.connect(files.database, isolation_level=None)
        self.now = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
        self.jobs: dict[str, ModelJob] = {}
        self.paused: set[str | None] = set()
        self.limits: dict[str, int] = {}
        self.claims: list[Claim] = []
        self.placed = 0
        self.bad_ends = dict.fromkeys(QUEUES, 0)
        self.happened: Counter[tuple[str, str]] = Counter()
        self.patch.setattr("queuectl.storage.counting.ROWS_AT_ONCE", 2)
        self.named = 0
        return multiple(*[self.enqueue_one(queue, 0, 2, None, None) for queue in QUEUES])

    def teardown(self):
        self.patch.undo()
        assert self.storage.activity_miscounts() == []
        self.outside.close()
        self.storage.close()
        shutil.rmtree(self.folder)

    @rule(
        target=ids,
        queue=st.sampled_from(QUEUES),
        priority=st.integers(-1, 1),
        max_retries=st.integers(1, 3),
        delay=st.sampled_from([None, None, 0, 5, 30]),
        key=st.sampled_from([None, None, None, "k"]),
        if_dup=st.sampled_from(["error", "skip", "replace"]),
    )
    def enqueue(self, queue, priority, max_retries, delay, key, if_dup):
        """A job without dependencies; if its unique key is held, if_dup says what happens."""
        job_id = self.enqueue_one(queue, priority, max_retries, delay, key, if_dup)
        return multiple() if job_id is None else job_id

    def enqueue_one(self, queue, priority, max_retries, delay, key, if_dup="error"):
        run_at = None if delay is None else self.now + timedelta(seconds=delay)
        job_id = self.new_name()
        spec = JobSpec(
            command="true", id=job_id, queue=queue, priority=priority, max_retries=max_retries,
            run_at=run_at, unique_key=key, if_dup=if_dup,
        )  # fmt: skip
        state = JobState.SCHEDULED if run_at and run_at > self.now else JobState.PENDING
        made = ModelJob(0, queue, priority, max_retries, state, run_at, key)
        holder = None if key is None else self.key_holder(key)
        if holder is not None:
            self.enqueue_again(spec, holder, made)
            return None
        self.storage.enqueue([spec], now=self.now)
        self.add(job_id, made)
        return job_id

    def enqueue_again(self, spec, holder, made):
        state, is_cancelled = self.jobs[holder].state, self.jobs[holder].cancel_requested
        if (
            spec.if_dup == "error"
            or is_cancelled
            or (spec.if_dup == "replace" and state not in WAITING)
        ):
            with pytest.raises(UniqueKeyHeld) as held:
                self.storage.enqueue([spec], now=self.now)
            assert held.value.holder == holder
            return
        (enqueued,) = self.storage.enqueue([spec], now=self.now)
        replaced = spec.if_dup == "replace"
        assert (enqueued.id, enqueued.existing, enqueued.replaced) == (holder, True, replaced)
        if replaced:
            made.place, made.is_paused = self.jobs[holder].place, self.jobs[holder].is_paused
            self.jobs[holder] = made

    @rule(
        target=ids,
        first=ids,
        second=ids,
        any_outcome=st.booleans(),
        delay=st.sampled_from([None, 30]),
    )
    def enqueue_after(self, first, second, any_outcome, delay):
        """A job that waits for others, unless they were pruned."""
        needed = [job_id for job_id in dict.fromkeys([first, second]) if job_id in self.jobs]
        if not needed:
            return multiple()
        run_at = None if delay is None else self.now + timedelta(seconds=delay)
        job_id = self.new_name()
        names = {"after_any" if any_outcome else "after": tuple(needed)}
        spec = JobSpec(command="true", id=job_id, queue="x", run_at=run_at, **names)
        (made,) = self.storage.enqueue([spec], now=self.now)
        never, needs = [], {}
        for other in needed:
            if self.meets(other, any_outcome):
                continue
            needs[other] = any_outcome
            if self.jobs[other].state in FINISHED_STATES:
                never.append(other)
        assert sorted(made.unsatisfiable) == sorted(never)
        self.add(job_id, ModelJob(0, "x", 0, 3, JobState.BLOCKED, run_at, needs=needs))
        self.unblock(job_id)
        return job_id

    @rule(
        job_id=ids,
        action=st.sampled_from(["take its id", "retry", "cancel", "pause", "resume", "resume"]),
    )
    def act(self, job_id, action):
        """What users do to a job, if it has not been pruned."""
        if job_id not in self.jobs:
            return
        {
            "take its id": self.take_id,
            "retry": self.retry,
            "cancel": self.cancel,
            "pause": self.pause_job,
            "resume": self.resume_job,
        }[action](job_id)

    def pause_job(self, job_id):
        job, known = self.jobs[job_id], self.storage.get(job_id)
        if job.state in FINISHED_STATES or job.cancel_requested:
            with pytest.raises(QueueError):
                self.storage.pause(known, now=self.now, clock=1.0)
            return
        assert self.storage.pause(known, now=self.now, clock=1.0) is job.state
        job.is_paused = True

    def resume_job(self, job_id):
        job, known = self.jobs[job_id], self.storage.get(job_id)
        resumed = self.storage.resume(known, now=self.now, clock=2.0)
        assert resumed is (job.state if job.is_paused else None)
        job.is_paused = False

    def take_id(self, job_id):
        with pytest.raises(DuplicateId) as taken:
            self.storage.enqueue([JobSpec(command="true", id=job_id)], now=self.now)
        assert taken.value.state == self.jobs[job_id].state.value

    @rule(
        job_id=ids,
        queue=st.sampled_from(["as it is", *QUEUES]),
        max_retries=st.sampled_from(["as it is", 1, 3]),
        delay=st.sampled_from(["as it is", -5, 30]),
    )
    def edit(self, job_id, queue, max_retries, delay):
        """A waiting job can be edited, but not to fewer attempts than it has had; a dead one can be
        edited, but not when it starts.
        """
        if job_id not in self.jobs:
            return
        job = self.jobs[job_id]
        run_at = delay if delay == "as it is" else self.now + timedelta(seconds=delay)
        wished = {"queue": queue, "max_retries": max_retries, "run_at": run_at}
        changes = {name: value for name, value in wished.items() if value != "as it is"}
        known = self.storage.get(job_id)
        is_dead = job.state is JobState.DEAD
        if is_dead:
            is_refused = "run_at" in changes
        else:
            is_refused = job.state not in WAITING or changes.get("max_retries", 9) <= job.attempts
        if is_refused:
            with pytest.raises(QueueError if is_dead or job.state in WAITING else WrongState):
                self.storage.edit(known, changes, now=self.now)
            return
        for name, value in changes.items():
            setattr(job, name, value)
        if "run_at" in changes and job.state in (JobState.PENDING, JobState.SCHEDULED):
            job.state = JobState.SCHEDULED if run_at > self.now else JobState.PENDING
        edited = self.storage.edit(known, changes, now=self.now)
        assert (edited.queue, edited.max_retries, edited.run_at) == (
            job.queue,
            job.max_retries,
            job.run_at,
        )

    @rule(job_id=ids, first=ids, second=ids, any_outcome=st.booleans())
    def edit_needs(self, job_id, first, second, any_outcome):
        """A waiting job waits for others from now on, unless it would wait for itself."""
        if job_id not in self.jobs or self.jobs[job_id].state not in WAITING:
            return
        job, known = self.jobs[job_id], self.storage.get(job_id)
        needed = [other for other in dict.fromkeys([first, second]) if other in self.jobs]
        needs = {other: kind for other, kind in job.needs.items() if kind is not any_outcome}
        for other in needed:
            if not self.meets(other, any_outcome):
                needs[other] = any_outcome and needs.get(other, True)
        changes = {"after_any" if any_outcome else "after": tuple(needed)}
        if any(self.waits_for(other, job_id) for other in needs):
            with pytest.raises(InvalidInput):
                self.storage.edit(known, changes, now=self.now)
            return
        self.storage.edit(known, changes, now=self.now)
        job.needs = needs
        if needs:
            job.state = JobState.BLOCKED
        self.unblock(job_id)

    def meets(self, other, any_outcome):
        state = self.jobs[other].state
        return state is JobState.COMPLETED or (any_outcome and state in FINISHED_STATES)

    def waits_for(self, job_id, needed):
        return job_id == needed or any(
            self.waits_for(other, needed) for other in self.jobs[job_id].needs
        )

    @rule(seconds=st.sampled_from([1, 5, 30, 30, -20]))
    def tick(self, seconds):
        """Time passes, or the clock is set back."""
        self.now += timedelta(seconds=seconds)

    @rule(queues=st.sampled_from([(), (), ("x",), ("y", "z")]))
    def claim(self, queues):
        """The model knows which job comes next."""
        self.promote()
        claim = self.storage.claim("w1", queues, now=self.now)
        self.claimed(claim, self.next_job(queues))

    @rule(dead=st.sampled_from(["w1", "w1", "w2"]), adopter=st.sampled_from(["w2", "w3", None]))
    def rescue(self, dead, adopter):
        """The job of a dead worker is adopted by another worker, once, or recorded as lost."""
        held = self.storage.held_by(dead)
        theirs = [
            (job.place, job_id)
            for job_id, job in self.jobs.items()
            if job.state is JobState.PROCESSING and job.worker == dead
        ]
        assert (held and held.job.id) == (min(theirs)[1] if theirs else None)
        if held is None:
            return
        if adopter is None:
            self.record(held, "lost")
        elif adopter != dead:
            assert self.storage.adopt(held, adopter, now=self.now)
            assert not self.storage.adopt(held, "w4", now=self.now)
            self.jobs[held.job.id].worker = adopter

    @rule(
        pick=st.sampled_from([0, 0, 0, 1, 2, 4]),
        kind=st.sampled_from(["ok", "exit", "lost", "cancelled", "released", "ok+", "exit+"]),
    )
    def end_attempt(self, pick, kind):
        """The end of an attempt; if the attempt has ended before, nothing changes."""
        if not self.claims:
            self.claim(())
        if not self.claims:
            return
        claim = self.claims[-1 - pick % len(self.claims)]
        if kind == "released":
            self.release(claim)
        elif kind.endswith("+"):
            self.record_and_claim(claim, kind == "ok+")
        else:
            self.record(claim, kind)

    def record_and_claim(self, claim, ok):
        outcome, verdict = (OK, Verdict(JobState.COMPLETED)) if ok else self.failure(claim)
        expected = self.end(claim, verdict)
        self.promote()
        recorded, following = self.storage.record_and_claim(
            claim, outcome, verdict, "w1", now=self.now
        )
        assert recorded is expected
        self.ended(claim, outcome, recorded)
        self.claimed(following, self.next_job(()))

    def record(self, claim, kind):
        if kind == "ok":
            outcome, verdict = OK, Verdict(JobState.COMPLETED)
        elif kind == "cancelled":
            outcome, verdict = EXIT_1, Verdict(JobState.CANCELLED)
        else:
            outcome, verdict = self.failure(claim)
            outcome = LOST if kind == "lost" else outcome
        expected = self.end(claim, verdict)
        assert self.storage.record(claim, outcome, verdict, now=self.now) is expected
        self.ended(claim, outcome, expected)

    def release(self, claim):
        job = self.holding(claim)
        if job is None:
            expected = Recorded.SUPERSEDED
        elif job.cancel_requested:
            expected = self.end(claim, Verdict(JobState.CANCELLED))
        else:
            expected = Recorded.DONE
            job.state, job.attempts = JobState.PENDING, job.attempts - 1
            job.holder = job.worker = None
        assert self.storage.release(claim, INTERRUPTED, now=self.now) is expected
        self.ended(claim, INTERRUPTED, expected)

    def retry(self, job_id):
        job = self.jobs[job_id]
        known = self.storage.get(job_id)
        allowed = job.state is JobState.FAILED or job.state in FINISHED_STATES
        held = job.state in FINISHED_STATES and job.unique_key and self.key_holder(job.unique_key)
        try:
            self.storage.retry(known, now=self.now)
        except WrongState:
            assert not allowed
            return
        except UniqueKeyHeld:
            assert held
            return
        assert allowed
        assert not held
        if job.state in FINISHED_STATES:
            self.happened[job.queue, "enqueued"] += 1
            job.attempts, job.is_paused = 0, False
        job.state, job.run_at, job.finished_at = JobState.PENDING, None, None
        job.cancel_requested = False

    def cancel(self, job_id):
        job = self.jobs[job_id]
        known = self.storage.get(job_id)
        if job.state in (JobState.COMPLETED, JobState.DEAD):
            with pytest.raises(WrongState):
                self.storage.cancel(known, now=self.now)
            return
        state = self.storage.cancel(known, now=self.now)
        if job.state is JobState.PROCESSING:
            assert state is JobState.PROCESSING
            job.cancel_requested = True
        elif job.state in WAITING:
            assert state is JobState.CANCELLED
            job.needs.clear()
            self.finish(job_id, JobState.CANCELLED)
            job.cancel_requested = True

    @rule(
        action=st.sampled_from(
            ["prune", "pause", "resume", "resume", "resume", "limit", "count", "count", "expire"]
        ),
        queue=st.sampled_from([None, *QUEUES]),
        number=st.sampled_from([None, 1, 2]),
    )
    def keep_house(self, action, queue, number):
        """Pruning, pausing, limiting, counting, and forgetting when things happened."""
        if action == "count":
            self.storage.count_attempts()
        elif action == "expire":
            self.storage.expire_activity(now=self.now + timedelta(days=300 * (number or 0)))
        elif action == "prune":
            self.prune(number or 0, FINISHED_STATES if queue else tuple(JobState))
        elif action == "pause":
            self.storage.pause_queue(queue, by="ann", reason=None, now=self.now)
            self.paused.add(queue)
        elif action == "resume":
            self.storage.resume_queue(queue)
            self.paused = set() if queue is None else self.paused - {queue}
        elif queue is not None:
            self.storage.limit_queue(queue, number)
            self.limits.pop(queue, None)
            if number is not None:
                self.limits[queue] = number

    def prune(self, age, states):
        before = self.now - timedelta(seconds=age)
        needed = {name for job in self.jobs.values() for name in job.needs}
        gone = [
            job_id
            for job_id, job in self.jobs.items()
            if job.state in FINISHED_STATES and job.finished_at < before and job_id not in needed
        ]
        assert self.storage.prune(states=states, before=before) == len(gone)
        for job_id in gone:
            del self.jobs[job_id]

    @invariant()
    def both_know_the_same_jobs(self):
        """States, attempts, and which worker holds a job."""
        stored = [
            (
                *(job.id, job.state, job.attempts, job.finished_at, job.cancel_requested),
                *(job.locked_by, job.paused_at is not None),
            )
            for job in self.storage.jobs(Selection())
        ]
        known = [
            (
                *(job_id, job.state, job.attempts, job.finished_at, job.cancel_requested),
                *(job.worker, job.is_paused),
            )
            for job_id, job in sorted(self.jobs.items(), key=lambda item: item[1].place)
        ]
        assert stored == known

    @invariant()
    def the_counts_are_right(self):
        """The kept counts are those of the model."""
        counted: dict[tuple[str, JobState], int] = {}
        for job in self.jobs.values():
            counted[job.queue, job.state] = counted.get((job.queue, job.state), 0) + 1
        kept = {(count.queue, count.state): count.jobs for count in self.storage.counts()}
        assert kept == counted
        paused = sorted(job_id for job_id, job in self.jobs.items() if job.is_paused)
        assert sorted(key.id for key in self.storage.keys(Selection(paused=True))) == paused
        assert self.look("SELECT total(paused) FROM job_counts") == [(len(paused),)]

    @invariant()
    def a_drain_waits_for_what_will_run(self):
        """It does not wait for paused jobs that do not run, nor for those of paused queues."""
        states = (JobState.PENDING, JobState.FAILED)
        waited_for = [
            job
            for job in self.jobs.values()
            if job.state is JobState.PROCESSING
            or (job.state in states and not job.is_paused and not {None, job.queue} & self.paused)
        ]
        assert sum(self.storage.unfinished(()).values()) == len(waited_for)

    @invariant()
    def no_job_comes_before_the_kept_head_of_its_queue(self):
        """A claim searches each queue from there; there are no counts of zero."""
        pending: dict[str, list[tuple[int, int, str]]] = {}
        for job_id, job in self.jobs.items():
            if job.state is JobState.PENDING:
                pending.setdefault(job.queue, []).append((-job.priority, job.place, job_id))
        kept = self.look(
            """
            SELECT queue, -head_priority, head_seq
              FROM job_counts
             WHERE state = 'pending'
                OR jobs = 0
             ORDER BY queue
            """
        )
        seqs = dict(self.look("SELECT id, seq FROM jobs"))
        assert [queue for queue, _, _ in kept] == sorted(pending)
        assert self.storage.wrong_heads() == []
        for queue, priority, seq in kept:
            claimable = [one for one in pending[queue] if not self.jobs[one[2]].is_paused]
            for head in [min(claimable)] if claimable else []:
                assert (priority, seq) <= (head[0], seqs[head[2]])

    @invariant()
    def the_total_of_bad_ends_is_right(self):
        """Every death and every cancel counts, even after a retry or a prune."""
        assert {queue: self.storage.bad_ends([queue]) for queue in QUEUES} == self.bad_ends

    @invariant()
    def what_happened_is_counted(self):
        """Each event once, in the queue where it was; whatever was moved, pruned or forgotten."""
        counted = {(tally.queue, tally.event): tally.times for tally in self.storage.totals()}
        assert counted == self.happened

    @invariant()
    def a_look_says_what_a_claim_would_find(self):
        """An idle worker never sleeps while there is a job that it could claim."""
        waiting = [
            job.run_at
            for job in self.jobs.values()
            if job.state in (JobState.SCHEDULED, JobState.FAILED)
        ]
        due = min(waiting, default=None)
        ready = self.storage.ready((), now=self.now)
        assert ready.next_due == due
        assert ready.now == ((due is not None and due <= self.now) or self.next_job(()) is not None)

    def look(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query by another program."""
        return self.outside.execute(query).fetchall()

    def new_name(self) -> str:
        self.named += 1
        return f"j{self.named}"

    def add(self, job_id: str, job: ModelJob) -> None:
        self.placed += 1
        job.place = self.placed
        self.jobs[job_id] = job
        self.happened[job.queue, "enqueued"] += 1

    def key_holder(self, key: str) -> str | None:
        for job_id, job in self.jobs.items():
            if job.unique_key == key and job.state not in FINISHED_STATES:
                return job_id
        return None

    def promote(self) -> None:
        for job in self.jobs.values():
            if job.state in (JobState.SCHEDULED, JobState.FAILED) and job.run_at <= self.now:
                job.state = JobState.PENDING

    def next_job(self, queues: tuple[str, ...]) -> str | None:
        if None in self.paused:
            return None
        running = [job.queue for job in self.jobs.values() if job.state is JobState.PROCESSING]
        ready = [
            (-job.priority, job.place, job_id)
            for job_id, job in self.jobs.items()
            if job.state is JobState.PENDING
            and not job.is_paused
            and (not queues or job.queue in queues)
            and job.queue not in self.paused
            and running.count(job.queue) < self.limits.get(job.queue, 1000)
        ]
        return min(ready)[2] if ready else None

    def claimed(self, claim: Claim | None, expected: str | None) -> None:
        assert (claim.job.id if claim else None) == expected
        if claim is None:
            return
        job = self.jobs[claim.job.id]
        job.state, job.attempts = JobState.PROCESSING, job.attempts + 1
        job.holder, job.worker = claim.execution_id, "w1"
        assert claim.job == self.storage.get(claim.job.id)
        # The fence: higher than all before it, never used again.
        assert not self.claims or claim.execution_id > self.claims[-1].execution_id
        self.claims.append(claim)

    def holding(self, claim: Claim) -> ModelJob | None:
        job = self.jobs.get(claim.job.id)
        held = job is not None and job.holder == claim.execution_id
        return job if held and job.state is JobState.PROCESSING else None

    def failure(self, claim: Claim) -> tuple[Outcome, Verdict]:
        if claim.job.attempts >= claim.job.max_retries:
            return EXIT_1, Verdict(JobState.DEAD)
        return EXIT_1, Verdict(JobState.FAILED, self.now + timedelta(seconds=10))

    def end(self, claim: Claim, verdict: Verdict) -> Recorded:
        job = self.holding(claim)
        if job is None:
            return Recorded.SUPERSEDED
        job.holder = job.worker = None
        state = verdict.state
        if job.cancel_requested and state is not JobState.COMPLETED:
            state = JobState.CANCELLED
        if state is JobState.FAILED:
            job.state, job.run_at = state, verdict.run_at
        else:
            self.finish(claim.job.id, state)
        return Recorded.CANCELLED if state is JobState.CANCELLED else Recorded.DONE

    def ended(self, claim: Claim, outcome: Outcome, recorded: Recorded) -> None:
        if recorded is not Recorded.SUPERSEDED:
            self.happened[claim.job.queue, outcome.kind.value] += 1

    def finish(self, job_id: str, state: JobState) -> None:
        if state is not JobState.COMPLETED:
            event = "dead" if state is JobState.DEAD else "job-cancelled"
            self.happened[self.jobs[job_id].queue, event] += 1
        self.jobs[job_id].state, self.jobs[job_id].finished_at = state, self.now
        self.jobs[job_id].is_paused = False
        self.bad_ends[self.jobs[job_id].queue] += state is not JobState.COMPLETED
        for other, job in self.jobs.items():
            if job_id in job.needs and (job.needs[job_id] or state is JobState.COMPLETED):
                del job.needs[job_id]
                self.unblock(other)

    def unblock(self, job_id: str) -> None:
        job = self.jobs[job_id]
        if job.state is JobState.BLOCKED and not job.needs:
            later = job.run_at is not None and job.run_at > self.now
            job.state = JobState.SCHEDULED if later else JobState.PENDING


class StagedModel(StorageModel):
    """The same, with each enqueue in steps, as if it had thousands of jobs."""

    is_staged = True


TestStorageModel = StorageModel.TestCase
TestStagedModel = StagedModel.TestCase
TestStorageModel.settings = TestStagedModel.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
