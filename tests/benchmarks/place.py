"""The folder of a run, with queues and their processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Iterator

from measurement import Missing
from sizes import Sizes

QUEUECTL = str(Path(sys.executable).with_name("queuectl"))
PATIENCE_SECONDS = 300


class Place:
    """The folder of one run, which is deleted when the run ends."""

    def __init__(self, root: Path, sizes: Sizes, peer_environment: str | None = None) -> None:
        self.root = root
        self.sizes = sizes
        self.peer_environment = peer_environment
        """The virtual environment of the peer that is called queuectl."""
        self._made = 0

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield an empty folder, and delete it at the end."""
        self._made += 1
        path = self.root / str(self._made)
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def queue(self) -> Iterator[Queue]:
        """Yield a new queue, and delete it at the end."""
        with self.folder() as path:
            yield Queue(path)


class Queue:
    """One queue of the installed queuectl, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        if not os.path.exists(QUEUECTL):
            raise Missing(f"no queuectl beside {sys.executable}")
        self.folder = folder
        self.database = str(folder / "queue.db")
        self.environment = {**os.environ, "QUEUECTL_DB": self.database}

    def call(self, *words: str, stdin: Path | None = None) -> str:
        """Run `queuectl WORDS` to its end and return what it prints."""
        with open(stdin or os.devnull, "rb") as source:
            return subprocess.run(
                [QUEUECTL, *words], env=self.environment, stdin=source, stdout=subprocess.PIPE,
                check=True, timeout=PATIENCE_SECONDS, text=True,
            ).stdout  # fmt: skip

    def json_lines(self, jobs: int, command: str = "true") -> Path:
        """Write a file with so many jobs; return its path."""
        path = self.folder / "jobs.jsonl"
        path.write_text((json.dumps({"command": command}) + "\n") * jobs)
        return path

    def load(self, jobs: int, command: str = "true") -> None:
        """Enqueue so many jobs."""
        self.call("enqueue", "-", "-q", stdin=self.json_lines(jobs, command))

    def drain(self, workers: int) -> float:
        """Run all jobs; return the seconds that `worker start --drain` took."""
        return timed(lambda: self.call("worker", "start", "-c", str(workers), "--drain", "-q"))

    @contextlib.contextmanager
    def workers(self, count: int) -> Iterator[list[int]]:
        """Run so many workers; yield the PIDs of the supervisor and the workers."""
        process = subprocess.Popen(
            [QUEUECTL, "worker", "start", "-c", str(count), "-q"],
            env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until(lambda: self._ready(count))
            yield [process.pid] + [int(one["pid"]) for one in self._listed()]
        finally:
            stop(process)

    def _listed(self) -> list[dict[str, Any]]:
        return list(json.loads(self.call("worker", "list", "--json")))

    def _ready(self, count: int) -> bool:
        return os.path.exists(self.database) and len(self._listed()) == count

    def read(self, query: str) -> list[Any]:
        """Return the rows of a query, read directly from the database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    def finished(self) -> int:
        """Return the number of completed jobs."""
        rows = self.read("SELECT coalesce(sum(jobs), 0) FROM job_counts WHERE state = 'completed'")
        return int(rows[0][0])


def timed(do: Callable[[], Any]) -> float:
    """Return the seconds that a function takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.005)


def epoch_seconds(text: str) -> float:
    """Convert a time of the database to seconds since the epoch."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def stamp(folder: Path) -> str:
    """Return a command that appends the current time to a file of a folder."""
    return f"date +%s.%N >> {folder}/stamps"


def stamps(folder: Path) -> list[float]:
    """Return when these commands ran, in seconds since the epoch."""
    path = folder / "stamps"
    try:
        return [float(line) for line in path.read_text().splitlines()] if path.exists() else []
    except ValueError as error:
        raise Missing("a date that knows %N") from error


def stop(process: subprocess.Popen[Any], seconds: float = 20) -> None:
    """Terminate a child process and reap it; kill it if it does not exit."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
