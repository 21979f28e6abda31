"""The wall clock jumps forwards or backwards by an hour or a year while jobs run and wait."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from support.held import HELD
from support.job_clock import JobClock
from support.processes import alive
from support.queue import Queue
from support.tracing import LONG, long_only
from support.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and cc"
    )
]

_HOUR = 3600
_YEAR = 365 * 24 * _HOUR
_STEPS = [_HOUR, -_HOUR, _YEAR, -_YEAR] if LONG else [-_YEAR]

# A library that adds some seconds to the wall clock of each process that preloads it.
_CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long none = 0, *step = &none;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("TEST_CLOCK");
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0) return;
    void *mapped = mmap(NULL, 8, PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped != MAP_FAILED) step = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *step;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result) *result = exact.tv_sec;
    return exact.tv_sec;
}
"""


class WallClock:
    """The wall clock of all processes of one queue."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(struct.pack("q", 0))

    def step(self, seconds: int) -> None:
        """Add so many seconds to the true time, for running and future processes."""
        with self._path.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", seconds))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clock")
    source, built = folder / "clock.c", folder / "clock.so"
    source.write_text(_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", built, source], check=True)
    return built


@pytest.fixture
def wall(queue: Queue, library: Path) -> WallClock:
    path = queue.folder / "clock"
    clock = WallClock(path)
    queue.env.update({"LD_PRELOAD": str(library), "TEST_CLOCK": str(path)})
    year = subprocess.run(
        [sys.executable, "-c", "import datetime as d; print(d.datetime.now().year)"],
        env=queue.env, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    clock.step(2 * _YEAR)
    later = subprocess.run(
        [sys.executable, "-c", "import datetime as d; print(d.datetime.now().year)"],
        env=queue.env, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if int(later) - int(year) not in (1, 2):
        pytest.skip("the clock of this Python cannot be set for a test")
    clock.step(0)
    return clock


def _assert_nothing_is_negative(queue: Queue, job: str) -> None:
    for words in (["status"], ["list"], ["show", job], ["worker", "list"], ["why", job]):
        printed = queue.ok(*words)
        assert re.findall(r"(?<![\w.:-])-\d[^\n]*", printed) == [], (words, printed)


@pytest.mark.parametrize("step", _STEPS)
def test_a_step_does_not_change_a_running_job(queue: Queue, wall: WallClock, step: int) -> None:
    """It does not time out, is not adopted and not run again, and its duration is right."""
    job = queue.add(HELD, timeout=60, max_retries=1)
    queue.start(workers=2)
    running = queue.pid("running")
    holder = queue.get(job).locked_by
    wall.step(step)
    # Another pool looks for dead workers.
    queue.drain("--queue", "other", "-q")
    assert alive(running)
    assert (queue.get(job).locked_by, queue.state(job)) == (holder, "processing")
    _assert_nothing_is_negative(queue, job)
    queue.let_go()
    queue.until(job, "completed")

    (attempt,) = queue.attempts(job)
    assert queue.outcomes(job) == ["ok"]
    assert attempt.seconds is not None
    assert 0 < attempt.seconds < 60
    _assert_nothing_is_negative(queue, job)


@pytest.mark.parametrize("step", [_YEAR, -_YEAR] if LONG else [_YEAR])
def test_a_killed_worker_is_replaced_after_a_step(
    queue: Queue, wall: WallClock, job_clock: JobClock, step: int
) -> None:
    """Adoption, timeout and duration of an adopted job do not depend on the wall clock."""
    queue.configure(kill_grace="0.2")
    job = queue.add(HELD, timeout=3600, max_retries=1)
    queue.start()
    queue.pid("running")
    dead = queue.get(job).locked_by
    wall.step(step)
    worker = queue.worker()
    os.kill(worker["pid"], signal.SIGKILL)
    wait_until(lambda: queue.get(job).locked_by != dead)
    assert queue.state(job) == "processing"
    job_clock.advance(3600)
    queue.until(job, "dead")

    (attempt,) = queue.attempts(job)
    assert queue.outcomes(job) == ["timeout"]
    assert attempt.seconds is not None
    assert 3600 <= attempt.seconds < 3700


@long_only
@pytest.mark.parametrize("step", [_HOUR, _YEAR])
def test_a_job_that_is_due_after_a_step_runs(queue: Queue, wall: WallClock, step: int) -> None:
    """A delayed job starts when the wall clock shows its time."""
    job = queue.add("true")
    delayed = queue.enqueue("true", "--delay", "30m")
    queue.start()
    queue.until(job, "completed")
    assert queue.state(delayed) == "scheduled"
    wall.step(step)
    queue.until(delayed, "completed")

    assert queue.outcomes(delayed) == ["ok"]


@long_only
@pytest.mark.parametrize("step", [-_YEAR])
def test_jobs_run_in_order_although_the_clock_went_back(
    queue: Queue, wall: WallClock, step: int
) -> None:
    """The order depends on the numbers of the jobs, not on their times, and no job waits."""
    first = [queue.enqueue(f"echo {n} >> order") for n in range(2)]
    wall.step(step)
    then = [queue.enqueue(f"echo {n} >> order") for n in range(2, 4)]
    queue.drain("-q", workers=1)

    assert [queue.state(job) for job in first + then] == ["completed"] * 4
    assert (queue.work / "order").read_text().split() == ["0", "1", "2", "3"]
    for job in (first[0], then[0]):
        _assert_nothing_is_negative(queue, job)
