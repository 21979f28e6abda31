"""Unique keys of running and finished jobs."""

from __future__ import annotations

import pytest

from support.queue import Queue


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


@pytest.mark.parametrize("if_dup", ["skip", "replace"])
def test_a_running_holder_does_not_change(queue: Queue, if_dup: str) -> None:
    """Only its id is printed, and the exit code is 0."""
    _bring(queue, "processing")
    before = queue.show("holder")

    assert queue.ok("enqueue", "--unique", "k", "--if-dup", if_dup, "new") == "holder"
    assert queue.show("holder") == before


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
