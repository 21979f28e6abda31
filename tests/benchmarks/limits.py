"""The limits of the machine, without any queue."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys

from measurement import Measurement, Missing, single
from place import Place, timed


def measurements(place: Place) -> list[Measurement]:
    """List the measurements of the machine's own limits."""
    return [
        single(
            "xargs", "xargs -P2 -I{} sh -c {}", "jobs/s", lambda: xargs(["true"] * place.sizes.jobs)
        ),
        single("spawn", "posix_spawn of sh -c true, one by one", "jobs/s", lambda: _spawn(place)),
        single("python", "python -c pass", "ms", lambda: _python(place, "pass")),
        single(
            "imports",
            "python -c 'import click, sqlite3'",
            "ms",
            lambda: _python(place, "import click, sqlite3"),
        ),
        single("fsync", "write of 4 KiB and fsync", "1/s", lambda: _fsync(place)),
        single("commit", "SQLite: commits of one row, WAL, FULL", "1/s", lambda: _commits(place)),
        single("insert", "SQLite: rows inserted in one commit", "1/s", lambda: _inserts(place)),
    ]


def xargs(commands: list[str]) -> float:
    """Return the number of commands per second that xargs runs, two at a time."""
    if not shutil.which("xargs"):
        raise Missing("no xargs")
    words = ["xargs", "-P2", "-I{}", "sh", "-c", "{}"]
    lines = "".join(f"{command}\n" for command in commands).encode()
    return len(commands) / timed(lambda: subprocess.run(words, input=lines, check=True))


def _spawn(place: Place) -> float:
    jobs = place.sizes.jobs

    def spawn_all() -> None:
        for _ in range(jobs):
            os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "true"], os.environ), 0)

    return jobs / timed(spawn_all)


def _python(place: Place, program: str) -> float:
    command = [sys.executable, "-c", program]
    return 1000 * statistics.median(
        timed(lambda: subprocess.run(command, check=True)) for _ in range(place.sizes.processes)
    )


def _fsync(place: Place) -> float:
    count = place.sizes.commits
    page = b"\0" * 4096
    with place.folder() as folder, open(folder / "file", "wb", buffering=0) as file:

        def sync_all() -> None:
            for _ in range(count):
                file.write(page)
                os.fsync(file.fileno())

        return count / timed(sync_all)


def _commits(place: Place) -> float:
    count = place.sizes.commits
    with place.folder() as folder, contextlib.closing(_table(str(folder / "db"))) as database:

        def commit_all() -> None:
            for number in range(count):
                database.execute("INSERT INTO jobs (command) VALUES (?)", (f"true {number}",))

        return count / timed(commit_all)


def _inserts(place: Place) -> float:
    count = place.sizes.bulk
    with place.folder() as folder, contextlib.closing(_table(str(folder / "db"))) as database:

        def insert_all() -> None:
            rows = ((f"true {number}",) for number in range(count))
            database.execute("BEGIN")
            database.executemany("INSERT INTO jobs (command) VALUES (?)", rows)
            database.execute("COMMIT")

        return count / timed(insert_all)


def _table(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE jobs (seq INTEGER PRIMARY KEY, command TEXT NOT NULL)")
    return database
