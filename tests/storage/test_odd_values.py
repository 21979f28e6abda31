"""An odd value in any column of any table stops nobody who does not need that row.

Another program can write any type into any column, and switch the constraints off.
"""

from __future__ import annotations

from contextlib import closing, suppress

import pytest

from queuectl.core.errors import QueueError
from queuectl.core.explanation import Words, explain
from queuectl.core.job_query import parse
from queuectl.core.models import Recorded, Selection
from queuectl.core.run_figures import Grouping
from queuectl.core.states import JobState
from queuectl.host import files
from queuectl.metrics.collecting import collect
from queuectl.storage.for_workers import WorkerStorage
from queuectl.storage.outlook import Outlooks
from queuectl.web.storages import WebStorage
from support.clock import noon
from support.new_queues import content_of, open_copy, open_new
from support.odd_values import (
    KEYS,
    ODD_VALUES,
    SINGLE_ROWS,
    add_odd_rows,
    damage,
    fill,
    tables,
)
from support.outcomes import COMPLETED, DEAD, EXIT_1, LOST, OK

NOW = noon(1000)
_WORDS = Words(str, str, lambda _: "the last line")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The content of a queue with rows in all tables."""
    place = files.find(str(tmp_path_factory.mktemp("filled") / "queue.db"), None, False)
    storage = open_new(place)
    fill(storage)
    return content_of(storage)


@pytest.fixture
def odd(tmp_path, filled):
    """That queue, as the web page opens it."""
    place = files.find(str(tmp_path / "queue.db"), None, False)
    open_copy(filled, place).close()
    with closing(WebStorage.open(place, write=True)) as storage:
        yield storage


def test_all_tables_are_tried(odd):
    """A new table needs a line in KEYS, or is one with a single row."""
    assert sorted((*KEYS, *SINGLE_ROWS)) == tables(odd)


@pytest.mark.parametrize("table", sorted(KEYS))
def test_odd_values_beside_good_rows(odd, table):
    """Each column has each odd value in one row."""
    assert add_odd_rows(odd, table) > 3

    read_everything(odd)
    work(odd)
    read_everything(odd)


@pytest.mark.parametrize(
    ("table", "column", "condition"),
    [
        ("stage", "phase", "1"),
        ("stage", "first_seq", "1"),
        ("stage", "token", "1"),
        ("stage", "pid", "1"),
        ("counted_attempts", "up_to", "1"),
        *(("meta", "value", f"key = '{key}'") for key in ("file", "min_writer", "queue_id")),
        ("meta", "value", "key = 'last_worker_at'"),
        ("job_counts", "head_priority", "state = 'pending' AND queue = 'default'"),
    ],
)
def test_odd_values_in_the_only_row(odd, table, column, condition):
    """Whoever needs the value gets one line, all others do not notice.

    Prevents a bug: a worker could not record the end of a job.
    """
    for value in ODD_VALUES[:6]:
        damage(odd, table, column, value, condition)
        for read in _reads(odd, ()):
            with suppress(QueueError):
                read()
    work(odd)
    read_everything(odd)


@pytest.mark.parametrize("value", ODD_VALUES[:6])
def test_a_wrong_count_is_one_line(odd, value):
    """Nobody can claim without these counts, and `doctor` finds what is wrong with them.

    Prevents a bug: SQLite's own error came out.
    """
    damage(odd, "job_counts", "jobs", value)
    for claim in (lambda: odd.claim("good-2", now=NOW) and None, odd.miscounts):
        with suppress(QueueError):
            claim()
    for read in _reads(odd, ()):
        with suppress(QueueError):
            read()


def read_everything(storage):
    """Call what commands and pages read by; only errors that are one line may come out."""
    jobs = tuple(storage.jobs(Selection()))
    assert {"next", "other", "processing"} <= {job.id for job in jobs}
    assert storage.by_state()[JobState.CANCELLED] >= 1
    for job in jobs:
        for read in _reads_of(storage, job):
            with suppress(QueueError):
                read()
    for name in ("next", "other", "processing"):
        job = storage.get(name)
        list(storage.executions(job))
        explain(storage, job, now=NOW, words=_WORDS)
    for read in _reads(storage, jobs):
        with suppress(QueueError):
            read()


def _reads_of(storage, job):
    """Return the reads about one job."""
    return (
        lambda: storage.get(job.id),
        lambda: list(storage.executions(job)),
        lambda: storage.last_execution(job),
        lambda: storage.needs(job),
        lambda: storage.dependants(job),
        lambda: storage.stuck_on(job),
        lambda: storage.ahead_of(job),
        lambda: storage.hook_jobs_of(job),
        lambda: explain(storage, job, now=NOW, words=_WORDS),
    )


def _reads(storage, jobs):
    """Return the reads about everything."""
    since, default = noon(0), ("default",)
    selected = Selection(), Selection(label="l*"), Selection(queues=default, since=since)
    queries = "", "run", "state:dead", "label:l"
    return (
        *(lambda one=one: list(storage.jobs(one)) for one in selected),
        *(lambda one=one: storage.overview(one, 20, now=NOW) for one in selected),
        *(lambda one=one: storage.count(one) for one in selected),
        *(lambda by=by: storage.summary(by, since=since, now=NOW, most=9) for by in Grouping),
        *(
            lambda text=text: storage.search(parse(text, now=NOW), most=50, seconds=9.0)
            for text in queries
        ),
        *(lambda name=name: storage.get(name) for name in ("@last", "@running", "@failed")),
        *(lambda one=one: one(since, NOW) for one in (
            storage.activity, storage.activity_by_minute, storage.activity_by_hour,
            storage.activity_by_day,
        )),
        lambda: list(storage.keys(Selection())),
        lambda: list(storage.with_last_runs(jobs)),
        lambda: list(storage.export(Selection())),
        lambda: storage.with_dependants(jobs),
        storage.newest, storage.ran_last, storage.counts, storage.bad_ends,
        storage.totals, storage.oldest_death, storage.miscounts, storage.wrong_heads,
        storage.activity_miscounts, storage.integrity_errors, storage.newest_time,
        storage.queues, storage.all_paused, storage.hooks, storage.schedules, storage.workers,
        storage.living_workers, storage.stage, storage.jobs_to_come, storage.latest_due,
        storage.longest, storage.meta, storage.running_jobs, storage.schedule_problems,
        storage.settings, storage.stored_settings, storage.unreadable_settings,
        storage.log_writers, storage.first_stuck, storage.orphans,
        lambda: storage.trends(now=NOW),
        lambda: storage.died_last(5),
        lambda: storage.deaths(most=50),
        lambda: storage.dead_page(most=50, seconds=9.0),
        lambda: storage.ended_since((), since),
        lambda: storage.ended_by_minute(minutes=20, now=NOW),
        lambda: storage.facts(now=NOW),
        lambda: storage.facts(default, now=NOW),
        lambda: storage.figures(now=NOW),
        lambda: collect(storage, now=NOW),
        lambda: storage.hook_jobs("ops", most=9),
        lambda: storage.credentials("web"),
        lambda: storage.last_ticks("nightly", at_most=20),
        lambda: storage.labels("", most=5),
        lambda: storage.newest_ends({"default", "q"}, after=since, until=NOW, of_each=9),
        lambda: storage.oldest_ready((), now=NOW),
        lambda: storage.oldest_unfinished_at("default"),
        lambda: storage.pending_up_to("default", 99),
        lambda: storage.ended_attempts([1, 2, 3]),
        lambda: _outlook(storage),
        lambda: storage.queue_id,
    )  # fmt: skip


def _outlook(storage):
    with closing(Outlooks.open(storage.files)) as opened:
        return opened.outlook(1, 20)


def work(storage):
    """Let a worker do all that it does in a life; the good jobs have to run."""
    storage.name_copy(now=NOW)
    with closing(WorkerStorage.open(storage.files, write=True)) as worker:
        chores = (
            worker.refuse_copy,
            worker.unreadable_settings,
            worker.settings,
            worker.count_attempts,
            worker.counts,
            worker.orphans,
            worker.workers,
            worker.log_writers,
            lambda: worker.unfinished(()),
            lambda: worker.set_aside_undue(now=NOW),
            lambda: worker.set_aside_ownerless(now=NOW),
            lambda: worker.retries_after(NOW),
            lambda: worker.correct_schedules(changed_after=NOW, now=NOW),
            lambda: worker.finish_dead_stage(now=NOW, seconds=9.0),
            lambda: worker.expire_activity(now=noon(10**9)),
            lambda: worker.prune(states=(JobState.COMPLETED, JobState.DEAD), before=noon(900)),
        )
        assert worker.queue_id
        for chore in chores:
            with suppress(QueueError):
                chore()
        running = worker.held_by("good-1")
        assert not worker.requests(running).is_cancelled
        assert worker.record(running, OK, COMPLETED, now=NOW) is Recorded.DONE
        assert {"next", "other", "follows"} <= set(_run_all(worker))
        for chore in chores:
            with suppress(QueueError):
                chore()
    assert {storage.get(name).state for name in ("processing", "next", "other")} <= {
        JobState.COMPLETED,
        JobState.DEAD,
    }


def _run_all(worker):
    """Yield the ids of all jobs that can be claimed, until none is left; each one ends."""
    claim = worker.claim("good-2", now=NOW)
    ends = [(OK, COMPLETED), (EXIT_1, DEAD), (LOST, DEAD)]
    while claim is not None:
        yield claim.job.id
        if claim.job.input_id is not None:
            worker.find_content(claim.job.input_id)
        outcome, verdict = ends[claim.execution_id % 3]
        assert worker.record(claim, outcome, verdict, now=NOW) is Recorded.DONE
        assert worker.ready((), now=NOW) is not None
        claim = worker.claim("good-2", now=NOW)
