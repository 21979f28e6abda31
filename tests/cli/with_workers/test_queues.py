"""`queue list`, `pause`, `resume` and `limit`."""

from __future__ import annotations

import os
import random
import signal
import sys

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from support.shell import Shell
from support.states import opened
from support.waiting import wait_until


def test_a_paused_queue_starts_nothing_and_others_go_on(shell: Shell) -> None:
    """Its jobs run once it is resumed."""
    shell.ok("queue", "pause", "held")
    shell.enqueue("true", "--id", "a", "--queue", "held")
    shell.enqueue("true", "--id", "b")
    shell.drain()
    assert (shell.state("a"), shell.state("b")) == ("pending", "completed")
    assert shell.ok("queue", "resume", "held") == "resumed held"
    shell.drain()

    assert shell.state("a") == "completed"


def test_a_running_job_of_a_paused_queue_goes_on(shell: Shell) -> None:
    """Pausing ends nothing."""
    shell.enqueue("until test -e go; do sleep 0.02; done", "--id", "a")
    shell.start()
    shell.wait_for("a", "processing")
    shell.ok("queue", "pause", "-q")
    shell.enqueue("true", "--id", "b")
    (shell.work / "go").touch()
    shell.wait_for("a", "completed")

    assert shell.state("b") == "pending"
    shell.ok("queue", "resume")
    shell.wait_for("b", "completed")


def test_one_switch_pauses_queues_that_are_still_to_come(shell: Shell) -> None:
    """To resume one of them by name does not lift it, and says so."""
    shell.ok("queue", "pause")
    shell.enqueue("true", "--id", "a", "--queue", "new")
    done = shell.run("queue", "resume", "new")
    shell.drain()

    assert (done.returncode, done.stdout) == (0, "resumed new\n")
    assert done.stderr == "all queues are still paused (queuectl queue resume)\n"
    assert shell.state("a") == "pending"


def test_resume_without_a_name_lifts_every_pause(shell: Shell) -> None:
    """The switch for all, and those of single queues."""
    for name in ([], ["a"], ["b"]):
        shell.ok("queue", "pause", "-q", *name)
    assert shell.ok("queue", "resume") == "resumed all queues"

    assert shell.json("queue", "list") == []


def test_the_list_tells_what_each_queue_holds(shell: Shell) -> None:
    """Who paused it, when and why; its limit; its jobs by state."""
    shell.ok("queue", "pause", "b", "--reason", "disk full", env={"LOGNAME": "operator"})
    shell.ok("queue", "limit", "b", "2")
    shell.enqueue("true", "--queue", "a")
    shell.enqueue("true", "--queue", "b", "--delay", "1h")
    listed = shell.json("queue", "list")
    paused_at = listed[1].pop("paused_at")
    rest = {state.value: 0 for state in JobState}

    assert paused_at.endswith("Z")
    assert listed == [
        {"name": "a", "paused": False, "paused_at": None, "paused_by": None,
         "pause_reason": None, "limit": None, **rest, "pending": 1},
        {"name": "b", "paused": True, "paused_by": "operator",
         "pause_reason": "disk full", "limit": 2, **rest, "scheduled": 1},
    ]  # fmt: skip
    text = shell.ok("queue", "list").splitlines()
    assert text[2].split()[:3] == ["b", "by", "operator,"]


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "x", "\u0661", "1" * 5000, "1000001", ""])
def test_a_limit_is_a_whole_number_or_none(shell: Shell, limit: str) -> None:
    """Exit 2 for all else; 5,000 digits once ended in a traceback."""
    line = shell.fails(2, "queue", "limit", "--", "q", limit)

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
time.sleep(0.03)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_limits_hold_and_never_leak_while_workers_are_killed(shell: Shell) -> None:
    """With 8 workers, some killed at random, never more run than may; in the end all have run."""
    limits = {"one": 1, "three": 3}
    (shell.work / "job.py").write_text(_TAKES_A_PLACE)
    shell.configure(backoff_max="0.1", kill_grace="0.2")
    for name, limit in limits.items():
        shell.ok("queue", "limit", name, str(limit))
    with opened(shell) as storage:
        storage.enqueue(
            [
                JobSpec(
                    command=f"exec {sys.executable} -S -E job.py {limit}",
                    queue=name, cwd=str(shell.work), max_retries=50,
                )
                for name, limit in limits.items()
                for _ in range(20)
            ],
            now=utcnow(),
        )  # fmt: skip
    shell.start(workers=8)
    chance = random.Random(7)
    killed: list[int] = []
    for turn in range(4):
        wait_until(
            lambda turn=turn: shell.counts().get("completed", 0) > 4 * turn, what="some progress"
        )
        workers = shell.workers()
        # One that was killed just now may still be listed.
        busy = [w["pid"] for w in workers if w["job"] is not None and w["pid"] not in killed]
        if busy:
            killed.append(chance.choice(busy))
            os.kill(killed[-1], signal.SIGKILL)
    wait_until(lambda: shell.counts() == {"completed": 40}, what="all to complete")

    assert not (shell.work / "exceeded").exists()
    places = {path.name for path in shell.work.iterdir()} - {"job.py"}
    assert places <= {"one-0", "three-0", "three-1", "three-2"}
    assert {"one-0", "three-0"} <= places
    assert killed != []


def test_a_limit_that_is_lifted_lets_the_rest_run(shell: Shell) -> None:
    """Workers that sleep hear of it."""
    shell.ok("queue", "limit", "default", "1")
    for name in "ab":
        shell.enqueue("sleep 60", "--id", name)
    shell.start(workers=2)
    shell.wait_for("a", "processing")
    assert shell.state("b") == "pending"
    assert shell.ok("queue", "limit", "default", "none") == "default: no limit"

    assert shell.wait_for("b", "processing")["state"] == "processing"


def test_a_paused_queue_with_20_000_jobs_costs_a_claim_nothing(shell: Shell) -> None:
    """A claim takes as many steps of SQLite's machine as without them."""

    def steps() -> int:
        with opened(shell) as storage:
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

    shell.ok("queue", "pause", "held")
    shell.enqueue("true", "--queue", "held")
    before = steps()
    with opened(shell) as storage:
        storage.enqueue([JobSpec(command="true", queue="held", priority=5)] * 20_000, now=utcnow())

    assert steps() < before + 100
