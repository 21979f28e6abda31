"""The commands `export`, `import` and `backup`."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import stat
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from queuectl.cli.commands import transfer
from queuectl.core.jobfile import to_line
from queuectl.core.models import Outcome, OutcomeKind, Selection, Verdict, Worker
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import copies, schema
from support.queue import Queue
from support.states import every_state
from support.watch.file_watch import by_hand


@pytest.fixture
def states(queue: Queue) -> Queue:
    """A queue with one job per state, keys, dependencies, and text that is hard to write."""
    every_state(queue)
    queue.run(
        "enqueue", "--id", "odd", "--unique", "a key",
        "--env", "TOKEN=s\u00e9cr\u00e8t\n\t\U0001f600",
        "--after", "dead", "--after-any", "pending", "--delay", "1h", "--label", "caf\u00e9",
        "--timeout", "0", "--retry-delay", "1.5",
        "--shell", "/bin/bash", "echo '\u00e9\u2028\U0001f600' \"\n\\\\\"",
    )  # fmt: skip
    queue.ok("enqueue", "--id", "free", "--unique", "old key", "--backoff", "7", "true")
    queue.ok("cancel", "free", "--reason", 'no "need"\n')
    return queue


def _other(queue: Queue) -> list[str]:
    return ["--db", str(queue.folder / "other.db")]


def _fields(lines: list[str]) -> dict[str, Any]:
    return {job["id"]: job for job in map(json.loads, lines)}


def test_an_import_into_an_empty_queue_exports_the_same(states: Queue) -> None:
    """All fields and the order are kept; only a running job arrives as pending."""
    exported = states.ok("export")
    assert states.ok(*_other(states), "import", "-", stdin=exported) == "10 imported"
    again = states.ok(*_other(states), "export")

    expected = _fields(exported.split("\n"))
    assert list(expected) == states.ids()
    assert (expected["odd"]["retry_delay"], expected["free"]["backoff"]) == (1.5, 7.0)
    assert expected["odd"]["shell"] == "/bin/bash"
    running = expected["processing"]
    assert (running["state"], running["attempts"]) == ("processing", 1)
    running.update(state="pending", attempts=0)
    assert _fields(again.split("\n")) == expected
    assert list(_fields(again.split("\n"))) == list(expected)


def test_imported_jobs_run(states: Queue) -> None:
    """Pending jobs run, blocked jobs follow them, and a unique key is held."""
    carried = states.ok("export", "--state", "pending,blocked,dead")
    lines = [line.replace("run pending", "true").replace("run blocked", "true")
             for line in carried.split("\n")]  # fmt: skip
    states.ok(*_other(states), "import", "-", stdin="\n".join(lines))
    states.drain(*_other(states))
    counts = states.json(*_other(states), "status")["jobs"]

    assert {state: n for state, n in counts.items() if n} == {
        "completed": 2, "dead": 1, "blocked": 1,
    }  # fmt: skip
    assert states.ok(*_other(states), "enqueue", "--unique", "a key", "true") == "odd"


def test_one_taken_id_refuses_the_whole_import(states: Queue) -> None:
    """The exit code is 1, the message names the id, and no job is imported."""
    states.ok(*_other(states), "enqueue", "--id", "cancelled", "true")

    assert states.fails(1, *_other(states), "import", "-", stdin=states.ok("export")) == (
        "queuectl import: a job cancelled exists already and is pending "
        "(to leave it out use --skip-existing)"
    )
    assert states.ok(*_other(states), "list", "--ids") == "cancelled"


def test_skip_existing_imports_the_other_jobs(states: Queue) -> None:
    """Existing jobs do not change, and the numbers of both are printed."""
    states.ok(*_other(states), "enqueue", "--id", "dead", "mine")
    out = states.ok(*_other(states), "import", "--skip-existing", "-", stdin=states.ok("export"))

    assert out == "9 imported, 1 skipped"
    assert states.json(*_other(states), "show", "dead")["command"] == "mine"


def test_a_dependency_that_is_met_in_the_other_queue_does_not_block(queue: Queue) -> None:
    """Regression: a job whose dependency had completed there stayed blocked for ever."""
    queue.enqueue("true", "--id", "need")
    queue.enqueue("true", "--id", "waits", "--after", "need")
    exported = queue.ok("export")
    queue.run_as_if("completed")
    queue.ok("cancel", "waits")
    queue.ok("prune", "waits")
    queue.ok("import", "--skip-existing", "-", stdin=exported)

    assert queue.state("waits") == "pending"


@pytest.mark.parametrize("field", ["after", "after_any"])
def test_a_cycle_of_dependencies_is_not_imported(queue: Queue, field: str) -> None:
    """The jobs could never run: the exit code is 2."""
    lines = [json.dumps({"id": one, "command": "true", "state": "blocked", field: [other]})
             for one, other in ("ab", "ba")]  # fmt: skip

    assert queue.fails(2, "import", "-", stdin="\n".join(lines)).startswith(
        "queuectl import: the dependencies form a cycle through "
    )
    assert queue.ids() == []


def test_a_job_that_was_being_cancelled_arrives_as_cancelled(queue: Queue) -> None:
    """As a pending job it would run again, although somebody cancelled it."""
    queue.enqueue("true", "--id", "a")
    with queue.opened() as storage:
        storage.claim("5a5a5a5a-1", now=utcnow())
    queue.ok("cancel", "a", "--reason", "no need")
    queue.ok(*_other(queue), "import", "-", stdin=queue.ok("export"))
    job = queue.json(*_other(queue), "show", "a")

    assert (job["state"], job["cancel_reason"]) == ("cancelled", "no need")
    assert job["finished_at"] is not None


def test_jobs_that_change_during_an_export_can_be_imported(queue: Queue) -> None:
    """A job that is unblocked after its page was read is not written as blocked."""
    queue.enqueue("true", "--id", "need")
    queue.enqueue("true", "--id", "waits", "--after", "need")
    with queue.opened() as storage:
        carried = storage.export(Selection())
        first = next(carried)
        storage.cancel(storage.get("need"), now=utcnow())
        storage.retry(storage.get("need"), now=utcnow())
        claim = storage.claim("5a5a5a5a-1", now=utcnow())
        assert claim is not None
        storage.record(
            claim, Outcome(OutcomeKind.OK, exit_code=0), Verdict(JobState.COMPLETED), now=utcnow()
        )
        second = next(carried)

    assert (first.job.id, second.job.id) == ("need", "waits")
    assert (second.job.state.value, second.after) == ("pending", ())


def test_variables_can_be_left_out(states: Queue) -> None:
    """`--mask-env` leaves out env; without it the values are written unmasked."""
    plain = _fields(states.export())
    masked = _fields(states.export("--mask-env"))

    assert plain["completed"]["env"]["TOKEN"] == "secret"
    assert [job for job in masked.values() if "env" in job] == []
    assert masked["odd"]["command"] == plain["odd"]["command"]


def test_export_writes_only_selected_jobs(states: Queue) -> None:
    """They are selected by queue and by state."""
    assert list(_fields(states.export("--queue", "q"))) == ["completed"]
    assert list(_fields(states.export("--state", "dead,pending"))) == ["dead", "pending"]
    assert states.export("--state", "dead", "--queue", "q") == []


def test_a_terminal_that_is_not_utf_8_gets_escapes(states: Queue) -> None:
    """They are the escapes of JSON, so the output can still be read back."""
    out = states.run("export", env={"PYTHONIOENCODING": "latin-1"}, as_process=True).out

    assert out.isascii()
    assert _fields(out.strip().split("\n")) == _fields(states.export())


def test_the_file_is_private_and_no_file_is_overwritten(states: Queue) -> None:
    """It may hold secrets: 0600 with any umask. If the file exists, the exit code is 1."""
    path = states.work / "jobs.jsonl"
    old = os.umask(0)
    try:
        assert states.ok("export", "jobs.jsonl") == ""
    finally:
        os.umask(old)
    written = path.read_text()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert written.rstrip("\n").split("\n") == states.export()
    assert states.fails(1, "export", "jobs.jsonl", "--state", "dead") == (
        "queuectl export: jobs.jsonl exists already"
    )
    assert path.read_text() == written
    (states.work / "link").symlink_to("elsewhere")
    assert states.fails(1, "export", "link") == "queuectl export: link exists already"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_export_leaves_no_file(
    states: Queue, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Regression: after Ctrl+C or TERM a partial file looked complete, later it was left under
    another name. The command ends by the signal.
    """
    lines = []

    def end_at_the_third(*args: Any, **kwargs: Any) -> str:
        lines.append(to_line(*args, **kwargs))
        if len(lines) == 3:
            os.kill(os.getpid(), number)
        return lines[-1]

    monkeypatch.setattr(transfer, "to_line", end_at_the_third)

    assert states.run("export", "jobs.jsonl").code == -number
    assert list(states.work.iterdir()) == []


def test_an_export_that_ignores_a_signal_goes_on(
    states: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that was ignored at the start, as by nohup, stays ignored."""
    whole = states.export()

    def line(*args: Any, **kwargs: Any) -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        return to_line(*args, **kwargs)

    monkeypatch.setattr(transfer, "to_line", line)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        states.ok("export", "jobs.jsonl")
    finally:
        signal.signal(signal.SIGHUP, before)

    assert (states.work / "jobs.jsonl").read_text().splitlines() == whole


def test_a_file_that_cannot_be_created_is_named(states: Queue) -> None:
    """The exit code is 1."""
    assert states.fails(1, "export", "none/x") == (
        "queuectl export: cannot write none/x: No such file or directory"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nope", "line 2: not a JSON object: "),
        ("[1]", "line 2: not a JSON object: it is not an object"),
        ('{"id": "b"}', "line 2: there is no command"),
        ('{"command": "true"}', "line 2: there is no id"),
        ('{"id": "b", "command": "x", "stat": "dead"}', "line 2: unknown field 'stat'"),
        ('{"id": "b", "command": "x", "state": "done"}', "line 2: no such state: 'done'"),
        ('{"id": "b", "command": "x", "state": 5}', "line 2: no such state: 5"),
        ('{"id": "b", "command": "x", "state": []}', "line 2: no such state: []"),
        (
            '{"id": "b", "command": "x", "state": "dead"}',
            "line 2: a dead job must have finished_at",
        ),
        ('{"id": "b", "command": "x", "state": "failed"}', "line 2: a failed job must have run_at"),
        ('{"id": "b", "command": "x", "state": "blocked"}', "line 2: a blocked job, and no other"),
        ('{"id": "b", "command": "x", "after": "a"}', "line 2: a blocked job, and no other"),
        ('{"id": "b", "command": "x", "attempts": -1}', "line 2: attempts must be "),
        (
            '{"id": "b", "command": "x", "attempts": 3}',
            "line 2: a pending job must have fewer attempts ",
        ),
        (
            '{"id": "b", "command": "x", "attempts": 1, "max_retries": 1, "state": "failed", '
            '"run_at": "2026-01-31T12:00Z"}',
            "line 2: a failed job must have fewer attempts than max_retries",
        ),
        (
            '{"id": "b", "command": "x", "attempts": 9, "state": "processing"}',
            "line 2: a pending job must have fewer attempts than max_retries",
        ),
        ('{"id": "b", "command": "x", "cwd": "x"}', "line 2: cwd must be an absolute path"),
        ('{"id": "b", "command": "x", "cwd": ""}', "line 2: cwd must be an absolute path"),
        ('{"id": "b", "command": "x", "created_at": "2026"}', "line 2: created_at must be "),
        ('{"id": "b", "command": "x", "run_at": 5}', "line 2: run_at must be "),
        ('{"id": "b", "command": "x", "cwd": "\\u0000"}', "line 2: cwd must be text"),
        ('{"id": "b", "command": "x", "cancel_reason": "\\ud800"}', "line 2: cancel_reason is not"),
        ('{"id": "b", "command": "x", "id_made": 1}', "line 2: id_made must be true or false"),
        ('{"id": "b", "command": "x", "cancel_requested": true}', "line 2: cancel_requested must"),
        ('{"id": "a,b", "command": "x"}', "line 2: id must be printable"),
        *(
            (
                f'{{"id": "b", "command": "x", "{field}": {value}}}',
                f"line 2: {field} must be {limits}",
            )
            for field, limits, values in [
                ("exit_code", "0 to 255", ["-1", "256", "9" * 40]),
                ("signal", "1 to 64", ["0", "65", "300", "9" * 40]),
                ("attempts", "0 to 1000000", ["-1", "1000001", "9" * 40]),
                ("exit_code", "a whole number", ["1.5", "true", '"1"', "[]"]),
            ]
            for value in values
        ),
        ('{"id": "b", "command": "x", "env": []}', "line 2: env must be an object"),
        ('{"id": "b", "command": "x", "env": {"": "x"}}', "line 2: env: not a variable's name: ''"),
        ('{"id": "b", "command": "x", "env": {"A=": "x"}}', "line 2: env: not a variable's name"),
        ('{"id": "b", "command": "x", "env": {"A\\u0000": ""}}', "line 2: env: not a variable's"),
        ('{"id": "b", "command": "x", "env": {"\\ud800": ""}}', "line 2: a name in env is not"),
        ('{"id": "b", "command": "x", "env": {"A": 1}}', "line 2: env A must be text"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_imported(queue: Queue, line: str, message: str) -> None:
    """The exit code is 2, because the line can never be imported."""
    said = queue.fails(2, "import", "-", stdin='{"id": "a", "command": "true"}\n' + line + "\n")

    assert said.startswith(f"queuectl import: {message}")
    assert not queue.database.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b", "command": "x", "state": "blocked", "after": ["zz"]}', "no such job: zz"),
        ('{"id": "b", "command": "x", "unique_key": "k"}', "…holder"),
        ('{"id": "a", "command": "x"}', "duplicate id a in the input"),
    ],
)
def test_a_job_that_does_not_fit_the_queue_refuses_the_whole_import(
    queue: Queue, line: str, message: str
) -> None:
    """The exit code is 1 for an unknown dependency, a held key and a duplicate id."""
    queue.ok("enqueue", "--id", "holder", "--unique", "k", "true")
    said = queue.fails(1, "import", "-", stdin='{"id": "a", "command": "true"}\n' + line + "\n")

    assert message.lstrip("…") in said
    assert message.startswith("…") or said.startswith(f"queuectl import: {message}")
    assert queue.ids() == ["holder"]


def test_dependencies_of_imported_jobs_are_whole_ids(queue: Queue) -> None:
    """A missing dependency is not mistaken for a job whose id begins with the same digits."""
    made = queue.enqueue("true")
    while made[:6].isdecimal():  # a message hints that this could be meant as a number
        made = queue.enqueue("true")
    line = json.dumps({"id": "b", "command": "x", "state": "blocked", "after": [made[:6]]})

    assert queue.fails(1, "import", "-", stdin=line).endswith(f"no such job: {made[:6]}")


def test_a_backup_is_a_queue(states: Queue) -> None:
    """One private file opens with --db and has the same jobs, except that none is running."""
    path = states.folder / "copy.db"
    states.ok("backup", "-q", str(path))

    assert sorted(found.name for found in states.folder.glob("copy*")) == ["copy.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    expected = _fields(states.export())
    expected.pop("processing")
    copied = _fields(states.export("--db", str(path)))
    assert copied.pop("processing")["state"] == "failed"
    assert copied == expected
    assert states.ok("--db", str(path), "cancel", "pending") == "pending is cancelled"
    assert states.state("pending") == "pending"


def test_jobs_that_ran_are_lost_in_a_backup(queue: Queue) -> None:
    """As with a dead worker, the attempt counts, and the job is retried, dead or cancelled.

    Regression: the job stayed in processing, and the workers of both queues recovered it.
    """
    for job, *options in (("again",), ("last", "--max-retries", "1"), ("ended",)):
        queue.enqueue("true", "--id", job, *options)
    queue.enqueue("true", "--id", "follows", "--after-any", "last")
    with queue.opened() as storage:
        pid = os.getpid()
        storage.register_worker(Worker("w-1", "w", pid, None, None, "host", (), utcnow()))
        for _ in range(3):
            storage.claim("w-1", now=utcnow())
    queue.ok("cancel", "ended")
    path = str(queue.folder / "copy.db")
    queue.ok("backup", path)

    copy = ["--db", path]
    shown = [queue.json(*copy, "show", job) for job in ("again", "last", "ended", "follows")]
    assert [(job["state"], job["attempts"]) for job in shown] == [
        ("failed", 1), ("dead", 1), ("cancelled", 1), ("pending", 0),
    ]  # fmt: skip
    assert [job["executions"][0]["outcome"] for job in shown[:3]] == ["lost"] * 3
    assert shown[1]["last_error"] == "lost: it ran when the backup was taken"
    assert queue.json(*copy, "worker", "list") == []
    assert {found["level"] for found in queue.json(*copy, "doctor")} == {"ok"}
    assert queue.counts() == {"processing": 3, "blocked": 1}


def test_a_backup_overwrites_nothing(states: Queue) -> None:
    """If the file exists, or its folder does not, the exit code is 1 and nothing is left."""
    (states.work / "taken").write_text("mine")

    assert states.fails(1, "backup", "taken") == "queuectl backup: taken exists already"
    assert (states.work / "taken").read_text() == "mine"
    assert states.fails(1, "backup", "none/x").startswith("queuectl backup: cannot write none/x")
    assert [found.name for found in states.work.iterdir()] == ["taken"]


def test_a_backup_changes_only_its_own_file(states: Queue) -> None:
    """Regression: it removed FILE.unfinished, even if that was somebody's queue or backup."""
    other = states.folder / "copy.db.unfinished"
    other.write_text("another's")
    states.ok("backup", str(states.folder / "copy.db"))

    assert other.read_text() == "another's"
    assert sorted(found.name for found in states.folder.glob("copy*")) == [
        "copy.db", "copy.db.unfinished",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_backup_leaves_no_file(
    states: Queue, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Regression: it left `.unfinished` and `.unfinished-journal`."""

    def end(copy: sqlite3.Connection) -> None:
        copy.execute("UPDATE jobs SET priority = priority")
        assert [path.suffix for path in states.work.iterdir()] == [".unfinished"]
        os.kill(os.getpid(), number)

    monkeypatch.setattr(schema, "name_queue", end)

    assert states.run("backup", "copy.db").code == -number
    assert list(states.work.iterdir()) == []


def test_a_backup_in_steps_is_the_queue_at_one_moment(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others commit between two steps is not in it, and does not make it begin again."""
    monkeypatch.setattr(copies, "_PAGES_AT_ONCE", 1)
    queue.add_many(*("true" for _ in range(300)))
    steps = []

    class Connection(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, **options: Any) -> None:
            def between(*_: int) -> None:
                steps.append(1)
                if len(steps) in (2, 20):
                    queue.ok("enqueue", "-q", "true", as_process=True)

            super().backup(target, **{**options, "progress": between})

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    with queue.opened() as storage:
        storage.back_up(str(queue.work / "copy.db"), now=utcnow())
    monkeypatch.undo()
    pages = len(steps)

    assert len(queue.ok("--db", "copy.db", "list", "--ids").split()) == 300
    assert len(queue.ids()) == 302
    assert pages < 1000


@pytest.mark.parametrize("verb", ["backup", "export"])
def test_damage_is_said_of_the_queue_not_of_the_copy(queue: Queue, verb: str) -> None:
    """Regression: `backup` said that it cannot write the copy."""
    queue.add_many(*("true" * 100 for _ in range(300)))
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()
        (page_bytes,) = conn.execute("PRAGMA page_size").fetchone()
    with by_hand(), open(queue.database, "r+b") as file:
        file.seek((root - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)

    line = queue.fails(1, verb, "copy")
    assert line.startswith(f"queuectl {verb}: {queue.database} is damaged or not a queue: ")
    assert not (queue.work / "copy").exists()


@pytest.mark.parametrize("verb", ["export", "backup"])
def test_a_file_system_without_links_is_enough(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """As on vfat: the file still gets its name, and never replaces another file."""

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    queue.enqueue("true", "--id", "a")
    monkeypatch.setattr(os, "link", refuse)
    queue.ok(verb, str(queue.work / "copy"))
    again = queue.run(verb, str(queue.work / "copy"))

    assert again.err == f"queuectl {verb}: {queue.work / 'copy'} exists already\n"
    assert [path.name for path in queue.work.iterdir()] == ["copy"]
    assert (queue.work / "copy").stat().st_size > 0


@pytest.mark.parametrize("verb", ["export", "backup"])
def test_a_missing_folder_is_named(queue: Queue, verb: str) -> None:
    """Regression: the error of backup named a temporary file."""
    queue.enqueue("true")

    assert queue.fails(1, verb, "nowhere/x") == (
        f"queuectl {verb}: cannot write nowhere/x: No such file or directory"
    )


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.parametrize("moment", ["made", "linked"])
@pytest.mark.parametrize("verb", ["export", "backup"])
def test_a_file_whose_name_another_program_takes_is_neither_written_nor_published(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, verb: str, moment: str, kind: str
) -> None:
    """Prevents: in a folder that others can write, a private file of the caller was overwritten.

    The file was made safely (O_EXCL), and then opened again by a name that had come to mean another
    file.
    """
    queue.enqueue("true", "--id", "a")
    drop, private = queue.folder / "drop", queue.folder / "private"
    drop.mkdir()
    drop.chmod(0o777)
    private.write_text("private\n")
    real_open, real_link, swapped = os.open, os.link, []

    def swap(name: Any) -> None:
        if os.path.dirname(str(name)) == str(drop) and not swapped:
            swapped.append(name)
            prepared = f"{drop}/prepared"
            os.symlink(private, prepared) if kind == "symbolic" else real_link(private, prepared)
            os.rename(prepared, name)

    def racing_open(name: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        descriptor = real_open(name, flags, *args, **kwargs)
        if moment == "made" and flags & os.O_EXCL:
            swap(name)
        return descriptor

    def racing_link(name: Any, *args: Any, **kwargs: Any) -> None:
        if moment == "linked":
            swap(name)
        real_link(name, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", racing_open)
        patched.setattr(os, "link", racing_link)
        line = queue.fails(1, verb, str(drop / "out"))

    assert line == f"queuectl {verb}: cannot write {drop}/out: another program replaced it"
    assert private.read_text() == "private\n"


def test_a_backup_into_a_folder_of_others_is_the_same(states: Queue) -> None:
    """There it is made elsewhere, and copied: nobody can read or swap it meanwhile."""
    drop = states.folder / "drop"
    drop.mkdir()
    drop.chmod(0o1777)
    scratch = states.folder / "scratch"
    scratch.mkdir()

    states.ok("backup", str(drop / "copy.db"), env={"TMPDIR": str(scratch)})

    assert states.ok("--db", str(drop / "copy.db"), "list", "--ids") == states.ok("list", "--ids")
    assert list(scratch.iterdir()) == []
    assert [path.name for path in drop.iterdir()] == ["copy.db"]
    assert stat.S_IMODE((drop / "copy.db").stat().st_mode) == 0o600
