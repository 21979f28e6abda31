"""The figures that `metrics` reads from the file of the queue."""

from __future__ import annotations

from contextlib import closing

from queuectl.core.figures import HookFigures, ScheduleFigures
from queuectl.core.states import JobState
from queuectl.core.times import to_text
from queuectl.host.files import find
from queuectl.storage import Storage
from support.clock import noon
from support.outcomes import COMPLETED, DEAD, OK
from support.rows import add, sql


def _add_schedule(storage, name, **columns):
    """Add a row as `schedule add` does."""
    values = {
        "name": name,
        "expression": "0 * * * *",
        "spec": "{}",
        "anchor": to_text(noon(0)),
        "created_at": to_text(noon(0)),
        "updated_at": to_text(noon(0)),
        **columns,
    }
    marks = ", ".join("?" * len(values))
    sql(storage, f"INSERT INTO schedules ({', '.join(values)}) VALUES ({marks})", *values.values())


def test_odd_names_of_rules_are_figures_like_others(storage):
    """Another program wrote bytes. Prevents a bug: one such name left `metrics` without any."""
    _add_schedule(storage, b"s")
    sql(storage, "INSERT INTO hooks (name, events, command, created_at) VALUES (x'68', '', '', '')")
    found = storage.figures(now=noon(75))
    assert [one.name for one in (*found.schedules, *found.hooks)] == ["b's'", "b'h'"]


def test_schedules(storage):
    """Times are seconds since 1970; a paused schedule is not late."""
    times = {"next_at": to_text(noon(60)), "due_at": to_text(noon(65))}
    _add_schedule(storage, "late", made=5, overlapped=2, missed_count=1, **times)
    _add_schedule(storage, "paused", paused_at=to_text(noon(0)), **times)
    _add_schedule(storage, "ended")

    assert storage.figures(now=noon(75)).schedules == [
        ScheduleFigures("ended", None, None, 0.0, False, {"made": 0, "overlapped": 0, "missed": 0}),
        ScheduleFigures(
            "late", noon(60).timestamp(), None, 10.0, False,
            {"made": 5, "overlapped": 2, "missed": 1},
        ),
        ScheduleFigures(
            "paused", noon(60).timestamp(), None, 0.0, True,
            {"made": 0, "overlapped": 0, "missed": 0},
        ),
    ]  # fmt: skip
    assert storage.figures(now=noon(61)).schedules[1].lateness_seconds == 0.0


def test_the_last_success_of_a_schedule(storage):
    """It is known after the job was pruned; 0 means that all have failed, None that none ended."""
    for name, ends in (("new", ()), ("failing", (DEAD,)), ("good", (COMPLETED, DEAD))):
        _add_schedule(storage, name)
        for number, verdict in enumerate(ends):
            job_id = f"{name}-{number}"
            add(storage, noon(0), job_id)
            sql(storage, "UPDATE jobs SET schedule = ? WHERE id = ?", name, job_id)
            claim = storage.claim("w1", now=noon(1))
            storage.record(claim, OK, verdict, now=noon(10 + number))
    states = (JobState.COMPLETED, JobState.DEAD)
    assert storage.prune(states=states, before=noon(100), at_most=10) == 3

    found = {one.name: one.last_success_at for one in storage.figures(now=noon(60)).schedules}

    assert found == {"new": None, "failing": 0.0, "good": noon(10).timestamp()}


def test_a_time_that_cannot_be_read_is_left_out(storage):
    """Another program wrote it, and the other figures are still of use."""
    _add_schedule(storage, "odd", next_at="tomorrow", due_at="tomorrow")

    found = storage.figures(now=noon(60)).schedules[0]

    assert (found.next_at, found.lateness_seconds) == (None, 0.0)


def test_hooks(storage):
    """A hook is disabled when its receiver is gone; failures in a row are counted."""
    for name, disabled, failures in (("ops", to_text(noon(0)), 4), ("mail", None, 0)):
        sql(
            storage,
            "INSERT INTO hooks (name, events, url, created_at, disabled_at, failures) "
            "VALUES (?, 'dead', 'https://example.org', ?, ?, ?)",
            name, to_text(noon(0)), disabled, failures,
        )  # fmt: skip

    assert storage.figures(now=noon(60)).hooks == [
        HookFigures("mail", False, 0),
        HookFigures("ops", True, 4),
    ]


def test_queues(storage):
    """A queue that is only paused or limited is there, too."""
    add(storage, noon(0), "a", "b", queue="x")
    storage.pause_queue("x", by="ada", reason=None, now=noon(0))
    storage.limit_queue("y", 3)

    found = storage.figures(now=noon(60))

    assert [(one.name, one.jobs, one.paused, one.limit) for one in found.queues] == [
        ("x", {"pending": 2}, True, None),
        ("y", {}, False, 3),
    ]
    assert [one.oldest_ready_seconds for one in found.queues] == [60.0, 0.0]
    assert found.all_paused is False

    storage.pause_queue(None, by="ada", reason=None, now=noon(0))
    assert storage.figures(now=noon(60)).all_paused is True


def _steps(storage):
    """Return how many instructions of SQLite's virtual machine the figures take."""
    taken = [0]

    def step():
        taken[0] += 1
        return 0

    conn = storage._database.connection
    conn.set_progress_handler(step, 1)
    try:
        storage.figures(now=noon(3600))
    finally:
        conn.set_progress_handler(None, 1)
    return taken[0]


def test_the_number_of_jobs_does_not_matter(tmp_path):
    """cron asks once a minute, and with 1,000,000 jobs it takes 2 ms."""
    taken = []
    for rows in (2_000, 20_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        with closing(Storage.open(find(str(folder / "q.db"), None, False), create=True)) as storage:
            _add_schedule(storage, "s")
            sql(
                storage,
                """
                WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
                INSERT INTO jobs (id, command, queue, state, created_at, updated_at, finished_at,
                                  schedule)
                SELECT i, 'true', 'q' || (i % 2),
                       CASE i % 3 WHEN 0 THEN 'pending' WHEN 1 THEN 'dead' ELSE 'completed' END,
                       :now, :now, CASE i % 3 WHEN 0 THEN NULL ELSE :now END, 's'
                  FROM n
                """.replace(":rows", str(rows)).replace(":now", f"'{to_text(noon(0))}'"),
            )
            taken.append(_steps(storage))

    assert taken[1] <= taken[0] * 1.2 + 20, taken
