"""The command `schedule`: adding, looking at, running, pausing and removing schedules."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from queuectl.cli.schedule_shapes import fields, row, schedule_json
from queuectl.core.schedules import Tick, due_at
from queuectl.core.times import from_text, to_text, utcnow
from queuectl.storage.schedules import ScheduleExists
from support import screens
from support.forks import in_processes
from support.json_page import keys
from support.missing import run_without
from support.queue import Queue
from support.rows import sql
from support.schedules import add_schedule, new_schedule, opened
from support.terminal import on_terminal

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


def stored(queue: Queue, name: str = "s") -> Any:
    with opened(queue.files) as storage:
        return storage.schedule(name)


def spec(queue: Queue, name: str = "s") -> Any:
    return json.loads(stored(queue, name).spec)


def overdue(queue: Queue, name: str = "s", expression: str = "every 1h", **given: Any) -> None:
    """Add a schedule that is due since a few seconds."""
    ago = utcnow() - timedelta(hours=1, seconds=2)
    add_schedule(queue.files, name, expression, now=ago, **given)


def test_a_schedule_is_added(queue: Queue) -> None:
    """Its name is printed; folder and environment of its jobs are those of the caller."""
    before = utcnow()
    added = queue.ok(
        "schedule", "add", "s", "every 10m", "--queue", "q", "--timeout", "90", "--label", "l",
        "--env", "A=1", "--jitter", "5s", "--missed-within", "2h", "--overlap", "replace",
        "--", "make", "all now",
        env={"FOO": "bar"},
    )  # fmt: skip

    schedule = stored(queue)
    job = spec(queue)
    assert added == "s"
    assert (schedule.expression, schedule.timezone, schedule.missed) == ("every 10m", "UTC", "once")
    assert (schedule.jitter, schedule.missed_within, schedule.overlap) == (5.0, 7200.0, "replace")
    assert before - MINUTE < schedule.anchor <= utcnow()
    assert schedule.next_at == schedule.anchor + 10 * MINUTE
    assert schedule.due_at == due_at(schedule, schedule.next_at)
    assert (job["command"], job["queue"], job["timeout"]) == ("make 'all now'", "q", 90.0)
    assert (job["label"], job["env"], job["cwd"]) == ("l", {"A": "1"}, str(queue.work))
    assert job["captured"]["FOO"] == "bar"


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        (["@Daily"], "@daily"),
        (["0 2 * * 1-5"], "0 2 * * 1-5"),
        (["0", "2", "*", "*", "1-5"], "0 2 * * 1-5"),
        (["every", "2", "hours"], "every 2 hours"),
        (["*/5   * * * *"], "*/5 * * * *"),
    ],
)
def test_a_time_may_be_one_word_or_several(queue: Queue, words: list[str], expression: str) -> None:
    """A crontab has five words; a shell needs quotes for the asterisks."""
    pytest.importorskip("cronsim")
    queue.ok("schedule", "add", "-q", "s", *words, "--", "true")

    assert stored(queue).expression == expression


@pytest.mark.parametrize(
    ("variable", "options", "zone"),
    [
        ("UTC", [], "UTC"),
        ("Europe/Berlin", [], "Europe/Berlin"),
        ("Europe/Berlin", ["--tz", "America/New_York"], "America/New_York"),
        ("CET-1", [], None),
    ],
)
def test_the_zone_is_stored(
    queue: Queue, variable: str, options: list[str], zone: str | None
) -> None:
    """It never depends on the environment of the workers."""
    pytest.importorskip("cronsim")
    words = ["s", "0 2 * * *", *options, "--", "true"]
    queue.ok("schedule", "add", *words, env={"TZ": variable})

    assert stored(queue).timezone == zone


def test_a_variable_that_names_no_zone_is_pointed_out(queue: Queue) -> None:
    """Regression: with `TZ=Mars/Foo` the schedule silently got the zone of the machine."""
    words = ("schedule", "next", "0 2 * * *", "-n", "1")
    unknown = on_terminal(queue, *words, streams="stderr", env={"TZ": "Mars/Foo"}, size=(100, 24))
    a_file = on_terminal(queue, *words, streams="stderr", env={"TZ": ":/etc/localtime"})

    assert (unknown.code, a_file.code) == (0, 0)
    assert unknown.screen == (
        "TZ=Mars/Foo does not name a time zone; "
        "the one of the machine is used (--tz sets another)\n"
    )
    assert a_file.screen == ""


def test_a_fixed_distance_needs_no_zone_of_the_variable(queue: Queue) -> None:
    """Regression: a zone that `every 10m` does not use was pointed out as well."""
    words = ("schedule", "next", "every 10m", "-n", "1")
    shown = on_terminal(queue, *words, streams="stderr", env={"TZ": "Mars/Foo"})

    assert (shown.code, shown.screen) == (0, "")


@pytest.mark.parametrize(
    ("modules", "says"),
    [
        (("zoneinfo", "backports"), "time zones need the package backports.zoneinfo ("),
        (("tzdata",), "there is no data about time zones (install tzdata, or "),
    ],
)
@pytest.mark.parametrize("options", [(), ("--tz", "Europe/Berlin")])
def test_without_data_no_zone_is_said_to_be_unknown(
    queue: Queue, modules: tuple[str, ...], says: str, options: tuple[str, ...]
) -> None:
    """Prevents: `TZ=Europe/Berlin does not name a time zone`, where no data could be loaded.

    The schedule silently got another zone. A fixed distance needs none.
    """
    pytest.importorskip("cronsim")
    env = {"TZ": "Europe/Berlin", "PYTHONTZPATH": ""}
    words = ("schedule", "next", "0 2 * * *", *options)
    code, out, err = run_without(queue, modules, *words, env=env)
    assert (code, out) == (2 if options else 1, "")
    assert err.startswith(f"queuectl schedule next: {'--tz: ' if options else ''}{says}")

    code, out, err = run_without(queue, modules, "schedule", "next", "every 10m", env=env)
    assert (code, len(out.splitlines()), err) == (0, 5, "")


EXAMPLE = "(example: queuectl schedule add nightly '0 2 * * *' -- backup)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["s", "@daily"], f"no command given: put it after -- {EXAMPLE}"),
        (["s", "@daily", "make"], f"no command given: put it after -- {EXAMPLE}"),
        (["s", "@daily", "--"], f"no command given: put it after -- {EXAMPLE}"),
        (
            ["s", "--", "make"],
            "give a name and a time (example: queuectl schedule add s @daily -- make)",
        ),
        (["a b", "@daily", "--", "make"], "the name must be printable, without white space, …"),
        (["s", "every 1ms", "--", "make"], "a schedule is at most once per second, not …"),
        (["s", "every 1h", "--until", "now", "--", "make"], "there is no planned time before …"),
        (["s", "every 1h", "--until", "x", "--", "make"], "--until: not a time: 'x' …"),
        (["s", "every 1h", "--tz", "Moon", "--", "make"], "--tz: unknown time zone Moon …"),
        (
            ["s", "every 1h", "--missed", "all", "--", "make"],
            "--missed all requires --overlap allow, since its jobs are made at once",
        ),
        (["s", "every 1h", "--delay", "1h", "--", "make"], "no such option: --delay …"),
        (
            ["s", "every 1h", "--", '{"command": "x", "after": "y"}'],
            "after cannot be used in a schedule, which sets it for each job",
        ),
        (["s", "every 1h", "--", " "], "the command is empty"),
    ],
)
def test_wrong_usage_stores_nothing(queue: Queue, words: list[str], message: str) -> None:
    """The error says what to do, and no queue is made."""
    line = queue.fails(2, "schedule", "add", *words)

    expected = f"queuectl schedule add: {message}"
    assert line == expected or (message[-1] == "…" and line.startswith(expected[:-1]))
    assert not queue.database.exists()


def test_without_cronsim_an_expression_is_refused(queue: Queue) -> None:
    """The error names the extra, and what works without it."""
    words = ("schedule", "add", "s", "@daily", "--", "true")
    block = "import sys; sys.modules['cronsim'] = None; from queuectl.cli import main; main()"
    called = _python(queue, block, *words)

    assert called == (
        1,
        "queuectl schedule add: cron expressions need the package cronsim (in a checkout of "
        "queuectl: pip install '.[cron]'; 'every 10m' works without)\n",
    )


def _python(queue: Queue, code: str, *words: str) -> tuple[int, str]:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=queue.env,
        cwd=queue.work,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_name_is_taken_once(queue: Queue) -> None:
    """--replace changes the schedule, and keeps its history; the same times go on as they are."""
    overdue(queue)
    (job,) = queue.ok("schedule", "tick").splitlines()
    before = stored(queue)

    assert queue.fails(1, "schedule", "add", "s", "every 1h", "--", "new") == (
        "queuectl schedule add: there is a schedule s already (--replace changes it)"
    )
    queue.ok("schedule", "add", "s", "every 1h", "--replace", "--", "new")
    after = stored(queue)
    assert spec(queue)["command"] == "new"
    assert (after.next_at, after.anchor, after.made) == (before.next_at, before.anchor, 1)
    queue.ok("schedule", "add", "s", "every 2h", "--replace", "--", "new")
    assert stored(queue).next_at > utcnow() + 118 * MINUTE
    assert queue.json("schedule", "show", "s")["last_job"] == job


def test_a_person_is_told_the_next_time(queue: Queue) -> None:
    """And that nobody would run the job; scripts get the name alone."""
    words = ("schedule", "add", "s", "every 10m", "--", "true")

    shown = on_terminal(queue, *words, streams="stderr")

    assert shown.out == "s\n"
    assert re.fullmatch(
        r"next: \w{3} 20\d\d-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC \(in (9 min \d\d s|10 min)\)[;\n] ?"
        r"no worker is running \(queuectl worker start\)\n",
        shown.screen,
    )


def test_the_next_times_of_a_schedule(queue: Queue) -> None:
    """In its zone, with the moment that the jitter leads to."""
    pytest.importorskip("cronsim")
    shown = queue.ok("schedule", "next", "0 0 29 2 *", "-n", "2", "--tz", "America/New_York")
    lines = [line.partition(" (in ")[0] for line in shown.splitlines()]
    assert lines == [
        "Tue 2028-02-29 00:00 America/New_York",
        "Sun 2032-02-29 00:00 America/New_York",
    ]
    add_schedule(queue.files, "s", now=utcnow(), jitter=60.0, timezone="UTC")
    (first, second) = queue.json("schedule", "next", "s", "-n", "2")
    assert from_text(second["planned_at"]) == from_text(first["planned_at"]) + 10 * MINUTE
    schedule = stored(queue)
    assert first == {
        "planned_at": to_text(schedule.next_at),
        "local": schedule.next_at.isoformat(timespec="seconds"),
        "due_at": to_text(schedule.due_at),
    }
    assert set(first) == set(keys("A schedule", "Key of a next time"))
    assert ", due " in queue.ok("schedule", "next", "s")
    assert queue.fails(2, "schedule", "next", "s", "--tz", "UTC") == (
        "queuectl schedule next: --tz cannot be used with a schedule, which has its own zone: s"
    )


def test_a_name_without_its_sign(queue: Queue) -> None:
    """A schedule may be called `daily`; if none is, the error asks whether `@daily` was meant."""
    add_schedule(queue.files, "s", now=utcnow())
    meant = "(did you mean @daily?)"
    assert queue.fails(1, "schedule", "next", "daily") == (
        f"queuectl schedule next: no such schedule: daily {meant}"
    )
    assert queue.fails(2, "schedule", "add", "s", "Daily", "--", "true") == (
        f"queuectl schedule add: not a cron expression: 'Daily' {meant}"
    )
    add_schedule(queue.files, "daily", now=utcnow())
    assert "UTC (in " in queue.ok("schedule", "next", "daily")


def test_an_expression_that_never_comes(queue: Queue) -> None:
    """It is refused when it is added, and has no next time."""
    pytest.importorskip("cronsim")
    never = "0 0 */30 2 MON#5"

    assert queue.fails(2, "schedule", "add", "s", never, "--", "true") == (
        f"queuectl schedule add: there is no planned time within 50 years: {never}"
    )
    assert queue.run("schedule", "next", never).err == f"there is no next time: {never}\n"


def test_json_has_the_keys_of_the_page(queue: Queue) -> None:
    """In the order of the page; the values of variables are masked."""
    overdue(queue, job={"env": {"SECRET": "x"}})
    queue.ok("schedule", "tick")

    (listed,) = queue.json("schedule", "list")
    shown = queue.json("schedule", "show", "s")

    every = keys("A schedule")
    assert list(shown) == every
    assert list(listed) == [key for key in every if key not in ("next", "problem", "ticks")]
    assert list(shown["ticks"][0]) == keys("A schedule", "Key of a tick")
    assert (listed["env"], shown["env"]) == ({"SECRET": "***"}, {"SECRET": "***"})
    assert queue.json("schedule", "show", "--show-env", "s")["env"] == {"SECRET": "x"}
    assert (listed["last_result"], listed["made"]) == ("made", 1)


def test_json_has_what_was_set_for_the_jobs(queue: Queue) -> None:
    """Prevents: the shell, the input, the retries and the hooks were left out."""
    (queue.work / "data").write_bytes(5 * b"x")
    queue.ok("schedule", "add", "s", "every 1h", "--shell", "/bin/bash", "--input", "data",
             "--retry-delay", "10", "--on-success", "good", "--on-failure", "bad",
             "--on-finish", "end", "--", "true")  # fmt: skip
    queue.ok("schedule", "add", "t", "every 1h", "--backoff", "3", "--", "true")

    names = ("retry_delay", "backoff", "shell", "input_bytes",
             "on_success", "on_failure", "on_finish")  # fmt: skip
    one, other = queue.json("schedule", "list")
    assert [one[name] for name in names] == [10, None, "/bin/bash", 5, "good", "bad", "end"]
    assert [other[name] for name in names] == [None, 3, None, None, None, None, None]


def test_json_says_why_there_are_no_next_times(queue: Queue) -> None:
    """Prevents a bug: the list was empty, and the reason only in the text."""
    add_schedule(queue.files, "s", now=utcnow())
    assert queue.json("schedule", "show", "s")["problem"] is None
    sql(queue, "UPDATE schedules SET expression = '0 2 * * *', timezone = 'Mars/Olympus'")
    pytest.importorskip("cronsim")

    shown = queue.json("schedule", "show", "s")
    assert (shown["next"], shown["problem"]) == (
        [],
        "unknown time zone Mars/Olympus (names are like Europe/Berlin)",
    )


def test_tick_makes_what_is_due_and_prints_the_ids(queue: Queue) -> None:
    """Nothing is run, and a second call makes nothing."""
    for name in ("s", "t"):
        overdue(queue, name)
    add_schedule(queue.files, "later", now=utcnow())

    ids = queue.ok("schedule", "tick").splitlines()

    assert [job.id for job in queue.jobs()] == ids
    assert [job.schedule for job in queue.jobs()] == ["s", "t"]
    assert queue.ok("schedule", "tick") == ""
    overdue(queue, "u")
    assert queue.ok("schedule", "tick", "-q") == ""


def test_tick_says_which_schedules_it_cannot_make_jobs_of(queue: Queue) -> None:
    """The others are made; a timer of systemd sees the failure."""
    for name in ("s", "t"):
        overdue(queue, name)
    sql(queue, "UPDATE schedules SET spec = '{' WHERE name = 's'")

    called = queue.run("schedule", "tick")

    assert called.code == 1
    assert len(called.out.splitlines()) == 1
    assert called.err.startswith("queuectl schedule tick: s: its job cannot be read: ")


def test_run_makes_a_job_at_once(queue: Queue) -> None:
    """It does not overlap unless it is forced, and the planned times stay as they are."""
    add_schedule(queue.files, "s", now=utcnow(), job={"queue": "q"})
    planned = stored(queue).next_at

    first = queue.ok("schedule", "run", "s")

    assert queue.fails(1, "schedule", "run", "s") == (
        "queuectl schedule run: the last job of s has not ended (--force runs another one beside "
        "it)"
    )
    second = queue.ok("schedule", "run", "--force", "s")
    assert [(job.id, job.schedule, job.queue) for job in queue.jobs()] == [
        (first, "s", "q"), (second, "s", "q"),
    ]  # fmt: skip
    assert stored(queue).next_at == planned
    results = [tick["result"] for tick in queue.json("schedule", "show", "s")["ticks"]]
    assert results == ["by-hand", "by-hand"]


@pytest.mark.parametrize("command", ["show", "run", "pause", "resume", "remove", "next"])
def test_an_unknown_name_is_an_error(queue: Queue, command: str) -> None:
    """As for jobs."""
    queue.enqueue("true")

    assert queue.fails(1, "schedule", command, "nobody") == (
        f"queuectl schedule {command}: no such schedule: nobody"
    )


def test_pause_resume_and_remove_take_several(queue: Queue) -> None:
    """Each that is there is done; one that is not makes the exit code 1."""
    for name in ("s", "t"):
        add_schedule(queue.files, name, now=utcnow())

    called = queue.run("schedule", "pause", "--reason", "why", "s", "nobody", "t")
    assert (called.code, called.out) == (1, "s is paused\nt is paused\n")
    assert called.err == "queuectl schedule pause: no such schedule: nobody\n"
    assert {one["pause_reason"] for one in queue.json("schedule", "list")} == {"why"}
    assert queue.ok("schedule", "resume", "s", "t") == "s is resumed\nt is resumed"
    assert {one["paused"] for one in queue.json("schedule", "list")} == {False}
    assert queue.ok("schedule", "remove", "s") == "s is removed"
    assert [one["name"] for one in queue.json("schedule", "list")] == ["t"]


def test_a_removed_schedule_leaves_its_jobs(queue: Queue) -> None:
    """Its history goes with it."""
    overdue(queue)
    (job,) = queue.ok("schedule", "tick").splitlines()

    queue.ok("schedule", "remove", "s")

    assert [one.id for one in queue.jobs()] == [job]
    assert sql(queue, "SELECT count(*) FROM ticks") == [(0,)]


def test_reading_makes_no_queue(queue: Queue) -> None:
    """`add` alone does."""
    for words in (("list",), ("tick",), ("show", "s"), ("run", "s"), ("remove", "s")):
        called = queue.run("schedule", *words)
        assert (called.code, queue.database.exists()) == (1, False), words
    assert queue.run("schedule", "next", "every 1h").code == 0
    assert not queue.database.exists()


def test_a_schedule_that_cannot_be_read_does_not_hide_the_others(queue: Queue) -> None:
    """Another program wrote it; it can be removed."""
    for name in ("s", "t"):
        add_schedule(queue.files, name, now=utcnow())
    sql(queue, "UPDATE schedules SET anchor = 'x' WHERE name = 's'")

    called = queue.run("schedule", "list", "--json")

    assert [one["name"] for one in json.loads(called.out)] == ["t"]
    assert called.err.startswith("schedule s: the queue holds a time that cannot be read: 'x'")
    queue.ok("schedule", "remove", "t")
    called = queue.run("schedule", "list")
    assert (called.out, len(called.err.splitlines())) == ("", 1)
    queue.ok("schedule", "add", "s", "every 1h", "--replace", "--", "true")
    assert len(queue.json("schedule", "list")) == 1


def test_hostile_text_is_escaped(queue: Queue) -> None:
    """A queue may come from anybody."""
    add_schedule(queue.files, "s", now=utcnow(), job={"command": "echo \x1b[31m"})
    sql(queue, "UPDATE schedules SET pause_reason = ?, paused_at = ?", "\x1b[2J", to_text(utcnow()))

    shown = queue.ok("schedule", "show", "s") + queue.ok("schedule", "list")

    assert "\x1b" not in shown
    assert "\\x1b[31m" in shown


_NOW = NOON + timedelta(days=30)


def _listed() -> list[tuple[Any, Tick | None]]:
    """Schedules of all kinds, each with the last of its planned times."""
    ended = Tick(_NOW - 10 * MINUTE, "made", 1, _NOW, 1, "a1b2c3d4e5f6", "completed", 48.0)
    running = ended._replace(
        state="processing", started_at=_NOW - timedelta(hours=26, minutes=3), seconds=None
    )
    named = {
        "fetch-mail": ("every 1h", {}, ended),
        "nightly-backup-of-everything": (
            "0 2 * * *", {"timezone": "Europe/Berlin"}, running,
        ),
        "late": ("every 1d", {"due_at": _NOW - timedelta(hours=3)}, None),
        "paused": ("every 1d", {"paused_at": _NOW}, ended._replace(state="dead")),
        "ended": ("every 1d", {"next_at": None}, ended._replace(result="missed", times=3)),
        "overlapped": ("every 90s", {}, ended._replace(result="overlapped")),
        "deleted": ("every 7d", {}, ended._replace(job=None, state=None)),
    }  # fmt: skip
    return [
        (new_schedule(name, expression, now=_NOW)._replace(**changed), tick)
        for name, (expression, changed, tick) in named.items()
    ]


@pytest.mark.parametrize("size", screens.SIZES)
def test_the_list_fits_a_terminal(monkeypatch: Any, capsys: Any, size: tuple[int, int]) -> None:
    """One line per schedule: when, next, last and what became of it."""
    pytest.importorskip("cronsim")
    from queuectl.cli import output, schedule_shapes, shown_times
    from queuectl.cli.tables import print_table

    monkeypatch.setattr(output, "line_width", lambda: size[0])
    for module in (schedule_shapes, shown_times, output):
        if hasattr(module, "on_terminal"):
            monkeypatch.setattr(module, "on_terminal", lambda: True)
    rows = [row(schedule, tick, now=_NOW) for schedule, tick in _listed()]

    assert print_table(schedule_shapes.COLUMNS, rows)

    screen = capsys.readouterr().out
    assert screens.widest(screen) <= size[0]
    screens.compare(screen, "schedules", size)


def test_what_show_prints(queue: Queue) -> None:
    """Nothing is left out of a schedule that has everything."""
    schedule = new_schedule(
        "s", "every 1h", now=_NOW, job={"command": "make", "label": "l", "priority": 3,
        "timeout": 60.0, "max_retries": 2, "retry_delay": 10.0, "cwd": "/x", "shell": "/bin/bash",
        "input": b"data\n", "on_success": "good", "on_failure": "bad", "on_finish": "end"},
        until=_NOW + timedelta(days=9), jitter=5.0, missed_within=3600.0,
        paused_at=_NOW, paused_by="ann", pause_reason="why", made=2, overlapped=3, missed_count=4,
    )  # fmt: skip

    assert dict(fields(schedule, now=_NOW + MINUTE)) == {
        "Name": "s",
        "When": "every 1h",
        "Expression": "every 1h",
        "Time zone": "UTC",
        "Until": "2026-03-11 12:00:00",
        "Jitter": "5 s",
        "Missed": "once, within 1h",
        "Overlap": "skip",
        "Paused": "by ann, 2026-03-02 12:00:00: why",
        "Command": "make",
        "Label": "l",
        "Queue": "default",
        "Priority": 3,
        "Attempts": "at most 2",
        "Retries": "10 s after each failure",
        "Timeout": "1m per attempt",
        "Folder": "/x",
        "Shell": "/bin/bash",
        "Input": "5 B",
        "On success": "good",
        "On failure": "bad",
        "On finish": "end",
        "Made": "2 jobs",
        "Left out": "4 missed, 3 overlapped",
        "Added": "2026-03-02 12:00:00 (1 min ago)",
    }
    unlimited = schedule._replace(spec='{"command": "make", "timeout": 0.0}')
    assert dict(fields(unlimited, now=_NOW))["Timeout"] == "none"
    assert schedule_json(schedule, None, show_env=False)["last_result"] is None


def test_names_are_offered(queue: Queue) -> None:
    """With the words for their times."""
    add_schedule(queue.files, "nightly", now=utcnow())
    variables = {"_QUEUECTL_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    for command in ("show", "pause", "add"):
        line = {"COMP_WORDS": f"queuectl schedule {command} ni"}
        assert queue.run(env={**variables, **line}).out.splitlines() == ["plain,nightly"], command
    line = {"COMP_WORDS": "queuectl schedule add x @daily -- ", "COMP_CWORD": "6"}
    assert queue.run(env={**variables, **line}).out.strip() == "command,0"


def test_schedules_added_at_once_are_all_there(queue: Queue) -> None:
    """Of one name there is one."""
    queue.enqueue("true")
    files = queue.files
    queue.close_storage()

    def add(name: str) -> bool:
        try:
            add_schedule(files, name, now=NOON)
        except ScheduleExists:
            return False
        return True

    done = in_processes([lambda: add("one"), lambda: add("one"), lambda: add(f"p{os.getpid()}")])

    assert sum(done) == 2
    assert len(queue.json("schedule", "list")) == 2


def test_a_job_of_a_schedule_is_exported_and_imported(queue: Queue) -> None:
    """With its schedule, its planned time and what it was told of it."""
    overdue(queue)
    (job,) = queue.ok("schedule", "tick").splitlines()
    exported = queue.ok("export")

    queue.ok("--db", str(queue.folder / "other.db"), "import", "-", stdin=exported)

    again = queue.ok("--db", str(queue.folder / "other.db"), "export")
    assert json.loads(again) == json.loads(exported)
    shown = queue.json("show", job)
    assert (shown["schedule"], json.loads(again)["schedule"]) == ("s", "s")
    assert shown["scheduled_for"] == json.loads(again)["env"]["QUEUECTL_SCHEDULED_FOR"]
