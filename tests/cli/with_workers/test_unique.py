"""Unique keys of running and finished jobs."""

from __future__ import annotations

import os
import signal

import pytest

from support.calls import Called
from support.held import UNTIL_GO
from support.queue import Queue

_REPLACEMENT = '{"command": "new", "unique_key": "k", "if_dup": "replace"}'
_HINT = "(enqueue again after its end: queuectl wait holder)"


def _bring(queue: Queue, state: str) -> None:
    """Make a job `holder` in a state; it has the key `k`."""
    given = ["enqueue", "--id", "holder", "--unique", "k", "--label", "old"]
    if state == "blocked":
        queue.ok("enqueue", "--id", "need", "--queue", "none", "true")
        given += ["--after", "need"]
    if state == "scheduled":
        given += ["--delay", "1h"]
    if state == "processing":
        queue.start()
    queue.ok(*given, "--max-retries", "5", "sleep 60")
    if state in ("completed", "dead", "failed"):
        queue.run_as_if(state)
    if state == "cancelled":
        queue.ok("cancel", "holder")
    queue.until("holder", state)


@pytest.mark.parametrize("state", ["scheduled", "blocked", "pending", "failed"])
def test_replace_changes_a_waiting_job_and_keeps_its_id_and_place(queue: Queue, state: str) -> None:
    """It gets the new command and settings, no attempts and no dependencies."""
    _bring(queue, state)
    queue.ok("queue", "pause")
    queue.ok("enqueue", "--id", "later", "true")
    answer = queue.ok("enqueue", "--unique", "k", "--if-dup", "replace", "--priority", "7", "new")
    job = queue.show("holder")

    assert answer == "holder"
    assert (job["state"], job["command"], job["priority"], job["label"]) == (
        "pending", "new", 7, None,
    )  # fmt: skip
    assert (job["attempts"], job["max_retries"], job["run_at"], job["last_error"]) == (
        0, 3, None, None,
    )  # fmt: skip
    assert queue.ids()[-2:] == ["holder", "later"]


def test_a_running_holder_does_not_change(queue: Queue) -> None:
    """Only its id is printed, and the exit code is 0."""
    _bring(queue, "processing")
    before = queue.get("holder")

    assert queue.ok("enqueue", "--unique", "k", "new") == "holder"
    assert queue.get("holder") == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--unique", "k", "--if-dup", "replace", "new"), ""),
        (("--wait", "--unique", "k", "--if-dup", "replace", "new"), ""),
        ((_REPLACEMENT,), ""),
        (("-",), "line 2: "),
    ],
)
def test_a_running_holder_is_not_replaced(queue: Queue, words: tuple[str, ...], line: str) -> None:
    """Regression: its id was printed and the exit code was 0, or with --wait that of the old
    command, though nothing ever ran the new one. Now it is exit 1 and nothing changes.
    """
    _bring(queue, "processing")
    before = queue.get("holder")

    assert (
        queue.fails(1, "enqueue", *words, stdin='{"command": "other"}\n' + _REPLACEMENT)
        == f"queuectl enqueue: {line}unique key k is held by job holder, which is running {_HINT}"
    )
    assert queue.get("holder") == before
    assert queue.ids() == ["holder"]


def test_a_holder_that_is_being_cancelled_stands_for_no_other_job(queue: Queue) -> None:
    """Regression: its id was printed with exit 0, though it would never do anything."""
    queue.configure(kill_grace="300")
    queue.add("trap '' TERM; echo $$ > leader; sleep 60", id="holder", unique_key="k")
    queue.start()
    leader = queue.pid("leader")
    queue.ok("cancel", "holder")
    line = queue.fails(1, "enqueue", "--unique", "k", "new")
    os.killpg(leader, signal.SIGKILL)  # the worker would do it after the grace time

    assert line == (
        f"queuectl enqueue: unique key k is held by job holder, which is being cancelled {_HINT}"
    )


@pytest.mark.parametrize("state", ["scheduled", "blocked", "pending", "processing", "failed"])
def test_every_unfinished_holder_keeps_its_key(queue: Queue, state: str) -> None:
    """By default its id is printed; with `--if-dup error` the exit code is 1."""
    _bring(queue, state)

    assert queue.ok("enqueue", "--unique", "k", "new") == "holder"
    assert "holder" in queue.fails(1, "enqueue", "--unique", "k", "--if-dup", "error", "new")
    assert queue.show("holder")["label"] == "old"


@pytest.mark.parametrize("state", ["completed", "dead", "cancelled"])
def test_a_finished_job_releases_its_key_and_cannot_take_it_back(queue: Queue, state: str) -> None:
    """A new job takes the key; a retry of the old one fails and names the new holder."""
    _bring(queue, state)
    queue.ok("queue", "pause")
    fresh = queue.ok("enqueue", "--unique", "k", "--if-dup", "error", "new")
    line = queue.fails(1, "retry", "holder")

    assert fresh != "holder"
    assert fresh in line
    assert (queue.state("holder"), queue.state(fresh)) == (state, "pending")


@pytest.mark.parametrize("options", [(), ("--if-dup", "skip")])
def test_a_wait_with_a_held_key_returns_at_once(queue: Queue, options: tuple[str, ...]) -> None:
    """A line of a crontab reports only the failure of the job that it enqueued itself."""
    queue.ok("enqueue", "--id", "holder", "--unique", "k", "sleep 60")

    done = queue.run("enqueue", "--wait", "--unique", "k", *options, "false")
    assert done == Called(0, "", "")


def test_a_wait_can_join_the_job_that_has_the_key(queue: Queue) -> None:
    """It prints the output of that job and exits with its code."""
    queue.start()
    queue.ok("enqueue", "--id", "holder", "--unique", "k", "--max-retries", "1",
             f"echo began; {UNTIL_GO}; echo joined; exit 7")  # fmt: skip
    waiting = queue.spawn("enqueue", "-q", "--wait", "--unique", "k", "--if-dup", "join", "false")
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "began\n"
    queue.let_go()
    out, err = waiting.communicate(timeout=60)

    assert (waiting.returncode, out) == (7, "joined\n")
    assert err.startswith("queuectl enqueue: holder on ")


def test_to_join_without_waiting_prints_the_id(queue: Queue) -> None:
    """Then it is the same as skip."""
    queue.ok("enqueue", "--id", "holder", "--unique", "k", "true")

    assert queue.ok("enqueue", "--unique", "k", "--if-dup", "join", "false") == "holder"
    assert queue.ids() == ["holder"]
