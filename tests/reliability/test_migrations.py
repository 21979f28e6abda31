"""Databases of older releases are upgraded, also if processes are killed meanwhile."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Sequence

import pytest

from queuectl.core.times import to_text, utcnow
from queuectl.storage import schema
from support.calls import COMMAND
from support.held import HELD
from support.history import assert_sound
from support.legacy import SHAPES, contents, make
from support.queue import Queue
from support.rows import sql
from support.tracing import (
    Point,
    needs_strace,
    points,
    recording,
    sample,
    under_strace,
    without_queue,
)
from support.waiting import wait_until

pytestmark = [pytest.mark.on_disk, pytest.mark.timeout(3600)]

_RELEASED = sorted((Path(__file__).parents[1] / "storage" / "released").glob("schema-*.sql"))
_STATES = {
    state: state
    for state in "completed failed dead processing pending scheduled blocked cancelled".split()
}
# The next release of queuectl: its schema has one more migration.
_NEXT = """
import sys
from queuectl.storage import schema

def add_column(conn):
    conn.execute("ALTER TABLE jobs ADD COLUMN added TEXT")
    conn.execute("INSERT INTO meta VALUES ('added', '1')")

schema.MIGRATIONS = (*schema.MIGRATIONS, add_column)
schema.VERSION = len(schema.MIGRATIONS)

from queuectl.cli import main
main()
"""
_IDS = ("first", "second")


def _release(queue: Queue, released: Path) -> None:
    """Put the database of a release there; it has one job per state, whose id is the state."""
    with closing(sqlite3.connect(str(queue.database))) as conn:
        conn.executescript(released.read_text())
    queue.database.chmod(0o600)


def _tables(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(str(path))) as conn:
        return conn.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        ).fetchall()


def test_there_is_a_file_of_each_released_schema(queue: Queue) -> None:
    """With them a schema that was changed without a migration is found."""
    assert [path.name for path in _RELEASED] == [
        f"schema-{version}.sql" for version in range(1, schema.VERSION + 1)
    ]


@pytest.mark.parametrize("released", _RELEASED, ids=lambda path: path.stem)
def test_each_released_schema_is_upgraded(queue: Queue, released: Path) -> None:
    """The database then has the tables of a new one and all its jobs, and pending jobs run."""
    _release(queue, released)
    queue.enqueue("true", "--id", "new", "--queue", "other")
    new = queue.folder / "new.db"
    queue.ok("--db", str(new), "enqueue", "true")
    assert _tables(queue.database) == _tables(new)
    assert {job["id"]: job["state"] for job in queue.json("list")} == {**_STATES, "new": "pending"}
    assert [one["outcome"] for one in queue.show("completed")["executions"]] == ["ok"]

    queue.drain("--queue", "other")
    assert queue.state("new") == "completed"


@pytest.mark.parametrize("released", _RELEASED[:3], ids=lambda path: path.stem)
def test_only_what_happens_after_the_upgrade_is_counted(queue: Queue, released: Path) -> None:
    """Also the end of an attempt that a worker of the older release records."""
    _release(queue, released)
    queue.enqueue("true", "--id", "new")
    assert [tally[:3] for tally in queue.storage.totals()] == [("default", "enqueued", 1)]

    sql(
        queue.storage,
        """
        UPDATE executions
           SET outcome = 'ok', finished_at = ?, seconds = 2
         WHERE id = (SELECT execution_id FROM jobs WHERE id = 'processing')
        """,
        to_text(utcnow()),
    )

    for _ in range(2):
        counted = [(tally[:3], sum(tally.wait)) for tally in queue.storage.totals()]
        assert counted == [(("default", "enqueued", 1), 0), (("default", "ok", 1), 0)]
        assert queue.storage.count_attempts() is False


def _two_at_once(
    queue: Queue, program: Sequence[str], options: Sequence[str] = ()
) -> tuple[list[str], str]:
    """Enqueue by two processes at once; return the printed ids, and what was printed on stderr."""
    script = 'for id in first second; do "$@" enqueue --id $id true >$id 2>>said & done; wait'
    for name in (*_IDS, "said"):
        (queue.work / name).write_text("")
    words = under_strace(options) if options else []
    subprocess.run(
        [*words, "sh", "-c", script, "-", *program],
        env=queue.env, cwd=str(queue.work), stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    told = [name for name in _IDS if (queue.work / name).read_text() == name + "\n"]
    return told, (queue.work / "said").read_text()


def _points(queue: Queue, program: Sequence[str]) -> list[Point]:
    prefix = queue.folder / "trace"
    told, said = _two_at_once(queue, program, recording(prefix))
    assert told == list(_IDS), said
    every = points(prefix, queue)
    assert len(every) > 50
    return every


def _killed_and_done_again(queue: Queue, program: Sequence[str], point: Point) -> str:
    """Kill both processes at a point, then start two others; return all that was printed on stderr.

    A job whose id was printed is there.
    """
    told, said = _two_at_once(queue, program, point.inject("signal=SIGKILL"))
    known = subprocess.run(
        [*program, "list", "--ids"],
        env=queue.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    missing = [name for name in _IDS if name not in known.stdout.split()]
    assert (point, set(missing) & set(told)) == (point, set())
    told, again = _two_at_once(queue, program)
    assert (point, told) == (point, missing), again
    return said + known.stderr + again


def _old_file(queue: Queue, shape: str, count: int) -> object:
    """Put a database of the old tool there; return its contents."""
    without_queue(queue)
    for path in queue.folder.glob("queue.db*"):
        path.unlink()
    jobs = [{"id": f"j{n}", "state": "pending", "command": "true"} for n in range(count)]
    make(queue.database, shape, jobs, [("max-retries", "4"), ("unknown", "x")])
    return contents(queue.database)


@needs_strace
def test_an_old_tools_file_is_upgraded_although_processes_are_killed(queue: Queue) -> None:
    """Whatever its shape: it is converted once, loses nothing, and the kept copy is complete."""
    _old_file(queue, "4", 20)
    every = _points(queue, [COMMAND])
    kept = Path(str(queue.database) + ".before-upgrade")
    shapes = list(SHAPES)
    for number, point in enumerate(sample(every, 6)):
        shape = shapes[number % len(shapes)]
        before = _old_file(queue, shape, 20)
        said = _killed_and_done_again(queue, [COMMAND], point)
        assert (point, shape, said.count("the old file is kept") <= 1) == (point, shape, True), said
        assert (point, shape, contents(kept) == before) == (point, shape, True)
        try:
            states = {job["id"]: job["state"] for job in queue.json("list")}
            expected = [f"j{n}" for n in range(20)]
            assert (point, shape, sorted(states)) == (point, shape, sorted([*expected, *_IDS]))
            assert queue.storage.stored_settings() == {"max-retries": "4", "unknown": "x"}
            assert_sound(queue)
        finally:
            queue.close_storage()
    queue.drain()
    assert queue.counts() == {"completed": 22}


@needs_strace
def test_a_migration_is_applied_although_processes_are_killed(queue: Queue) -> None:
    """While old workers run, the database is migrated once and loses nothing.

    The old workers record their running jobs, claim no other, and say what to do.
    """
    program = [sys.executable, "-c", _NEXT]
    _release(queue, _RELEASED[-1])
    every = _points(queue, program)
    for point in sample(every, 3):
        without_queue(queue)
        for name in ("go", "running", "workers.log"):
            (queue.work / name).unlink(missing_ok=True)
        _release(queue, _RELEASED[-1])
        held = queue.enqueue(HELD, "--queue", "held")
        old = queue.start("--queue", "held", workers=2)
        wait_until((queue.work / "running").exists)
        said = _killed_and_done_again(queue, program, point)
        queue.let_go()
        assert (point, old.wait(timeout=60)) == (point, 1)
        assert (
            "the queue was upgraded: start the workers again"
            in (queue.folder / "workers.log").read_text()
        )
        _assert_whole_after(queue, program, point, held, said)


def _assert_whole_after(
    queue: Queue, program: Sequence[str], point: Point, held: str, said: str
) -> None:
    with closing(sqlite3.connect(str(queue.database))) as conn:
        states = dict(conn.execute("SELECT id, state FROM jobs ORDER BY seq"))
        version = conn.execute("PRAGMA user_version").fetchone()[0]
        sound = conn.execute("PRAGMA integrity_check").fetchone()[0]
    # The old pool may have recovered this job, whose worker is dead.
    assert (point, states["processing"] in ("processing", "failed")) == (point, True)
    states["processing"] = "processing"
    expected = {**_STATES, held: "completed", **dict.fromkeys(_IDS, "pending")}
    assert (point, states) == (point, expected), said
    assert (point, version, sound) == (point, schema.VERSION + 1, "ok")
    done = subprocess.run(
        [*program, "doctor"], env=queue.env, capture_output=True, text=True, check=False
    )
    assert (point, done.returncode) == (point, 0), done.stdout
