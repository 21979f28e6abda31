"""Many jobs that are enqueued beside others, and what is left if their process was killed."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Sequence

import pytest

from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from support.history import assert_nothing_lost_nothing_twice, keeping_a_ledger
from support.queue import Queue
from support.stages import STAGING, assert_no_stage, leave_decided, leave_undecided
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

JOBS = [JobSpec(command="true", id=f"j{number}") for number in range(5)]


@pytest.fixture
def decided(queue: Queue) -> None:
    """Leave a stage whose five jobs are part of the queue, and one of them can be seen already."""
    queue.enqueue("true", "--id", "other")
    leave_decided(queue.storage, JOBS, moved=1, now=utcnow())
    queue.close_storage()


@pytest.fixture
def undecided(queue: Queue) -> None:
    """Leave a stage whose jobs are not part of the queue."""
    queue.enqueue("true", "--id", "other")
    leave_undecided(queue.storage, JOBS, now=utcnow())
    queue.close_storage()


@pytest.mark.usefixtures("decided")
def test_a_pool_finishes_a_stage_as_it_starts(queue: Queue) -> None:
    """All jobs are run, though nobody else comes by."""
    queue.start()
    wait_until(lambda: queue.counts() == {"completed": 6}, what="all jobs to be run")
    assert_no_stage(queue)


@pytest.mark.usefixtures("undecided")
def test_a_pool_discards_a_stage_as_it_starts(queue: Queue) -> None:
    """The id of a job that never existed is free again."""
    queue.drain()
    assert_no_stage(queue)
    queue.enqueue("true", "--id", "j0")
    assert queue.counts() == {"completed": 1, "pending": 1}


@pytest.mark.usefixtures("decided")
def test_wait_waits_for_jobs_that_cannot_be_seen_yet(queue: Queue) -> None:
    """They count as unfinished."""
    queue.ok("cancel", "--all")
    done = queue.run("wait", "--all", "--timeout", "0.2")
    assert (done.code, done.err) == (124, "queuectl wait: time ran out, 3 unfinished\n")
    waiting = queue.spawn("wait", "--all")
    queue.drain()
    assert waiting.wait(timeout=30) == 0


@pytest.mark.usefixtures("decided")
def test_doctor_and_check_report_jobs_that_cannot_be_seen_yet(queue: Queue) -> None:
    """They say how many, until a pool has come by."""
    found = {one["check"]: one for one in queue.json("doctor")}
    assert found["bulk enqueue"] == {
        "check": "bulk enqueue",
        "level": "warn",
        "message": "one was cut short: 3 of its jobs are enqueued, but not visible yet "
        "(queuectl worker start shows them)",
    }
    done = queue.run("check")
    assert done.code == 1
    assert "an enqueue was cut short, 3 of its jobs are not visible yet" in done.out

    queue.drain()
    assert {one["check"]: one["level"] for one in queue.json("doctor")}["bulk enqueue"] == "ok"
    assert queue.run("check").code == 0


@pytest.mark.usefixtures("decided")
def test_export_says_that_jobs_are_left_out(queue: Queue) -> None:
    """An export is often meant to have everything."""
    done = queue.run("export")
    assert (done.code, len(done.out.splitlines())) == (0, 3)
    assert done.err == (
        "left out 3 jobs whose enqueue was cut short (queuectl worker start makes them visible)\n"
    )
    queue.drain()
    done = queue.run("export")
    assert (len(done.out.splitlines()), done.err) == (6, "")


@pytest.mark.usefixtures("undecided")
def test_doctor_reports_what_is_left_of_jobs_that_never_existed(queue: Queue) -> None:
    """That takes space, but no job is missing: `check` is content."""
    found = {one["check"]: one["message"] for one in queue.json("doctor")}
    assert found["bulk enqueue"] == (
        "one was cut short, and none of its jobs is enqueued (queuectl worker start removes the "
        "rest)"
    )
    assert queue.run("check").code == 0


def test_doctor_sees_a_living_process(queue: Queue) -> None:
    """Nothing is wrong while it works."""
    queue.enqueue("true")
    process = _stopped(queue, "staging.Stage._decide")
    found = {one["check"]: one for one in queue.json("doctor")}["bulk enqueue"]
    assert (found["level"], found["message"]) == ("ok", "one is in progress")

    # Another bulk enqueue waits; a single job does not.
    queue.enqueue("true")
    other = queue.spawn("enqueue", "--lines", "--file", _file(queue, 3), before=STAGING)
    assert queue.counts() == {"pending": 2}
    process.send_signal(signal.SIGCONT)
    assert (process.wait(timeout=30), other.wait(timeout=30)) == (0, 0)
    assert queue.counts() == {"pending": 10}
    assert_no_stage(queue)


@pytest.mark.parametrize(
    ("place", "said", "jobs"),
    [
        ("staging.Stage._decide", "nothing was stored", 0),
        ("moving.Mover.move", "the 5 jobs are stored, and workers make them visible", 5),
    ],
)
def test_an_interrupted_command_says_whether_the_jobs_are_enqueued(
    queue: Queue, place: str, said: str, jobs: int
) -> None:
    """Ctrl+C ends it at once; before the decision it leaves nothing behind."""
    queue.enqueue("true")
    process = _stopped(queue, place)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (-signal.SIGINT, "")
    assert err == f"interrupted; {said}\n"
    if not jobs:
        assert_no_stage(queue)
    queue.drain()
    assert queue.counts() == {"completed": 1 + jobs}


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("staging.Stage._decide", "interrupted; nothing was stored\n"),
        (
            "moving.Mover.move",
            "interrupted; the 5 jobs are stored, and workers make them visible\n"
            "the same command with --resume goes on\n",
        ),
    ],
)
def test_an_interrupted_run_says_whether_its_jobs_are_stored(
    queue: Queue, place: str, said: str
) -> None:
    """Regression: it said nothing, and without --resume a second batch was stored."""
    queue.enqueue("true")
    words = ["run", "echo {} >> ran", "::::", _file(queue, 5)]
    process = _stopped(queue, place, words)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=30) == ("", said)
    assert process.returncode == -signal.SIGINT

    assert queue.run("run", "--resume", *words[1:], as_process=True).code == 0
    assert (queue.work / "ran").read_text() == "true\n" * 5
    assert queue.counts() == {"pending": 1, "completed": 5}


def _stopped(queue: Queue, place: str, words: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Let a process store five jobs; return when it has stopped before it calls `place`."""
    module, kind, name = place.split(".")
    *python, program = STAGING
    stops = (
        f"import os, signal; from queuectl.storage.{module} import {kind}; go_on = {kind}.{name}; "
        f"{kind}.{name} = lambda *given: [os.kill(os.getpid(), signal.SIGSTOP), go_on(*given)][1]; "
    )
    words = words or ["enqueue", "--lines", "--file", _file(queue, 5)]
    process = queue.spawn(*words, before=[*python, stops + program])
    wait_until(lambda: _is_stopped(process.pid), what="the process to stop")
    return process


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


def _file(queue: Queue, jobs: int) -> str:
    path = queue.folder / "commands"
    path.write_text("true\n" * jobs)
    return str(path)


def test_several_processes_enqueue_many_jobs_beside_workers(queue: Queue) -> None:
    """Nothing is lost, nothing runs twice, and each prints its ids in the order of its jobs."""
    queue.enqueue("true")
    supervisor = queue.start(workers=2)
    line = json.dumps({"command": keeping_a_ledger("true"), "cwd": str(queue.work)}) + "\n"
    path = queue.folder / "many.jsonl"
    path.write_text(line * 25)
    processes = [
        queue.spawn("enqueue", "--file", str(path), before=STAGING if number % 2 else ())
        for number in range(4)
    ]
    printed = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    queue.ok("wait", "--all", timeout=120)
    supervisor.terminate()
    supervisor.wait(timeout=30)

    ids = [job for each in printed for job in each]
    assert len(set(ids)) == 100
    order = queue.ids()
    for each in printed:
        assert [job for job in order if job in each] == each
    assert_nothing_lost_nothing_twice(queue, ids)
    assert_no_stage(queue)
