"""Finding jobs by what people type, compared with a plain implementation."""

from __future__ import annotations

import random
import re
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import product

import pytest

from queuectl.core.job_query import JobQuery, parse
from queuectl.core.models import Job, Selection
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from support.outcomes import COMPLETED, DEAD, EXIT_1, OK, retry_at
from support.rows import sql

_STATES = (None, "state:dead", "state:pending,failed", "state:completed")
_OTHERS = ("", "rsync", "100%", "a_b", "EXIT", "queue:x", "queue:x,y", "label:n*", "exit:1",
           "exit:0,1", "signal:9", "runs:>1", "runs:<=1", "after:30m", "before:30m", "worker:w1",
           "worker:w*", "schedule:nightly", "rsync label:n* exit:1",
           "e queue:x runs:>=1")  # fmt: skip


@pytest.fixture
def jobs(storage, clock):
    """Jobs in several states, with all that can be asked for."""
    chance = random.Random(3)
    commands = ("rsync a b", "echo 100%", "touch a_b", "touch aXb", "exit 1")
    storage.enqueue(
        [
            JobSpec(
                command=chance.choice(commands),
                id=f"j{number}",
                queue=chance.choice("xyz"),
                label=chance.choice((None, "nightly", "new", "other")),
                max_retries=3,
            )
            for number in range(60)
        ],
        now=clock.now - timedelta(hours=1),
    )
    for number in range(45):
        now = clock.now - timedelta(minutes=chance.randrange(60))
        claim = storage.claim(f"w{chance.randrange(3)}", now=now)
        verdict, outcome = chance.choice(
            ((COMPLETED, OK), (DEAD, EXIT_1), (retry_at(now + timedelta(days=9)), EXIT_1))
        )
        storage.record(claim, outcome, verdict, now=now)
        if number % 9 == 0:
            sql(storage, "UPDATE jobs SET signal = 9 WHERE id = ?", claim.job.id)
        if number % 4 == 0:
            sql(storage, "UPDATE jobs SET schedule = 'nightly' WHERE id = ?", claim.job.id)
    return list(storage.jobs(Selection()))


def _fits(job: Job, query: JobQuery, workers: set[str]) -> bool:
    texts = [text.lower() for text in (job.id, job.label, job.command, job.last_error) if text]
    changed = job.finished_at or job.updated_at
    return all(
        (
            all(any(word.lower() in text for text in texts) for word in query.words),
            not query.states or job.state in query.states,
            not query.queues or job.queue in query.queues,
            not query.labels or any(fnmatchcase(job.label or "", p) for p in query.labels),
            not query.schedules or any(fnmatchcase(job.schedule or "", p) for p in query.schedules),
            not query.workers or any(fnmatchcase(w, p) for w, p in product(workers, query.workers)),
            not query.exit_codes or job.exit_code in query.exit_codes,
            not query.signals or job.signal in query.signals,
            query.after is None or changed >= query.after,
            query.before is None or changed < query.before,
            all(
                {"<": job.attempts < n, "<=": job.attempts <= n, "=": job.attempts == n,
                 ">=": job.attempts >= n, ">": job.attempts > n}[operator]
                for operator, n in query.runs
            ),
        )
    )  # fmt: skip


@pytest.mark.parametrize("text", _OTHERS)
def test_the_same_jobs_are_found_as_by_reading_all(storage, clock, jobs, text):
    """Together with each way to choose states, in the query and in the selection."""
    by_job: dict[str, set[str]] = {}
    for job, worker in sql(
        storage, "SELECT jobs.id, worker FROM executions JOIN jobs ON jobs.seq = job_seq"
    ):
        by_job.setdefault(job, set()).add(worker)
    for more, states in product(_STATES, ((), (JobState.DEAD,), (JobState.FAILED, JobState.DEAD))):
        query = parse(f"{text} {more or ''}", now=clock.now)
        selection = Selection(states=states, query=query)
        expected = [
            job.id
            for job in jobs
            if _fits(job, query, by_job.get(job.id, set())) and (not states or job.state in states)
        ]
        assert [job.id for job in storage.jobs(selection)] == expected
        assert storage.count(selection) == len(expected)
        assert {job.id for job in storage.overview(selection, 100, now=clock.now)} == set(expected)
        newest = [job.id for job in storage.jobs(selection, newest=3)]
        assert newest == expected[-3:]


def test_all_ways_to_choose_jobs_together(storage, clock, jobs):
    """A schedule, a label, a time and a query: all must fit."""
    since = clock.now - timedelta(minutes=40)
    query = parse("exit:0,1", now=clock.now)
    selection = Selection(label="n*", since=since, schedule="nightly", query=query)

    assert [job.id for job in storage.jobs(selection)] == [
        job.id
        for job in jobs
        if job.schedule == "nightly"
        and job.exit_code in (0, 1)
        and re.match("n", job.label or "")
        and (job.finished_at or job.updated_at) >= since
    ]


def test_jobs_of_a_schedule(storage, jobs):
    """Its name is no pattern."""
    found = [job.id for job in storage.jobs(Selection(schedule="nightly"))]

    assert found == [job.id for job in jobs if job.schedule == "nightly"]
    assert len(found) > 5
    assert list(storage.jobs(Selection(schedule="night*"))) == []
