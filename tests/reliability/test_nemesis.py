"""Workers and supervisors are killed, stopped and terminated at random for a while."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from typing import Callable

import pytest

from queuectl.core.models import Job, Selection
from queuectl.core.times import utcnow
from support.history import (
    assert_all_counted,
    assert_nothing_lost_nothing_twice,
    assert_sound,
    entries,
    keeping_a_ledger,
)
from support.hooked import assert_each_event_is_reported, report_all
from support.processes import linux_only, words_of
from support.queue import Queue
from support.schedules import add_schedule, assert_each_time_is_accounted_for
from support.stages import STAGING, assert_no_stage
from support.tracing import LONG
from support.waiting import wait_until

pytestmark = [
    pytest.mark.on_disk,
    linux_only,
    pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock(1)"),
    pytest.mark.timeout(1800),
]

_SECONDS, _JOBS = (300.0, 15000) if LONG else (5.0, 400)
_SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM]
_POOLS, _WORKERS = 2, 3
_BULK_JOBS = 12


def _own_processes(queue: Queue, *commands: bytes) -> list[int]:
    """Return the PIDs of workers and supervisors, not of jobs, which must not be killed.

    Other `commands` are those of queuectl that may be killed as well.
    """
    found = []
    for pid in queue.pids():
        words = words_of(pid)
        if (b"worker" in words and b"start" in words) or set(commands) & set(words):
            found.append(pid)
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class _Nemesis:
    """Keeps pools running, and sends signals to their processes."""

    def __init__(self, queue: Queue, seed: int) -> None:
        self._queue = queue
        self._chance = random.Random(seed)
        self._pools: list[subprocess.Popen[str]] = []
        self._stopped: list[int] = []
        self.done = 0

    def strike_for(self, seconds: float, enough: Callable[[], bool] = lambda: True) -> None:
        """Send a random signal to a random process every 50 to 500 ms, for so long.

        It takes longer if not enough has happened by then, as on a busy machine, where no process
        may live long enough to do anything. Signals become rarer and rarer then.
        """
        began = time.monotonic()
        slowness = 1.0
        while slowness <= 1.0 or self.done <= seconds / 2 or not enough():
            self._restart_pools()
            # This sleep sets the pace of the signals; it does not wait for anything.
            time.sleep(self._chance.uniform(0.05, 0.5) * slowness)
            slowness = max(1.0, (time.monotonic() - began) / seconds)
            for pid in self._stopped:
                _signal(pid, signal.SIGCONT)
            self._stopped = []
            victims = _own_processes(self._queue, b"enqueue")
            if victims:
                victim, number = self._chance.choice(victims), self._chance.choice(_SIGNALS)
                _signal(victim, number)
                self.done += 1
                if number is signal.SIGSTOP:
                    self._stopped.append(victim)

    def leave(self) -> None:
        """Continue stopped processes, and terminate all pools."""
        for pid in self._stopped:
            _signal(pid, signal.SIGCONT)
        for pool in self._pools:
            if pool.poll() is None:
                pool.terminate()
        for pool in self._pools:
            pool.wait(timeout=60)
        wait_until(lambda: not _own_processes(self._queue), 60, "all workers to have left")

    def _restart_pools(self) -> None:
        self._pools = [pool for pool in self._pools if pool.poll() is None]
        while len(self._pools) < _POOLS:
            pool = self._queue.spawn(
                "worker", "start", "--count", str(_WORKERS), "-q",
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self._pools.append(pool)


class _Bulk:
    """A process that enqueues some jobs through a stage, two at a time."""

    def __init__(self, queue: Queue, number: int) -> None:
        self.ids = [f"b{number}.{job}" for job in range(_BULK_JOBS)]
        path = queue.folder / f"bulk-{number}"
        command = keeping_a_ledger("true")
        lines = [
            json.dumps({"id": job, "command": command, "max_retries": 1000}) for job in self.ids
        ]
        path.write_text("\n".join(lines))
        self.process = queue.spawn("enqueue", "--file", str(path), before=STAGING)

    def there(self, jobs: set[str]) -> set[str]:
        """Return its jobs among these: all of them, or none if nothing was acknowledged."""
        out = self.process.communicate(timeout=60)[0].split()
        assert out in ([], self.ids)
        there = jobs & set(self.ids)
        assert there in (set(), set(self.ids))
        if out or self.process.returncode == 0:
            assert there == set(self.ids)
        return there


class _NemesisOfBulks(_Nemesis):
    """Also keeps a process running that enqueues many jobs."""

    def __init__(self, queue: Queue, seed: int) -> None:
        super().__init__(queue, seed)
        self.bulks: list[_Bulk] = []

    def _restart_pools(self) -> None:
        super()._restart_pools()
        if not self.bulks or self.bulks[-1].process.poll() is not None:
            self.bulks.append(_Bulk(self._queue, len(self.bulks)))


def test_signals_at_random_neither_lose_nor_repeat_a_job(queue: Queue) -> None:
    """Each job completes exactly once, and no two attempts of a job run at the same time."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    queue.configure(backoff_base="1", backoff_max="0.05", kill_grace="1")
    commands = [keeping_a_ledger(f"sleep {0.02 * (n % 10)}") for n in range(_JOBS)]
    acknowledged = queue.add_many(*commands, max_retries=1000)
    nemesis = _Nemesis(queue, seed)
    try:
        nemesis.strike_for(_SECONDS, lambda: any(event == "end" for event, *_ in entries(queue)))
    finally:
        nemesis.leave()
    print(f"{len(acknowledged)} jobs, {nemesis.done} signals")
    queue.drain(workers=4, timeout=600)

    assert_nothing_lost_nothing_twice(queue, acknowledged)
    assert {job for _, job, _ in entries(queue)} == set(acknowledged)
    assert queue.counts() == {"completed": len(acknowledged)}
    assert_all_counted(queue)
    assert_sound(queue)
    assert os.listdir(queue.files.workers) == []


def test_signals_at_random_lose_no_report_of_a_hook(queue: Queue) -> None:
    """Each event has one job, which ran at least once: no result is without its hooks.

    Some jobs fail at first, so that failures are reported as well.
    """
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    queue.configure(backoff_base="1", backoff_max="0.05", kill_grace="1")
    report_all(queue)
    fails_once = 'test -e "once.$QUEUECTL_JOB_ID" || { touch "once.$QUEUECTL_JOB_ID"; exit 3; }'
    commands = [keeping_a_ledger(f"sleep 0.0{n % 10}") for n in range(_JOBS // 4)]
    acknowledged = queue.add_many(*commands, max_retries=1000)
    failing = queue.add_many(*[fails_once] * (_JOBS // 20), max_retries=1000)
    nemesis = _Nemesis(queue, seed)
    try:
        nemesis.strike_for(_SECONDS)
    finally:
        nemesis.leave()
    print(f"{len(acknowledged) + len(failing)} jobs, {nemesis.done} signals")
    queue.drain(workers=4, timeout=600)

    assert_nothing_lost_nothing_twice(queue, acknowledged)
    assert {queue.state(job) for job in failing} == {"completed"}
    assert_each_event_is_reported(queue)
    assert_sound(queue)


def _made_by(queue: Queue, schedule: str) -> list[Job]:
    return list(queue.storage.jobs(Selection(schedule=schedule)))


def test_signals_at_random_make_each_planned_time_once(queue: Queue) -> None:
    """No planned time of a schedule is lost, or made twice, and each job runs to its end."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    queue.configure(backoff_base="1", backoff_max="0.05", kill_grace="1")
    job = {"command": keeping_a_ledger("true"), "cwd": str(queue.work), "max_retries": 1000}
    for name in ("s", "t", "u"):
        policy = {"missed": "all", "overlap": "allow"} if name == "s" else {}
        add_schedule(queue.files, name, "every 1s", now=utcnow(), job=job, **policy)
    nemesis = _Nemesis(queue, seed)
    try:
        nemesis.strike_for(_SECONDS, lambda: len(_made_by(queue, "s")) > _SECONDS / 2)
    finally:
        nemesis.leave()
    queue.ok("schedule", "pause", "s", "t", "u")
    queue.drain(workers=4, timeout=600)

    times = assert_each_time_is_accounted_for(queue)
    print(f"{times} planned times, {len(queue.ids())} jobs, {nemesis.done} signals")
    assert times > _SECONDS / 2
    assert_nothing_lost_nothing_twice(queue, queue.ids())
    assert_sound(queue)


def test_signals_at_random_leave_all_or_none_of_many_jobs(queue: Queue) -> None:
    """Processes that enqueue many jobs are struck as well; what they stored runs exactly once."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    queue.configure(backoff_base="1", backoff_max="0.05", kill_grace="1")
    queue.enqueue("true", "--id", "first")
    nemesis = _NemesisOfBulks(queue, seed)
    try:
        nemesis.strike_for(_SECONDS)
    finally:
        nemesis.leave()
    for bulk in nemesis.bulks:
        bulk.process.wait(timeout=60)
    queue.drain(workers=4, timeout=600)

    jobs = set(queue.ids())
    there = [bulk.there(jobs) for bulk in nemesis.bulks]
    print(f"{len(there)} bulks, {sum(map(bool, there))} of them stored, {nemesis.done} signals")
    assert jobs == {"first"}.union(*there)
    assert_nothing_lost_nothing_twice(queue, sorted(jobs - {"first"}))
    assert queue.counts() == {"completed": len(jobs)}
    assert_no_stage(queue)
    assert_all_counted(queue)
    assert_sound(queue)
