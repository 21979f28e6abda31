"""The commands `queue list`, `pause`, `resume` and `limit`."""

from __future__ import annotations

import os
import random
import re
import signal
import sys

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from support.held import UNTIL_GO
from support.queue import Queue
from support.waiting import wait_until


def test_only_jobs_of_the_paused_queue_wait(queue: Queue) -> None:
    """They run when the queue is resumed."""
    queue.ok("queue", "pause", "held")
    queue.enqueue("true", "--id", "a", "--queue", "held")
    queue.enqueue("true", "--id", "b")
    queue.drain()
    assert (queue.state("a"), queue.state("b")) == ("pending", "completed")
    assert queue.ok("queue", "resume", "held") == "resumed held"
    queue.drain()

    assert queue.state("a") == "completed"


def test_pausing_does_not_affect_running_jobs(queue: Queue) -> None:
    """The running job completes."""
    queue.enqueue(UNTIL_GO, "--id", "a")
    queue.start()
    queue.until("a", "processing")
    queue.ok("queue", "pause", "-q")
    queue.enqueue("true", "--id", "b")
    queue.let_go()
    queue.until("a", "completed")

    assert queue.state("b") == "pending"
    queue.ok("queue", "resume")
    queue.until("b", "completed")


def test_pausing_all_queues_includes_new_ones(queue: Queue) -> None:
    """Resuming one queue by name does not lift that pause, and a message says so."""
    queue.ok("queue", "pause")
    queue.enqueue("true", "--id", "a", "--queue", "new")
    done = queue.run("queue", "resume", "new")
    queue.drain()

    assert (done.code, done.out) == (0, "resumed new\n")
    assert done.err == "all queues are still paused (queuectl queue resume)\n"
    assert queue.state("a") == "pending"


def test_resume_without_a_name_lifts_every_pause(queue: Queue) -> None:
    """The pause of all queues, and those of single queues."""
    for name in ([], ["a"], ["b"]):
        queue.ok("queue", "pause", "-q", *name)
    assert queue.ok("queue", "resume") == "resumed all queues"

    assert queue.json("queue", "list") == []


_LIST = """\
QUEUE  PENDING  PROCESSING  FAILED  SCHEDULED  BLOCKED  COMPLETED  DEAD  CANCELLED  LIMIT  PAUSED
a            1           0       0          0        0          0     0          0      -  -
b            0           0       0          1        0          0     0          0      2  \
by ann, TIME: disk full"""


def test_the_list_shows_what_each_queue_holds(queue: Queue) -> None:
    """It shows who paused a queue, when and why, its limit, and its jobs by state."""
    queue.ok("queue", "pause", "b", "--reason", "disk full", env={"LOGNAME": "ann"})
    queue.ok("queue", "limit", "b", "2")
    queue.enqueue("true", "--queue", "a")
    queue.enqueue("true", "--queue", "b", "--delay", "1h")
    listed = queue.json("queue", "list")
    paused_at = listed[1].pop("paused_at")
    rest = {state.value: 0 for state in JobState}

    assert paused_at.endswith("Z")
    assert listed == [
        {"name": "a", "paused": False, "paused_at": None, "paused_by": None,
         "pause_reason": None, "limit": None, **rest, "pending": 1},
        {"name": "b", "paused": True, "paused_by": "ann",
         "pause_reason": "disk full", "limit": 2, **rest, "scheduled": 1},
    ]  # fmt: skip
    text = queue.ok("queue", "list")
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text) == _LIST


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "x", "\u0661", "1" * 5000, "1000001", ""])
def test_a_limit_is_a_whole_number_or_none(queue: Queue, limit: str) -> None:
    """The exit code is 2 for anything else. Regression: 5,000 digits gave a traceback."""
    line = queue.fails(2, "queue", "limit", "--", "q", limit)

    assert line.startswith(
        "queuectl queue limit: N must be a whole number from 1 to 1000000, or none, not "
    )


_TAKES_A_PLACE = """
import fcntl, os, sys, time
queue, limit = os.environ["QUEUECTL_QUEUE"], int(sys.argv[1])
for place in range(limit):
    file = open(f"{queue}-{place}", "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except OSError:
        continue
else:
    open("exceeded", "a").write(queue + "\\n")
while not os.path.exists("go"):
    time.sleep(0.01)
time.sleep(0.03)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_limits_hold_while_workers_are_killed(queue: Queue) -> None:
    """With 8 workers, some killed at random, the limit holds, and all jobs run in the end."""
    limits = {"one": 1, "three": 3}
    (queue.work / "job.py").write_text(_TAKES_A_PLACE)
    queue.configure(backoff_max="0.1", kill_grace="0.2")
    for name, limit in limits.items():
        queue.ok("queue", "limit", name, str(limit))
    with queue.opened() as storage:
        storage.enqueue(
            [
                JobSpec(
                    command=f"exec {sys.executable} -S -E job.py {limit}",
                    queue=name, cwd=str(queue.work), max_retries=50,
                )
                for name, limit in limits.items()
                for _ in range(20)
            ],
            now=utcnow(),
        )  # fmt: skip
    queue.start(workers=8)
    chance = random.Random(7)
    killed: list[int] = []

    def busy() -> list[int]:
        # A worker that was killed just now may still be listed.
        listed = [w["pid"] for w in queue.workers() if w["job"] is not None]
        return [pid for pid in listed if pid not in killed]

    wait_until(lambda: len(busy()) == 4, what="as many jobs as may run")
    for turn in range(5):
        found = busy()
        if found:
            killed.append(chance.choice(found))
            os.kill(killed[-1], signal.SIGKILL)
        queue.let_go()
        wait_until(
            lambda turn=turn: queue.counts().get("completed", 0) > 4 * turn, what="some progress"
        )
    wait_until(lambda: queue.counts() == {"completed": 40}, what="all to complete")

    assert not (queue.work / "exceeded").exists()
    places = {path.name for path in queue.work.iterdir()} - {"job.py", "go"}
    assert places <= {"one-0", "three-0", "three-1", "three-2"}
    assert {"one-0", "three-0"} <= places
    assert killed != []


def test_removing_a_limit_lets_the_rest_run(queue: Queue) -> None:
    """Sleeping workers are woken up."""
    queue.ok("queue", "limit", "default", "1")
    for name in "ab":
        queue.enqueue("sleep 60", "--id", name)
    queue.start(workers=2)
    queue.until("a", "processing")
    assert queue.state("b") == "pending"
    assert queue.ok("queue", "limit", "default", "none") == "default: no limit"

    assert queue.until("b", "processing").state.value == "processing"


def test_a_paused_queue_with_20_000_jobs_does_not_slow_a_claim(queue: Queue) -> None:
    """A claim takes as many steps of SQLite's virtual machine as without them."""

    def steps() -> int:
        with queue.opened() as storage:
            storage.enqueue([JobSpec(command="true", priority=-5)], now=utcnow())
            counted = 0

            def count() -> int:
                nonlocal counted
                counted += 1
                return 0

            storage._database.connection.set_progress_handler(count, 1)
            claim = storage.claim("5a5a5a5a-1", now=utcnow())
            storage._database.connection.set_progress_handler(None, 0)
            assert claim is not None
            assert claim.job.queue == "default"
            return counted

    queue.ok("queue", "pause", "held")
    queue.enqueue("true", "--queue", "held")
    before = steps()
    with queue.opened() as storage:
        storage.enqueue([JobSpec(command="true", queue="held", priority=5)] * 20_000, now=utcnow())

    assert steps() < before + 100
