"""Memory does not grow with the number of jobs."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from support.calls import COMMAND
from support.queue import Queue

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")

_MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def _peak_kib(queue: Queue, *words: str, code: int = 0) -> int:
    """Run `queuectl WORDS`, which must end with this code; return its peak memory."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, COMMAND, *words],
        stdout=subprocess.PIPE, env=queue.env, timeout=110, check=True,
    )  # fmt: skip
    ended, peak = map(int, done.stdout.split())
    assert (words, ended) == (words, code)
    return peak


def _enqueue(queue: Queue, count: int, length: int) -> int:
    """Enqueue so many jobs with commands of this length; return the peak memory."""
    path = queue.folder / f"{count}.jsonl"
    with path.open("w") as lines:
        for _ in range(count):
            lines.write('{"command": "' + "x" * length + '"}\n')
    return _peak_kib(queue, "enqueue", "--file", str(path))


def test_100_000_jobs_are_enqueued_with_little_memory(queue: Queue) -> None:
    """Memory stays flat however long the input is, and all of it is stored and counted."""
    few = _enqueue(queue, 100, 300)
    many = _enqueue(queue, 100_000, 300)

    assert queue.counts() == {"pending": 100_100}
    assert many - few < 24 * 1024, (few, many)


def _peaks(queue: Queue, count: int) -> dict[str, int]:
    """Run all commands that read or change all jobs on a queue of so many, 3 KB each."""
    queue.env["QUEUECTL_DB"] = str(queue.folder / f"{count}.db")
    _enqueue(queue, count, 3000)
    peaks = {
        words: _peak_kib(queue, *words.split())
        for words in ("list", "list --ids", "list --json", "export", "status")
    }
    peaks["wait --all"] = _peak_kib(queue, "wait", "--all", "--timeout", "0.1", code=124)
    for words in ("cancel --all", "prune --older-than 0"):
        peaks[words] = _peak_kib(queue, *words.split())
    assert queue.counts() == {}
    return peaks


def test_commands_on_all_jobs_hold_a_few_at_a_time(queue: Queue) -> None:
    """The jobs take 18 MB; no command holds more than 4 MiB of them, which is 8 in memory."""
    few, many = _peaks(queue, 600), _peaks(queue, 6000)

    grown = {words: many[words] - few[words] for words in few}
    assert {words: kib for words, kib in grown.items() if kib > 9 * 1024} == {}


def test_show_holds_a_few_attempts_at_a_time(queue: Queue) -> None:
    """Regression: it held all of 20,000 attempts with outputs of 3 KB, 200 MB."""
    peaks: dict[str, list[int]] = {"show": [], "show --json": []}
    for attempts in (600, 20_000):
        job = queue.enqueue("true")
        with closing(sqlite3.connect(str(queue.database))) as connection:
            connection.execute(
                """
                WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                INSERT INTO executions (job_seq, attempt, worker, started_at, finished_at, outcome,
                                        output_bytes, output_tail)
                SELECT seq, i, 'w1', created_at, created_at, 'exit', 3000, zeroblob(3000)
                  FROM n, jobs
                 WHERE id = ?
                """,
                (attempts, job),
            )
            connection.commit()
        for words, seen in peaks.items():
            seen.append(_peak_kib(queue, *words.split(), job))

    assert {words: seen for words, seen in peaks.items() if seen[1] - seen[0] > 6 * 1024} == {}
