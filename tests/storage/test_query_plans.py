"""What workers ask all day costs the same, whatever the history holds.

Set QUEUECTL_TEST_ROWS=1000000 for a longer history.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest

from queuectl.core.errors import NoSuchJob
from queuectl.core.hooks import NewHook
from queuectl.core.job_query import parse
from queuectl.core.models import LastRun, Selection
from queuectl.core.run_figures import Grouping
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.host.files import find
from queuectl.storage.schedule_rows import INSERT_SCHEDULE, values_of
from support.new_queues import open_copy, open_new
from support.outcomes import COMPLETED, EXIT_1, INTERRUPTED, OK, retry_at
from support.rows import sql, statements
from support.schedules import new_schedule
from support.watch.file_watch import by_hand

ROWS = int(os.environ.get("QUEUECTL_TEST_ROWS", "100000"))
NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
FUTURE = NOW + timedelta(days=900)
PENDING = 20


def fill(path, finished, future):
    """Insert finished and future jobs."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        conn.execute("BEGIN")
        conn.execute(
            """
            WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
            INSERT INTO jobs (id, command, state, created_at, updated_at, finished_at, attempts)
            SELECT 'done' || i, 'true',
                   CASE i % 10 WHEN 0 THEN 'dead' WHEN 1 THEN 'cancelled' ELSE 'completed' END,
                   :now, :now, :now, 1
              FROM n
            """,
            {"rows": finished, "now": to_text(NOW)},
        )
        conn.execute(
            """
            WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
            INSERT INTO jobs (id, command, state, created_at, updated_at, run_at)
            SELECT 'later' || i, 'true', CASE i % 2 WHEN 0 THEN 'scheduled' ELSE 'failed' END,
                   :now, :now, :future
              FROM n
            """,
            {"rows": future, "now": to_text(NOW), "future": to_text(FUTURE)},
        )
        conn.execute("COMMIT")


@contextmanager
def file_of(storage):
    """Close a storage; return the path of its file, which is removed afterwards: it is large."""
    storage.close()
    path = Path(storage.files.database)
    yield path
    path.unlink()


@contextmanager
def copied(source, path):
    """Open a copy, so that no test sees what another one has done; remove the copy afterwards."""
    with by_hand():
        content = source.read_bytes()
    with closing(open_copy(content, find(str(path), None, False))) as storage:
        yield storage
    path.unlink()


def opened(folder, finished, future):
    storage = open_new(find(str(folder / "queue.db"), None, False))
    fill(storage.files.database, finished, future)
    specs = [JobSpec(command="true", queue=queue) for queue in "xy" for _ in range(PENDING // 2)]
    storage.enqueue(specs, now=NOW)
    return storage


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    with file_of(opened(tmp_path_factory.mktemp("small"), 20, 20)) as path:
        yield path


@pytest.fixture
def small(small_file, tmp_path):
    """A queue with few jobs."""
    with copied(small_file, tmp_path / "small.db") as storage:
        yield storage


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    with file_of(opened(tmp_path_factory.mktemp("large"), ROWS, 100_000)) as path:
        yield path


@pytest.fixture
def large(large_file, tmp_path):
    """A queue with a long history, and as many jobs whose time is in the future."""
    with copied(large_file, tmp_path / "large.db") as storage:
        yield storage


def claim(storage):
    taken = storage.claim("w1", now=NOW)
    assert taken is not None
    storage.record(taken, OK, COMPLETED, now=NOW)


def claim_of_one_queue(storage):
    taken = storage.claim("w1", ("y",), now=NOW)
    assert taken is not None
    storage.record(taken, OK, COMPLETED, now=NOW)


def claim_in_vain(storage):
    assert storage.claim("w1", ("nobody",), now=NOW) is None


def promote(storage):
    """One job is due among all those that are not."""
    soon = NOW + timedelta(seconds=1)
    storage.enqueue([JobSpec(command="true", queue="z", run_at=soon)], now=NOW)
    taken = storage.claim("w1", ("z",), now=soon)
    assert taken is not None
    storage.record(taken, OK, COMPLETED, now=NOW)


def look(storage):
    assert storage.ready(("nobody",), now=NOW).next_due == FUTURE


def rescue(storage):
    assert storage.held_by("w9") is None
    assert storage.orphans() == []


def prune(storage):
    states = (JobState.COMPLETED, JobState.CANCELLED, JobState.DEAD)
    assert storage.prune(states=states, before=NOW - timedelta(days=30), at_most=10) == 0


def count(storage):
    assert storage.by_state()[JobState.PENDING] > 0
    assert storage.unfinished(())[JobState.PROCESSING] == 0


def newest(storage):
    assert storage.newest() is not None


def run_again(storage):
    """Claim, look up and release a job that has run before."""
    taken = storage.claim("w2", ("again",), now=NOW)
    assert storage.held_by("w2") == taken
    storage.release(taken, INTERRUPTED, now=NOW)


def look_at_attempts(storage):
    """Do what commands that wait for a job, or follow it, do again and again."""
    job = storage.get("again")
    last = storage.last_execution(job)
    assert storage.last_execution(job, attempt=last.attempt) == last
    assert storage.next_execution(job, last.id - 1) == last


def name(storage):
    assert storage.get("@3").seq == 3
    assert storage.get("@last").seq > 3
    with pytest.raises(NoSuchJob):
        storage.get("@running")


def progress(storage):
    """Ask what `status --watch` asks each second."""
    for queue in ("x", "nobody"):
        found = storage.newest_ends({queue}, after=NOW, until=FUTURE, of_each=10)
        assert len(found[queue]) <= 10
        storage.oldest_unfinished_at(queue)
        assert storage.ended_since([queue], FUTURE) is not None
    assert len(storage.died_last(2)) == 2
    assert len(storage.jobs_by_seq([job.seq for job in storage.running_jobs()])) < 9


def find_jobs(storage):
    """Find the jobs of a schedule, and those of a state that few jobs are in."""
    assert list(storage.jobs(Selection(schedule="nightly"))) == []
    running = parse("true state:processing", now=NOW)
    assert list(storage.jobs(Selection(query=running))) == []


def figures(storage):
    """Sum up the attempts since a time after which there were none."""
    since = NOW + timedelta(days=1)
    assert storage.summary(Grouping.QUEUE, since=since, now=FUTURE, most=5).total.runs == 0


FLAT = [
    claim, claim_of_one_queue, claim_in_vain, promote, look, rescue, count, newest, name, find_jobs,
    figures,
]  # fmt: skip
WORK = [*FLAT, prune, progress]


def steps(storage, work):
    """Return how many instructions of SQLite's virtual machine a piece of work takes."""
    taken = [0]

    def step():
        taken[0] += 1
        return 0

    conn = storage._database.connection
    conn.set_progress_handler(step, 1)
    try:
        work(storage)
    finally:
        conn.set_progress_handler(None, 1)
    return taken[0]


def plans(storage, work):
    """Return the plan of each statement that the work runs, one text per statement."""
    conn = storage._database.connection
    found = statements(storage, lambda: work(storage))
    asked = [s for s in found if s.split()[0] in ("WITH", "SELECT", "INSERT", "UPDATE", "DELETE")]
    return [
        "\n".join(row[3] for row in conn.execute("EXPLAIN QUERY PLAN " + statement))
        for statement in dict.fromkeys(asked)
    ]


@pytest.mark.parametrize("work", FLAT, ids=lambda work: work.__name__)
def test_the_work_stays_flat_however_long_the_history(small, large, work):
    """A claim costs the same with 0 or 1,000,000 finished jobs and 100,000 future ones."""
    few, many = steps(small, work), steps(large, work)

    assert 0 < many <= few * 1.2 + 20, (few, many)


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.CANCELLED])
def test_a_prune_that_finds_nothing_old_stays_flat(small, large, state):
    """The chore looks at jobs that are old enough, not at all finished jobs."""

    def chore(storage):
        before = NOW - timedelta(days=30)
        assert storage.prune(states=(state,), before=before, at_most=10) == 0

    few, many = steps(small, chore), steps(large, chore)

    assert 0 < many <= few * 1.2 + 20, (few, many)


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_no_query_goes_over_all_jobs(large, work):
    """Each query finds its jobs by their key, or by an index that holds only such jobs."""
    found = "\n".join(plans(large, work))
    # Tables are named by their alias, before SQLite 3.36 with the word TABLE.
    walks = re.findall(r"SCAN (?:TABLE )?(?:jobs|head|running|executions)\b(?! AS).*", found)
    over_all = [
        walk
        for walk in walks
        if not re.search("INDEX jobs_(due|processing|dead|died|blocked)", walk)
    ]

    assert "SEARCH" in found
    # The newest job is read from the end of the table, by its key: a single row.
    assert over_all == (["SCAN jobs"] if work is newest else [])


def test_labels_are_found_in_steps_through_their_index(tmp_path):
    """However many jobs have each of them; only so many are read as are wanted."""
    sizes = []
    for rows in (50, 20_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        with closing(open_new(find(str(folder / "q.db"), None, False))) as storage:
            specs = [JobSpec(command="true", label=f"label {n % 5}") for n in range(rows)]
            storage.enqueue([*specs, JobSpec(command="true", label="other")], now=NOW)

            assert storage.labels("label", most=9) == [f"label {n}" for n in range(5)]
            assert storage.labels("", most=2) == ["label 0", "label 1"]
            assert storage.labels("none", most=9) == []
            sizes.append(steps(storage, lambda s: s.labels("label", most=9)))

    assert sizes[1] <= sizes[0] * 1.2 + 20, sizes


def test_the_job_that_failed_last_is_found_by_indexes(large):
    """Of many failed jobs only some are read, of the dead ones the last."""
    text = "\n".join(plans(large, lambda storage: storage.get("@failed")))
    walks = re.findall(r"SCAN (?:TABLE )?jobs\b.*", text)

    assert all(re.search("INDEX jobs_(due|died)", walk) for walk in walks), walks
    assert steps(large, lambda storage: storage.get("@failed")) < 500_000


@pytest.mark.parametrize(
    ("work", "indexes"),
    [
        (claim, {"jobs_due", "queue_heads"}),
        (claim_of_one_queue, {"jobs_due"}),
        (promote, {"jobs_due"}),
        (look, {"jobs_due"}),
        (rescue, {"jobs_processing"}),
        (prune, {"jobs_prunable", "jobs_dead"}),
        (progress, {"jobs_prunable", "jobs_died", "jobs_processing", "jobs_pending"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_partial_indexes_are_used(large, work, indexes):
    """Prevents a bug: a query that does not repeat the condition of an index does not use it."""
    text = "\n".join(plans(large, work))

    assert {index for index in indexes if f"INDEX {index}" in text} == indexes


def test_a_claim_from_named_queues_looks_up_their_heads(large):
    """It does not search the heads of all queues for them."""
    text = "\n".join(plans(large, claim_of_one_queue))

    assert re.search(r"SEARCH (?:TABLE )?(?:job_counts AS )?heads USING PRIMARY KEY", text), text
    assert "queue_heads" not in text


@pytest.mark.parametrize("work", [run_again, look_at_attempts])
def test_a_job_that_ran_often_costs_no_more(storage, work):
    """Regression: a claim read all attempts of the job; 50,000 took 31 ms under the write lock."""
    storage.enqueue([JobSpec(command="true", id="again", queue="again")], now=NOW)
    sizes = []
    for attempts in (50, 5_000):
        sql(
            storage,
            """
            WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO executions (job_seq, attempt, worker, started_at, finished_at, outcome)
            SELECT 1, i, 'w1', ?, ?, 'exit' FROM n
            """,
            attempts,
            *[to_text(NOW)] * 2,
        )
        sizes.append(steps(storage, work))

    assert sizes[1] <= sizes[0] * 1.2 + 20, sizes


@pytest.mark.parametrize("paused", [False, True])
def test_a_long_queue_costs_the_others_nothing(large, small, paused):
    """Its waiting jobs, paused or not, do not make a claim from another queue slower."""
    sizes = {}
    for name, storage, rows in (("few", small, 5), ("many", large, 20_000)):
        with closing(sqlite3.connect(storage.files.database, isolation_level=None)) as conn:
            conn.execute(
                """
                WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                INSERT INTO jobs (id, command, queue, priority, created_at, updated_at)
                SELECT 'long' || ? || i, 'true', 'long', -1, '2025', '2025' FROM n
                """,
                (rows, paused),
            )
        if paused:
            storage.pause_queue("long", by="ann", reason=None, now=NOW)
        sizes[name] = steps(storage, claim)

    assert sizes["many"] <= sizes["few"] * 1.2 + 20, sizes


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="later"),
        pytest.param({"paused_at": NOW, "next_at": NOW, "due_at": NOW}, id="paused"),
        pytest.param({"next_at": None, "due_at": None}, id="ended"),
    ],
)
def test_a_thousand_schedules_cost_a_claim_nothing(small, changes):
    """Those that are not due are not looked at, neither by a claim nor by an idle worker."""
    sizes = []
    for count in (0, 1, 1000):
        schedules = [new_schedule(f"s{number}", "every 365d", now=NOW) for number in range(count)]
        with closing(sqlite3.connect(small.files.database)) as conn, conn:
            conn.executemany(
                INSERT_SCHEDULE.replace("INSERT", "INSERT OR REPLACE"),
                [values_of(schedule._replace(**changes)) for schedule in schedules],
            )
        sizes.append((steps(small, claim), steps(small, lambda s: s.ready((), now=NOW))))

    # Claims of the same queue differ by a few steps, as its jobs and counts are at other places.
    none, one, many = sizes
    assert max(one[0], many[0]) <= none[0] * 1.2 + 20, sizes
    assert max(one[1], many[1]) <= none[1] * 1.2 + 20, sizes


def in_queues(folder, queues, state):
    """Return a queue with a job in each of so many queues, all finished or all pending."""
    storage = open_new(find(str(folder / "queue.db"), None, False))
    sql(
        storage,
        """
        WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO jobs (id, command, queue, created_at, updated_at)
        SELECT 'j' || i, 'true', 'queue' || i, ?, ? FROM n
        """,
        queues,
        *[to_text(NOW)] * 2,
    )
    if state == "gone":
        sql(storage, "UPDATE jobs SET state = 'completed', finished_at = '2025'")
        storage.prune(states=(JobState.COMPLETED,), before=NOW)
        storage.enqueue([JobSpec(command="true", queue="y")] * 3, now=NOW)
    if state == "limited":
        # A worker runs a job of each of the first queues, which allow one and hold ten more.
        for number in range(1, 4):
            more = [JobSpec(command="true", queue=f"queue{number}", priority=1)] * 10
            storage.enqueue(more, now=NOW)
            storage.limit_queue(f"queue{number}", 1)
            assert storage.claim(f"busy{number}", (f"queue{number}",), now=NOW)
    return storage


@pytest.mark.parametrize("state", ["pending", "gone", "limited"])
def test_a_claim_costs_the_same_with_many_queues(tmp_path, state):
    """Prevents a bug: a claim asked each queue that ever had a job; 50,000 made it 60 ms."""
    sizes = []
    for queues in (10, 20_000):
        folder = tmp_path / str(queues)
        folder.mkdir()
        with closing(in_queues(folder, queues, state)) as storage:
            sizes.append((steps(storage, claim), steps(storage, lambda s: s.ready((), now=NOW))))

    few, many = sizes
    assert many[0] <= few[0] * 1.2 + 20, sizes
    assert many[1] <= few[1] * 1.2 + 20, sizes


def test_a_claim_costs_the_same_whatever_is_due(small, large):
    """1,000 or 5,000 jobs that were due at once: a claim after their promotion costs the same."""
    due = NOW + timedelta(seconds=5)

    def claim_next(storage):
        assert storage.record_and_claim(first, OK, COMPLETED, "w1", now=due)[1] is not None

    sizes = {}
    for name, storage, rows in (("few", small, 1_000), ("many", large, 5_000)):
        storage.enqueue([JobSpec(command="true", queue="x", run_at=due)] * rows, now=NOW)
        first = storage.claim("w1", now=due)
        sizes[name] = steps(storage, claim_next)

    assert sizes["many"] <= sizes["few"] * 1.2 + 20, sizes


def finished(storage, state, rows, *, needed=0):
    """Insert so many jobs that finished long ago; others wait for the first `needed` of them."""
    sql(
        storage,
        """
        WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO jobs (seq, id, command, state, created_at, updated_at, finished_at)
        SELECT i, 'old' || i, 'true', ?, ?, ?, ? FROM n
        """,
        rows,
        state,
        *[to_text(NOW)] * 3,
    )
    for number in range(1, needed + 1):
        storage.enqueue([JobSpec(command="true", after=(f"old{number}",))], now=NOW)


@pytest.mark.parametrize("state", [JobState.DEAD, JobState.CANCELLED])
@pytest.mark.parametrize("needed", [0, 600])
def test_to_prune_many_jobs_costs_the_same_for_each(tmp_path, state, needed):
    """Prevents a bug: each 500 dead jobs were found by sorting all, so 1,000,000 took minutes."""
    costs = []
    for rows in (1_600, 6_600):
        folder = tmp_path / str(rows)
        folder.mkdir()
        with closing(open_new(find(str(folder / "q.db"), None, False))) as storage:
            finished(storage, state.value, rows, needed=needed)

            def prune_all(storage):
                before = NOW + timedelta(days=1)
                storage.prune(states=(state,), before=before)

            costs.append(steps(storage, prune_all) / (rows - needed))
            assert storage.by_state()[state] == needed

    assert costs[1] <= costs[0] * 1.2, costs


SELECTIONS = [
    Selection(states=(JobState.FAILED,)),
    Selection(states=(JobState.COMPLETED,)),
    Selection(states=(JobState.DEAD, JobState.FAILED)),
    Selection(queues=("small",)),
    Selection(queues=("small", "x"), states=(JobState.PENDING, JobState.COMPLETED)),
    Selection(queues=("gone",)),
    Selection(states=(JobState.BLOCKED,)),
]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A long history, then a few special jobs, then many pending ones; it cannot be changed."""
    folder = tmp_path_factory.mktemp("mixed")
    storage = open_new(find(str(folder / "queue.db"), None, False))
    fill(storage.files.database, ROWS, 0)
    storage.enqueue([JobSpec(command="true", queue="small") for _ in range(3)], now=NOW)
    storage.enqueue([JobSpec(command="true", queue="small", run_at=FUTURE)], now=NOW)
    taken = storage.claim("w1", ("small",), now=NOW)
    storage.record(taken, EXIT_1, retry_at(FUTURE), now=NOW)
    storage.enqueue([JobSpec(command="true", queue="x")] * 20_000, now=NOW)
    storage._database.connection.execute("PRAGMA query_only = ON")
    yield storage
    storage.close()
    Path(storage.files.database).unlink()


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(queues=("x", "default")),
        Selection(states=(JobState.FAILED, JobState.DEAD)),
        Selection(label="one"),
        Selection(label="one*", states=(JobState.DEAD,)),
        Selection(since=NOW + timedelta(hours=1)),
        Selection(since=NOW + timedelta(hours=1), queues=("x",)),
    ],
    ids=str,
)
def test_the_jobs_shown_first_are_found_by_indexes(large, selection):
    """Whatever the history holds. The indexes have the order, too, except of running jobs."""
    sql(large, "UPDATE jobs SET label = 'one' WHERE seq = 1")

    def look(storage):
        storage.overview(selection, 50, now=NOW)
        assert storage.count(selection) < 10 or selection.is_counted

    found = [plan for plan in plans(large, look) if re.search(r"\bjobs\b", plan)]

    assert found
    for plan in found:
        assert re.search(r"jobs USING (COVERING |INTEGER )?(INDEX|PRIMARY KEY)", plan), plan
    if selection.is_counted:
        unsorted = [plan for plan in found if "jobs_processing" not in plan]
        assert [plan for plan in unsorted if "TEMP B-TREE" in plan] == []
        assert steps(large, look) < 40_000


def test_the_last_attempts_of_jobs_are_found_by_their_index(storage):
    """However often a job ran, only its last attempt is read."""
    sizes = []
    storage.enqueue([JobSpec(command="true", id="again")], now=NOW)
    job = storage.get("again")
    assert list(storage.with_last_runs([job])) == [(job, None)]
    for attempts in (50, 5_000):
        sql(
            storage,
            """
            WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO executions (job_seq, attempt, worker, started_at, seconds, finished_at,
                                    outcome)
            SELECT 1, i, 'w1', ?, i, ?, 'exit' FROM n
            """,
            attempts,
            *[to_text(NOW)] * 2,
        )
        assert list(storage.with_last_runs([job])) == [(job, LastRun(NOW, attempts, 0))]
        sizes.append(steps(storage, lambda storage: list(storage.with_last_runs([job]))))

    assert sizes[1] <= sizes[0] * 1.2 + 20, sizes


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize("newest", [None, 1, 5])
def test_few_jobs_are_found_among_many(mixed, selection, newest):
    """They are the jobs that a look at all jobs finds, in the same order."""
    every = [
        seq
        for seq, queue, state in sql(mixed, "SELECT seq, queue, state FROM jobs ORDER BY seq")
        if (not selection.queues or queue in selection.queues)
        and (not selection.states or state in selection.states)
    ]
    found = [job.seq for job in mixed.jobs(selection, newest=newest)]

    assert found == (every if newest is None else every[-newest:])


@pytest.mark.parametrize(
    ("selection", "newest", "most"),
    [
        (Selection(states=(JobState.FAILED,)), None, 200_000),
        (Selection(states=(JobState.CANCELLED,)), 5, 600_000),
        (Selection(queues=("small",)), None, 200_000),
        (Selection(queues=("gone",)), None, 300),
        (Selection(states=(JobState.BLOCKED,)), None, 300),
    ],
    ids=str,
)
def test_the_jobs_table_is_not_read_for_a_few_jobs(mixed, selection, newest, most):
    """Prevents a bug: to list no jobs took 10 s with 7,000,000 others."""
    found = plans(mixed, lambda storage: list(storage.jobs(selection, newest=newest)))
    walks = [plan for plan in found if re.search(r"SCAN (?:TABLE )?jobs(?! USING)", plan)]

    # Only the last 10,000 jobs are read, as a subquery.
    assert all("subquery" in plan or "CO-ROUTINE" in plan for plan in walks), walks
    assert steps(mixed, lambda storage: list(storage.jobs(selection, newest=newest))) < most


def test_pages_of_many_jobs_are_read_in_one_pass(mixed):
    """Prevents a bug: each page of jobs in two states collected and sorted all of them again."""
    selection = Selection(states=(JobState.DEAD, JobState.COMPLETED))
    work = steps(mixed, lambda storage: list(storage.keys(selection)))

    assert work < 30 * (ROWS + 20_000)


def test_the_progress_of_a_long_history(small, large):
    """Of the newest ends 5,000 are looked at, however many there are, and no row is read for it."""
    few, many = steps(small, progress), steps(large, progress)
    text = "\n".join(plans(large, progress))

    assert many < few + 200_000, (few, many)
    assert "USING COVERING INDEX jobs_died" in text
    assert re.search("USING COVERING INDEX jobs_prunable", text)
    # Only the few jobs that run are sorted.
    assert text.count("TEMP B-TREE") == 1


def test_the_facts_of_findings_cost_the_same_with_a_long_history(small, large):
    """They come from kept counts and the beginnings of indexes, 1,000 rows of each at most."""
    few = steps(small, lambda storage: storage.facts(now=NOW))
    many = steps(large, lambda storage: storage.facts(now=NOW))
    text = "\n".join(plans(large, lambda storage: storage.facts(now=NOW)))
    walks = re.findall(r"SCAN (?:TABLE )?(?:jobs|executions|first|need|needs)\b.*", text)

    assert many < few + 1_000_000, (few, many)
    few_jobs = re.compile("INDEX jobs_(due|processing|died|blocked)")
    assert [walk for walk in walks if not few_jobs.search(walk)] == []


@pytest.mark.parametrize("queues", [(), ("small",), ("x",)])
def test_the_longest_wait_is_found_by_an_index(mixed, queues):
    """Prevents a bug: `check --max-wait` read the rows of all pending jobs, each minute."""
    text = "\n".join(plans(mixed, lambda storage: storage.oldest_ready(queues, now=NOW)))

    assert mixed.oldest_ready(queues, now=NOW) == NOW
    assert text.count("USING COVERING INDEX jobs_pending") == 3
    assert "INDEX jobs_due" in text
    assert re.findall(r"SCAN (?:TABLE )?jobs\b.*", text) == []


def test_the_longest_wait_is_found_in_steps(tmp_path):
    """Prevents a bug: it took 96 ms with 1,000,000 pending jobs, and 419 ms on a busy machine."""
    taken = []
    for rows in (2_000, 20_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        with closing(open_new(find(str(folder / "q.db"), None, False))) as storage:
            sql(
                storage,
                """
                WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                INSERT INTO jobs (id, command, queue, priority, created_at, updated_at)
                SELECT i, 'true', 'q' || (i % 2), i % 4, ?, ? FROM n
                """,
                rows,
                *[to_text(NOW)] * 2,
            )
            assert [wait.jobs for wait in storage.waits(now=NOW)] == [rows // 2] * 2
            taken.append(steps(storage, lambda storage: storage.waits(now=NOW)))

    assert taken[1] <= taken[0] * 1.2 + 20, taken


def record_completed(storage, taken):
    storage.record(taken, OK, COMPLETED, now=NOW)


@pytest.mark.parametrize("own", [False, True])
def test_a_hook_costs_the_same_however_long_the_history_is(small, large, own):
    """Its event, the drain of a queue and the recovery of a schedule are found by indexes."""
    sizes = []
    for storage in (small, large):
        if not own:
            events = ("completed", "recovered", "drained")
            storage.add_hook(NewHook("ops", events, command="x"), replace=True, now=NOW)
        spec = JobSpec(command="true", queue="hooked", on_finish="x" if own else None)
        [enqueued] = storage.enqueue([spec], now=NOW)
        sql(storage, "UPDATE jobs SET schedule = 'nightly' WHERE seq = ?", enqueued.seq)
        taken = storage.claim("w1", ("hooked",), now=NOW)
        sizes.append(steps(storage, partial(record_completed, taken=taken)))
        assert len(storage.hook_jobs_of(taken.job)) == (1 if own else 2)
    assert sizes[1] <= sizes[0] * 1.2 + 20, sizes


def test_jobs_of_hooks_are_found_by_indexes(large):
    """Those of a job, and those of a hook; a prune looks at those of each job that it deletes."""
    job = large.get("done1")
    assert steps(large, lambda storage: storage.hook_jobs_of(job)) < 100
    assert steps(large, lambda storage: storage.hook_jobs("ops", most=50)) < 200


def after_a_history(folder, hours, attempts):
    """Return a queue in which jobs of ten queues ended in each of so many hours until now."""
    storage = open_new(find(str(folder / "queue.db"), None, False))
    fill(storage.files.database, attempts, 0)
    with closing(sqlite3.connect(storage.files.database, isolation_level=None)) as conn:
        conn.execute("BEGIN")
        conn.execute(
            """
            INSERT INTO executions (job_seq, attempt, worker, started_at, finished_at, outcome)
            SELECT seq, 1, 'w1', :now, :now, 'ok' FROM jobs
            """,
            {"now": to_text(NOW)},
        )
        conn.execute("UPDATE counted_attempts SET up_to = (SELECT max(id) FROM executions)")
        ended = (to_text(NOW - timedelta(hours=ago)) for ago in range(hours))
        conn.executemany(
            "INSERT OR IGNORE INTO activity (period, queue, event, times) VALUES (?, ?, 'ok', 1)",
            [
                (
                    period,
                    f"q{number}",
                )
                for at in ended
                for period in (at[:16], f"h{at[:13]}", f"d{at[:10]}", "")
                for number in range(10)
            ],
        )
        conn.execute("COMMIT")
    while storage.expire_activity(now=NOW):
        pass
    return storage


@pytest.fixture(scope="module")
def short_and_long(tmp_path_factory):
    """The files of queues with a history of 50 days and of a year."""
    short = after_a_history(tmp_path_factory.mktemp("history"), 24 * 50, 20)
    long = after_a_history(tmp_path_factory.mktemp("history"), 24 * 365, 20_000)
    with file_of(short) as one, file_of(long) as other:
        yield one, other


def count_one(storage):
    """Count an attempt that has just ended."""
    storage.enqueue([JobSpec(command="true", queue="q1")], now=NOW)
    storage.record(storage.claim("w1", now=NOW), OK, COMPLETED, now=NOW)
    assert not storage.count_attempts()


@pytest.mark.parametrize(
    "work",
    [
        count_one,
        lambda storage: storage.count_attempts(),
        lambda storage: storage.expire_activity(now=NOW),
        lambda storage: storage.totals(),
        lambda storage: storage.trends(now=NOW),
        lambda storage: storage.activity(NOW - timedelta(hours=23, minutes=30), NOW),
        lambda storage: storage.activity(NOW - timedelta(days=30), NOW),
    ],
)
def test_counting_and_reading_the_counters_stay_flat(short_and_long, tmp_path, work):
    """A year of hours and 20,000 attempts that are counted already are not read again."""
    sizes = []
    for source in short_and_long:
        with copied(source, tmp_path / "copy.db") as storage:
            sizes.append(steps(storage, work))

    assert sizes[1] <= sizes[0] * 1.2 + 20, sizes
