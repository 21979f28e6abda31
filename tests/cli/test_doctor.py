"""`doctor`: each finding in a line, and exit 1 when one fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing


def levels(queue, code=0):
    """Return what each check found, by its name."""
    done = queue.run("doctor")
    assert done.returncode == code, done.stdout + done.stderr
    rows = [line.split(None, 1) for line in done.stdout.splitlines()]
    return {rest.split(":", 1)[0]: level for level, rest in rows}


def sql(queue, statement, *values):
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute(statement, values)
        conn.commit()


def test_a_sound_queue_is_ok_throughout(queue):
    """After a drain every check says ok, and the exit code is 0."""
    queue.enqueue("true")
    queue.drain()

    assert set(levels(queue).values()) == {"ok"}


def test_what_is_found_is_json_too(queue):
    """--json is a list of checks with their levels and messages."""
    queue.enqueue("true")
    found = queue.json("doctor")

    assert {tuple(finding) for finding in found} == {("check", "level", "message")}
    assert {"integrity", "schema", "counts", "workers", "clock"} <= {f["check"] for f in found}


def test_a_wrong_count_fails(queue):
    """The kept counts are held against the rows."""
    queue.enqueue("true")
    sql(queue, "UPDATE job_counts SET jobs = 5")

    assert levels(queue, code=1)["counts"] == "fail"


def test_a_file_that_others_can_write_fails(queue):
    """Whoever can write the queue can run commands as its workers."""
    queue.enqueue("true")
    (queue.folder / "queue.db.d" / "write.lock").chmod(0o666)

    assert levels(queue, code=1)["owner and mode"] == "fail"


def test_a_job_without_its_worker_is_a_warning(queue):
    """The next workers settle it, so nothing has failed."""
    job = queue.enqueue("true")
    sql(
        queue,
        "UPDATE jobs SET state = 'processing', locked_by = 'gone-1', locked_at = updated_at, "
        "execution_id = 1 WHERE id = ?",
        job,
    )

    assert levels(queue)["workers"] == "warn"


def test_a_clock_that_was_set_back_is_a_warning(queue):
    """The newest row must not lie in the future."""
    queue.enqueue("true")
    sql(queue, "UPDATE jobs SET updated_at = '2999-01-01T00:00:00.000000Z'")

    assert levels(queue)["clock"] == "warn"


def test_a_queue_that_is_not_there_yet_is_a_warning(queue):
    """Nothing is made, and nothing has failed."""
    assert levels(queue)["database"] == "warn"
    assert not queue.database.exists()


def test_another_programs_file_fails(queue):
    """It is named and left as it is."""
    with closing(sqlite3.connect(queue.database)) as conn:
        conn.execute("CREATE TABLE other (x)")
        conn.commit()

    assert levels(queue, code=1)["database"] == "fail"
