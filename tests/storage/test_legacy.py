"""The file of the tool that queuectl replaces: upgraded in place, nothing lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest

from queuectl.core.models import Selection
from queuectl.core.states import JobState
from queuectl.host.files import find
from queuectl.storage import Storage, schema
from support.forks import in_processes
from support.legacy import OLD, OLD_TIME, SHAPES, contents, iso, make
from support.watch.file_watch import by_hand


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.db"


def upgrade(path, notice=None):
    return Storage.open(find(str(path), None, False), notice=notice)


def upgraded(path):
    """Open the file, which upgrades it; return its jobs in their order."""
    storage = upgrade(path)
    jobs = list(storage.jobs(Selection()))
    storage.close()
    return jobs


def upgraded_job(path, shape="4", **job):
    make(path, shape, [job])
    (found,) = upgraded(path)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_upgraded_in_place(path, shape):
    """A file of any shape becomes a queue of the present schema, with its jobs and keys."""
    make(path, shape, [{"id": "a"}, {"id": "b"}], [("max-retries", "5")])
    told = []
    storage = upgrade(path, told.append)
    jobs = [(job.id, job.command, job.state) for job in storage.jobs(Selection())]
    keys, most = storage.stored_settings(), storage.settings().max_retries
    storage.close()
    with closing(sqlite3.connect(str(path))) as conn:
        marks = [
            conn.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode", "integrity_check")
        ]
        fresh = sqlite3.connect(":memory:", isolation_level=None)
        schema.migrate(fresh, 0)
        query = """SELECT name, sql FROM sqlite_master
                    WHERE sql IS NOT NULL AND name <> 'config' ORDER BY name"""
        tables, expected = conn.execute(query).fetchall(), fresh.execute(query).fetchall()
        fresh.close()

    assert jobs == [("a", "true", JobState.PENDING), ("b", "true", JobState.PENDING)]
    assert (keys, most) == ({"max-retries": "5"}, 5)
    assert marks == [schema.APPLICATION_ID, schema.VERSION, "wal", "ok"]
    assert tables == expected
    assert told == [f"upgraded {path}; the old file is kept as {path}.before-upgrade"]


def test_a_plain_job_keeps_its_values(path):
    """Id, command, times, attempts and priority stay; it has no folder of its own."""
    later = OLD_TIME + timedelta(days=1)
    job = upgraded_job(
        path, id="nightly", command="make -s", state="completed", attempts=2, max_retries=7,
        priority="high", updated_at=iso(later),
    )  # fmt: skip

    assert (job.id, job.id_made, job.command) == ("nightly", False, "make -s")
    assert (job.state, job.attempts, job.max_retries) == (JobState.COMPLETED, 2, 7)
    assert (job.created_at, job.updated_at, job.finished_at) == (OLD_TIME, later, later)
    assert (job.priority, job.queue, job.cwd, dict(job.env)) == (10, "default", None, {})
    assert (job.locked_by, job.last_error) == (None, None)


def test_jobs_keep_their_order(path):
    """By created_at, and with the same created_at as they were stored."""
    times = ["2025-11-09T12:00:00+00:00", OLD, "2025-11-08T12:00:00+00:00", OLD]
    make(path, "1", [{"id": f"j{n}", "created_at": at} for n, at in enumerate(times)])

    assert [job.id for job in upgraded(path)] == ["j2", "j0", "j1", "j3"]


@pytest.mark.parametrize(
    ("priority", "expected"),
    [("high", 10), ("medium", 0), ("low", -10), (None, 0), ("urgent", 0), (b"high", 0), (7, 0)],
)
def test_a_priority_becomes_a_number(path, priority, expected):
    """high, medium and low become 10, 0 and -10; anything else becomes medium."""
    assert upgraded_job(path, id="a", priority=priority).priority == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("pending", JobState.PENDING),
        ("processing", JobState.PENDING),
        ("completed", JobState.COMPLETED),
        ("failed", JobState.FAILED),
        ("dead", JobState.DEAD),
    ],
)
@pytest.mark.parametrize("shape", ["1", "4"])
def test_a_state_keeps_its_meaning(path, shape, state, expected):
    """A job that a crash left in processing is to be run again; failed waits for its retry."""
    job = upgraded_job(path, shape, id="a", state=state, attempts=1)

    assert (job.state, job.attempts, job.locked_by) == (expected, 1, None)


@pytest.mark.parametrize("state", ["", "PENDING", "cancelled", "blocked", "x\ny", b"pending", 5])
def test_an_unknown_state_is_dead_with_a_reason(path, state):
    """No row is dropped: such a job is kept for a person to look at."""
    job = upgraded_job(path, id="a", state=state)

    assert job.state is JobState.DEAD
    assert job.last_error.startswith("its state in the old file was unknown: ")
    assert job.finished_at == OLD_TIME


def test_a_pending_job_with_a_retry_to_come_is_failed(path):
    """The old tool kept a job that waited for its retry as pending with a time in the future."""
    due = datetime.now(timezone.utc) + timedelta(days=1)
    job = upgraded_job(path, id="a", attempts=1, next_retry_at=iso(due))

    assert (job.state, job.run_at, job.attempts) == (JobState.FAILED, due, 1)


@pytest.mark.parametrize("retry", ["2025-11-10T00:00:00+00:00", None, "soon", "", b"x", 12])
def test_a_pending_job_without_a_retry_to_come_is_pending(path, retry):
    """A retry time that is past or missing has no effect."""
    job = upgraded_job(path, id="a", attempts=1, next_retry_at=retry)

    assert (job.state, job.run_at, job.attempts) == (JobState.PENDING, None, 1)


def test_a_job_that_may_run_again_has_an_attempt_left(path):
    """The old tool would have run it once more, so queuectl does."""
    job = upgraded_job(path, id="a", attempts=9, max_retries=3)

    assert (job.state, job.attempts, job.max_retries) == (JobState.PENDING, 2, 3)


@pytest.mark.parametrize("number", [-1, "many", "", 2.5, None, 10**15, b"3", 1e300])
def test_a_bad_number_becomes_the_default(path, number):
    """Attempts become 0 and max_retries 3."""
    job = upgraded_job(path, id="a", attempts=number, max_retries=number)

    assert (job.attempts, job.max_retries) == (0, 3)


@pytest.mark.parametrize(("retries", "expected"), [("4", 4), (4.0, 4), (0, 1)])
def test_a_number_of_another_type_is_accepted(path, retries, expected):
    """Text or a float can mean a whole number; no retries means one attempt."""
    assert upgraded_job(path, id="a", max_retries=retries).max_retries == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-11-09T12:34:56+00:00", datetime(2025, 11, 9, 12, 34, 56, tzinfo=timezone.utc)),
        ("2025-11-09T12:34:56", datetime(2025, 11, 9, 12, 34, 56, tzinfo=timezone.utc)),
        ("2025-11-09T12:34:56Z", datetime(2025, 11, 9, 12, 34, 56, tzinfo=timezone.utc)),
        ("2025-11-09T14:34:56+02:00", datetime(2025, 11, 9, 12, 34, 56, tzinfo=timezone.utc)),
    ],
)
def test_a_time_is_read_in_any_form(path, text, expected):
    """With or without a fraction, with an offset or none."""
    assert upgraded_job(path, id="a", created_at=text).created_at == expected


@pytest.mark.parametrize("time_", ["", "yesterday", 0, 17.5, b"x", "0001-01-01T00:00:00+14:00"])
def test_a_bad_time_becomes_now(path, time_):
    """A time that cannot be read becomes the time of the upgrade."""
    before = datetime.now(timezone.utc)
    job = upgraded_job(path, id="a", created_at=time_, updated_at=time_)

    assert before <= job.created_at <= datetime.now(timezone.utc)
    assert job.updated_at == job.created_at


@pytest.mark.parametrize(
    ("job_id", "label"),
    [
        (None, None),
        ("", None),
        ("with space", "with space"),
        ("a,b", "a,b"),
        ("-x", "-x"),
        ("two\nlines", "two?lines"),
        ("x" * 300, "x" * 200),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"raw", "raw"),
    ],
)
def test_an_unusable_id_is_replaced(path, job_id, label):
    """Such a job gets a generated id, and the old id as its label."""
    job = upgraded_job(path, id=job_id)

    assert (len(job.id), job.id_made, job.label) == (12, True, label)


def test_several_jobs_without_an_id_are_all_kept(path):
    """Several rows may have NULL, and each of them is a job."""
    make(path, "1", [{"id": None, "command": f"echo {n}"} for n in range(3)])

    assert [job.command for job in upgraded(path)] == ["echo 0", "echo 1", "echo 2"]


def cast(path, column, *raw):
    """Store bytes that are not UTF-8 as text, which SQLite allows."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as conn:
        for rowid, content in enumerate(raw, 1):
            conn.execute(
                f"UPDATE jobs SET {column} = CAST(? AS TEXT) WHERE rowid = ?", (content, rowid)
            )


def test_ids_that_are_not_utf8_stay_apart(path):
    """Prevents a bug: two of them became the same id, and the upgrade failed for ever."""
    make(path, "1", [{"id": "a"}, {"id": "b"}])
    cast(path, "id", b"\xff", b"\xfe")
    jobs = upgraded(path)

    assert len({job.id for job in jobs}) == 2
    assert [(job.id_made, job.label) for job in jobs] == [(True, "\\xff"), (True, "\\xfe")]


def test_a_command_that_is_not_utf8_is_kept_but_not_run(path):
    """Prevents a bug: a command with other bytes than the stored ones was run."""
    make(path, "1", [{"id": "a"}, {"id": "b", "state": "completed"}])
    cast(path, "command", b"rm x\xff*", b"rm x\xff*")
    waiting, done = upgraded(path)

    assert (waiting.state, waiting.command) == (JobState.DEAD, "rm x\\xff*")
    assert waiting.last_error == "it cannot be run: command is not valid UTF-8"
    assert (done.state, done.last_error) == (JobState.COMPLETED, None)


@pytest.mark.parametrize("command", ["", " ", "a\0b", "x" * 130_001])
def test_a_command_that_cannot_be_run_is_dead_with_a_reason(path, command):
    """It is kept for a person to look at."""
    job = upgraded_job(path, id="a", command=command)

    assert (job.state, job.command) == (JobState.DEAD, command)
    assert job.last_error.startswith("it cannot be run: ")


def test_a_finished_job_keeps_its_state_whatever_its_command(path):
    """Prevents a bug: a finished job became dead because its command would be refused today."""
    job = upgraded_job(path, id="a", command=" ", state="completed")

    assert (job.state, job.last_error) == (JobState.COMPLETED, None)


def test_no_config_key_is_dropped(path):
    """Keys without a meaning are kept as they were, and a bad value counts as unset."""
    keys = {"max-retries": "x", "backoff-base": "3", "backoff-initial-delay": "1", "my key": ""}
    make(path, "1", [], sorted(keys.items()))
    storage = upgrade(path)
    stored, settings = storage.stored_settings(), storage.settings()
    storage.close()

    assert stored == keys
    assert (settings.max_retries, settings.backoff_base) == (3, 3.0)


@pytest.mark.parametrize("value", [b"5", b"\xff"])
def test_a_config_value_of_another_type_stops_nothing(path, value):
    """Prevents a bug: a value that was stored as bytes made every claim fail."""
    make(path, "1", [{"id": "a"}], [("max-retries", value), (None, "x"), ("other", value)])
    cast_config = "UPDATE config SET key = CAST(x'6bff' AS TEXT) WHERE key = 'other'"
    with closing(sqlite3.connect(str(path), isolation_level=None)) as conn:
        conn.execute(cast_config)
    storage = upgrade(path)
    claim = storage.claim("w1", now=datetime.now(timezone.utc))
    stored = storage.stored_settings()
    storage.close()
    with closing(sqlite3.connect(str(path))) as conn:
        rows = conn.execute("SELECT count(*) FROM config").fetchone()

    assert claim.job.id == "a"
    assert claim.settings.max_retries == (5 if value == b"5" else 3)
    assert set(stored) == {"max-retries", "k\\xff"}
    assert rows == (3,)


def test_the_old_file_is_kept_as_it_was(path):
    """The copy beside it has every row with its bytes and types, and only its owner can read it."""
    make(path, "4", [{"id": None, "attempts": "x", "priority": b"y"}, {"id": "b"}], [("k", "v")])
    cast(path, "command", b"\xff", b"ok")
    before = contents(path)
    upgrade(path).close()
    kept = path.with_name(path.name + ".before-upgrade")

    assert contents(kept) == before
    assert kept.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(str(kept))) as conn:
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_an_upgrade_happens_once(path):
    """Opening the file again changes nothing, and prints nothing."""
    make(path, "4", [{"id": "a"}])
    first = upgraded(path)
    told = []
    upgrade(path, told.append).close()

    assert told == []
    assert upgraded(path) == first


def test_two_processes_upgrade_a_file_once(path):
    """The second one finds it done, and no job is lost or doubled."""
    make(path, "4", [{"id": f"j{n}"} for n in range(500)])
    files = find(str(path), None, False)

    def open_it():
        told = []
        storage = Storage.open(files, notice=told.append)
        jobs = sum(storage.by_state().values())
        storage.close()
        return jobs, len(told)

    results = in_processes([open_it] * 4)

    assert [jobs for jobs, _ in results] == [500] * 4
    assert sum(told for _, told in results) == 1


def test_a_killed_upgrade_is_made_again(path):
    """kill -9 at any moment leaves the old file or the new one, with all jobs."""
    make(path, "4", [{"id": f"j{n}"} for n in range(1500)], [("k", "v")])
    began = time.monotonic()
    with by_hand():
        pristine = path.read_bytes()
    before = contents(path)
    upgrade(path).close()
    whole = time.monotonic() - began
    states = set()
    for step in range(8):
        for beside in path.parent.glob("queue.db*"):
            if beside.is_file():
                beside.unlink()
        with by_hand():
            path.touch(0o600)
            path.write_bytes(pristine)
        pid = os.fork()
        if pid == 0:
            try:
                upgrade(path)
            finally:
                os._exit(0)
        time.sleep(whole * step / 8)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with closing(sqlite3.connect(str(path))) as conn:
            states.add(conn.execute("PRAGMA user_version").fetchone()[0])
        assert [job.id for job in upgraded(path)] == [f"j{n}" for n in range(1500)]
        kept = path.with_name(path.name + ".before-upgrade")
        assert contents(kept) == before

    assert states <= {0, schema.VERSION}
    assert 0 in states


def test_only_its_owner_can_read_the_upgraded_file(path):
    """Commands may hold secrets, which others could read in the old file."""
    make(path)
    path.chmod(0o644)
    upgrade(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
