"""Any history of a schedule: each planned time makes one job, or is accounted for."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from queuectl.core.models import Claim, Verdict
from queuectl.core.states import JobState
from queuectl.host.files import find
from queuectl.storage.for_workers import WorkerStorage
from queuectl.storage.schedules import Schedules, StillUnfinished
from support.clock import Clock
from support.outcomes import EXIT_1, OK
from support.rows import sql
from support.schedules import new_schedule

STEP = timedelta(minutes=10)
_UNFINISHED = "state IN ('pending', 'processing', 'failed', 'scheduled', 'blocked')"


class Histories(RuleBasedStateMachine):
    """One schedule, whose clock may be wrong, and a worker that claims and ends its jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        files = find(str(Path(self.folder.name) / "queue.db"), None, False)
        self.schedules = Schedules.open(files, create=True)
        self.worker = WorkerStorage.open(files, write=True)
        self.clock = Clock()
        self.claims: list[Claim] = []
        self.is_straight = True
        """Whether the clock has only gone forward."""

    @initialize(
        policy=st.sampled_from([("once", "skip"), ("skip", "skip"), ("once", "allow"),
                                ("all", "allow"), ("once", "replace")]),
        jitter=st.sampled_from([0.0, 240.0, 900.0]),
        within=st.none() | st.sampled_from([0.0, 1800.0]),
    )  # fmt: skip
    def add(self, policy: tuple[str, str], jitter: float, within: float | None) -> None:
        missed, overlap = policy
        self.overlap = overlap
        self.anchor = self.clock.now
        self.schedules.add_schedule(
            new_schedule("s", now=self.anchor, missed=missed, overlap=overlap, jitter=jitter,
                         missed_within=within)
        )  # fmt: skip

    @rule(minutes=st.integers(0, 40))
    def wait(self, minutes: int) -> None:
        self.clock.tick(minutes * 60)

    @rule(minutes=st.integers(1, 300))
    def set_back(self, minutes: int) -> None:
        self.is_straight = False
        self.clock.tick(-minutes * 60)

    @rule()
    def claim(self) -> None:
        claim = self.worker.claim("w1", now=self.clock.now)
        if claim is not None:
            self.claims.append(claim)

    @rule()
    def tick(self) -> None:
        self.schedules.tick_schedules(now=self.clock.now)

    @rule()
    def correct(self) -> None:
        self.worker.correct_schedules(changed_after=self.clock.now, now=self.clock.now)

    @precondition(lambda self: self.claims)
    @rule(state=st.sampled_from([JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED]))
    def end(self, state: JobState) -> None:
        outcome = OK if state is JobState.COMPLETED else EXIT_1
        self.worker.record(self.claims.pop(), outcome, Verdict(state), now=self.clock.now)

    @rule()
    def pause(self) -> None:
        self.schedules.pause_schedule("s", by="ann", reason=None, now=self.clock.now)

    @rule(skip=st.booleans())
    def resume(self, skip: bool) -> None:
        self.schedules.resume_schedule("s", skip_missed=skip, now=self.clock.now)

    @rule(force=st.booleans())
    def run(self, force: bool) -> None:
        self.clock.tick(0.001)  # so that no two are of the same moment
        try:
            self.schedules.run_schedule("s", force=force, now=self.clock.now)
        except StillUnfinished:
            assert self.overlap != "allow"

    @invariant()
    def each_time_makes_one_job(self) -> None:
        ticks = self._rows("SELECT planned_at FROM ticks WHERE result IN ('made', 'by-hand')")
        jobs = self._rows("SELECT scheduled_for FROM jobs WHERE schedule = 's'")
        assert len(set(jobs)) == len(jobs)
        if self.overlap == "replace":  # a job that waits takes over a later time
            assert set(jobs) <= set(ticks)
        else:
            assert sorted(jobs) == sorted(ticks)

    @invariant()
    def jobs_do_not_overlap(self) -> None:
        held = self._rows(f"SELECT seq FROM jobs WHERE unique_key IS NOT NULL AND {_UNFINISHED}")
        assert len(held) <= 1

    @invariant()
    def each_time_is_accounted_for(self) -> None:
        schedule = self.schedules.schedule("s")
        assert schedule.next_at is not None
        if self.is_straight:  # else the anchor may have been corrected as well
            planned, rest = divmod(schedule.next_at - self.anchor, STEP)
            times = self._rows("SELECT sum(times) FROM ticks WHERE result <> 'by-hand'")
            assert (times[0] or 0, rest) == (planned - 1, timedelta())

    def _rows(self, query: str) -> list[Any]:
        return [value for (value,) in sql(self.schedules, query)]

    def teardown(self) -> None:
        self.schedules.close()
        self.worker.close()
        self.folder.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
