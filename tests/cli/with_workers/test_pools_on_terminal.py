"""What `worker start --detach` and `worker stop` say to a person."""

from __future__ import annotations

import re
from typing import Iterator

import pytest

from support.held import UNTIL_GO
from support.queue import Queue
from support.terminal import Terminal, on_terminal


@pytest.fixture
def detached(queue: Queue) -> Iterator[Queue]:
    """A queue whose detached workers are stopped after the test."""
    yield queue
    queue.ok("worker", "stop", "-q")


def _shown(queue: Queue, *args: str, streams: str = "stderr") -> Terminal:
    """Run `worker ARGS` on a terminal; once it waits for jobs, these may go on."""

    def seen(screen: str) -> None:
        if screen.startswith("waiting for"):
            queue.let_go()

    env = {"HOME": str(queue.folder)}
    done = on_terminal(queue, "worker", *args, streams=streams, size=(80, 24), env=env, seen=seen)
    assert done.code == 0, done
    return done


def test_detach_says_what_runs_where_it_logs_and_how_to_stop_it(detached: Queue) -> None:
    """stdout has only the id, and off a terminal nothing else is said."""
    one = _shown(detached, "start", "--detach")
    more = _shown(detached, "start", "--detach", "-c", "3", "--log-file", "../pool.log")

    assert re.fullmatch(r"[0-9a-f]{8}\n", one.out)
    assert one.screen == (
        "1 worker runs in the background (to stop: queuectl worker stop)\n"
        "log: ~/queue.db.d/workers.log\n"
    )
    assert more.screen == (
        "3 workers run in the background (to stop: queuectl worker stop)\nlog: ~/pool.log\n"
    )
    assert _shown(detached, "start", "--detach", "-q").screen == ""
    assert detached.run("worker", "start", "--detach").err == ""


def test_stop_says_which_job_it_waits_for(queue: Queue) -> None:
    """The number and the time of the job, and how to end it now."""
    job = queue.add(UNTIL_GO)
    queue.start()
    queue.until(job, "processing")
    done = _shown(queue, "stop")

    assert re.fullmatch(r"waiting for @1 \(running for \d+ s\); --now ends it\n", done.screen)
    assert done.out.startswith("stopped ")


def test_stop_of_several_workers_names_the_longest_job(queue: Queue) -> None:
    """One line, however many jobs run."""
    jobs = queue.add_many(*[UNTIL_GO] * 3)
    queue.start(workers=3)
    for job in jobs:
        queue.until(job, "processing")
    shown = _shown(queue, "stop").screen

    assert re.fullmatch(
        r"waiting for 3 jobs, the longest @\d \(running for \d+ s\); --now ends them\n",
        shown,
    )


def test_stop_says_nothing_more_without_need(queue: Queue) -> None:
    """Not of idle workers, and not with -q or --now."""
    queue.start()
    assert _shown(queue, "stop").screen == ""

    for option in ("-q", "--now"):
        job = queue.add("sleep 1.2")
        queue.start()
        queue.until(job, "processing", "completed")
        assert _shown(queue, "stop", option).screen == ""
