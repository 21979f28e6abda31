"""Sweeping the logs folder: files that nothing uses any more, and no others."""

from __future__ import annotations

from pathlib import Path

from queuectl.core.states import JobState
from queuectl.worker.chores import sweep_logs
from support.rows import add, finish, keep_log, sql


def test_logs_whose_attempt_is_gone_are_swept(storage, clock):
    """A kill between the commit and the removal of a log leaves it; what is no log of ours stays.

    Keeps out: orphans behind the first 5,000 logs that are in use were never found.
    """
    add(storage, clock.now, "a", "b")
    for job_id in "ab":
        finish(storage, clock.now, job_id, JobState.COMPLETED)
    kept = [keep_log(storage, number) for number in (1, 2)]
    orphans = [keep_log(storage, number) for number in (3, 999, 10**17)]
    folder = Path(storage.files.logs)
    others = [folder / name for name in ("w1.log", "3.txt", "\u00b2.log", "1" * 30 + ".log")]
    for path in others:
        path.touch()

    assert sweep_logs(storage) == 3
    assert [path.exists() for path in orphans] == [False] * 3
    assert all(path.exists() for path in kept + others)


def test_orphans_are_found_behind_many_logs_in_use(storage):
    """Keeps out: only the first 5,000 logs were looked at, so that later orphans stayed."""
    sql(
        storage,
        "INSERT INTO jobs (id, command, created_at, updated_at) VALUES ('a', 'x', '2025', '2025')",
    )
    sql(
        storage,
        """
        WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5200)
        INSERT INTO executions (job_seq, attempt, worker, started_at, output_in_file)
        SELECT 1, i, 'w', '2025', 1 FROM n
        """,
    )
    for number in range(1, 5211):
        keep_log(storage, number)

    assert sweep_logs(storage) == 10


def test_a_folder_of_logs_that_is_gone_has_none(storage):
    """Nothing to sweep is no error."""
    Path(storage.files.logs).rmdir()

    assert sweep_logs(storage) == 0


def test_files_of_gone_workers_and_torn_rewrites_are_swept(storage, clock):
    """A kill between a record and its unlink leaves files that belong to nothing any more."""
    logs = Path(storage.files.logs)
    add(storage, clock.now, "running")
    claim = storage.claim("abc-1", now=clock.now)
    swept = ["dead-7.log", "dead-7.status", "999.log.new", "999.log"]
    kept = ["abc-1.log", "abc-1.status", f"{claim.execution_id}.log.new", "notes.txt"]
    for name in swept + kept:
        (logs / name).write_text("")

    assert sweep_logs(storage) == len(swept)
    assert sorted(path.name for path in logs.iterdir()) == sorted(kept)
