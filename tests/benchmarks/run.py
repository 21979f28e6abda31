"""Measure queuectl against the limits of this machine: ratios, in interleaved rounds.

    python tests/benchmarks/run.py                     7 rounds, about 4 minutes
    python tests/benchmarks/run.py --short             1 round of small sizes, under a minute
    python tests/benchmarks/run.py --json FILE         the medians as JSON, too

Uses the installed `queuectl` beside the interpreter it runs on. It judges nothing: a figure is a
figure. GNU parallel is measured where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

from queuectl import files
from queuectl.specs import JobSpec
from queuectl.storage import Storage
from queuectl.times import utcnow

COMMAND = str(Path(sys.executable).with_name("queuectl"))


class Figure(NamedTuple):
    """One measurement: what, in which unit, and which other figure it is held against."""

    name: str
    unit: str
    measure: Callable[[], float]
    against: Optional[str] = None


class Sizes(NamedTuple):
    """How much is done in a round."""

    jobs: int
    lines: int
    pick_ups: int
    history: int


FULL = Sizes(jobs=10_000, lines=100_000, pick_ups=200, history=1_000_000)
SHORT = Sizes(jobs=300, lines=2_000, pick_ups=20, history=10_000)


class Queue:
    """A queue in a folder of its own."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "queue.db")
        self.env = {**os.environ, "QUEUECTL_DB": self.path}

    def run(self, *args: str, stdin: Optional[bytes] = None) -> None:
        subprocess.run(
            [COMMAND, *args], env=self.env, input=stdin, stdout=subprocess.DEVNULL, check=True
        )

    @contextmanager
    def storage(self) -> Iterator[Storage]:
        opened = Storage.open(files.find(self.path, None, True), create=True)
        try:
            yield opened
        finally:
            opened.close()

    def fill(self, count: int) -> None:
        """Enqueue so many jobs that do nothing."""
        with self.storage() as storage:
            spec = JobSpec(command="true", cwd="/")
            storage.enqueue_each(
                (spec for _ in range(count)), lambda _: None, now=utcnow(), environ={}
            )

    def add_history(self, count: int) -> None:
        """Put so many completed jobs in, by SQL."""
        with self.storage():
            pass
        with sqlite3.connect(self.path) as conn:
            conn.execute(
                """
                WITH RECURSIVE numbers (n) AS (
                    SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?
                )
                INSERT INTO jobs (id, command, state, created_at, updated_at, finished_at)
                SELECT printf('old-%d', n), 'true', 'completed', '2026-01-01T00:00:00.000000Z',
                       '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z'
                  FROM numbers
                """,
                (count,),
            )
        conn.close()


@contextmanager
def fresh_queue() -> Iterator[Queue]:
    with tempfile.TemporaryDirectory(prefix="queuectl-bench-") as folder:
        yield Queue(folder)


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def drain(sizes: Sizes, durability: str = "full", history: int = 0) -> float:
    """Return jobs a second of `worker start --count 2 --drain`, its own start included."""
    with fresh_queue() as queue:
        if history:
            queue.add_history(history)
        queue.run("config", "set", "-q", "durability", durability)
        queue.fill(sizes.jobs)
        start = ("worker", "start", "--count", "2", "--drain", "--quiet")
        return sizes.jobs / seconds(lambda: queue.run(*start))


def piped(program: List[str], sizes: Sizes) -> float:
    """Return jobs a second of a program that reads commands."""
    lines = b"true\n" * sizes.jobs
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return sizes.jobs / seconds(lambda: subprocess.run(program, input=lines, check=True, **quiet))


def bulk(sizes: Sizes) -> float:
    """Return jobs a second of one `enqueue -`."""
    lines = b'{"command": "true", "priority": 3}\n' * sizes.lines
    with fresh_queue() as queue:
        return sizes.lines / seconds(lambda: queue.run("enqueue", "-", "-q", stdin=lines))


def process(*words: str) -> float:
    """Return the milliseconds of one process, the median of several."""
    with fresh_queue() as queue:
        queue.fill(1)
        quiet = {"env": queue.env, "stdout": subprocess.DEVNULL}
        runs = [seconds(lambda: subprocess.run(words, check=True, **quiet)) for _ in range(15)]
    return 1000 * statistics.median(runs)


def pick_up(sizes: Sizes) -> float:
    """Return the milliseconds from a call of enqueue to the claim by one of 4 idle workers."""
    with fresh_queue() as queue:
        queue.run("worker", "start", "--count", "4", "--detach", "--quiet")
        try:
            with queue.storage() as storage:
                delays = []
                for _ in range(sizes.pick_ups):
                    began = utcnow()
                    made = storage.enqueue([JobSpec(command="true", cwd="/")], now=began)[0]
                    while not (ran := storage.executions(storage.get(made.id))):
                        time.sleep(0.0005)
                    delays.append(1000 * (ran[0].started_at - began).total_seconds())
                    time.sleep(0.01)
        finally:
            queue.run("worker", "stop", "--quiet")
    return statistics.median(delays)


def figures(sizes: Sizes) -> List[Figure]:
    python = sys.executable
    found = [
        Figure("xargs -P2 sh -c", "jobs/s",
               lambda: piped(["xargs", "-P2", "-I{}", "sh", "-c", "{}"], sizes)),
        Figure("drain, 2 workers", "jobs/s", lambda: drain(sizes), "xargs -P2 sh -c"),
        Figure("drain, durability normal", "jobs/s", lambda: drain(sizes, "normal"),
               "xargs -P2 sh -c"),
        Figure(f"drain, {sizes.history:,} finished jobs", "jobs/s",
               lambda: drain(sizes, history=sizes.history), "drain, 2 workers"),
        Figure("python -c 'import click, sqlite3'", "ms",
               lambda: process(python, "-c", "import click, sqlite3")),
        Figure("enqueue", "ms", lambda: process(COMMAND, "enqueue", "true"),
               "python -c 'import click, sqlite3'"),
        Figure("status", "ms", lambda: process(COMMAND, "status"),
               "python -c 'import click, sqlite3'"),
        Figure("enqueue of JSON Lines", "jobs/s", lambda: bulk(sizes)),
        Figure("pick-up by 4 idle workers", "ms", lambda: pick_up(sizes)),
    ]  # fmt: skip
    if shutil.which("parallel"):
        program = ["parallel", "-j2", "--joblog", os.devnull]
        found.insert(1, Figure("GNU parallel -j2 --joblog", "jobs/s",
                               lambda: piped(program, sizes), "xargs -P2 sh -c"))  # fmt: skip
    return found


def machine() -> Dict[str, str]:
    kind = files.file_system(tempfile.gettempdir()) or "unknown"
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "file system": kind,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--short", action="store_true", help="one round of small sizes")
    parser.add_argument("--rounds", type=int, help="rounds (default: 7, short 1)")
    parser.add_argument("--json", metavar="FILE", help="write the medians there, too")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.short else 7)
    wanted = figures(SHORT if options.short else FULL)
    measured: Dict[str, List[float]] = {figure.name: [] for figure in wanted}
    for number in range(rounds):
        for figure in wanted:
            measured[figure.name].append(figure.measure())
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    rows = []
    for figure in wanted:
        values = measured[figure.name]
        against = measured.get(figure.against or "")
        # A ratio of each round, and their median: what else ran then slowed both.
        ratio = statistics.median(a / b for a, b in zip(values, against)) if against else None
        rows.append({"name": figure.name, "median": statistics.median(values),
                     "unit": figure.unit, "ratio": ratio, "against": figure.against})  # fmt: skip
    for name, value in machine().items():
        print(f"{name}: {value}")
    for row in rows:
        held = "" if row["ratio"] is None else f"  {row['ratio']:.2f} of {row['against']}"
        print(f"{row['name']:<36}{row['median']:>10.1f} {row['unit']:<7}{held}")
    if options.json:
        Path(options.json).write_text(
            json.dumps({**machine(), "rounds": rounds, "figures": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
