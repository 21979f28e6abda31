"""One unfinished job per key: `enqueue --unique KEY --if-dup skip|join|replace|error`."""

from __future__ import annotations

from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from support.forks import in_processes
from support.queue import Queue

_ROUNDS = 200


def _enqueue_rounds(queue: Queue) -> list[str]:
    storage = Storage.open(queue.files)
    try:
        return [
            storage.enqueue([JobSpec(command="true", unique_key=f"k{turn}")], now=utcnow())[0].id
            for turn in range(_ROUNDS)
        ]
    finally:
        storage.close()


def test_two_processes_that_race_for_a_key_make_one_job(queue: Queue) -> None:
    """In each of 200 rounds the second one gets the id of the first."""
    queue.ok("config", "set", "max-retries", "3")
    queue.ok("enqueue", "--id", "first", "true")
    mine, theirs = in_processes([lambda: _enqueue_rounds(queue), lambda: _enqueue_rounds(queue)])

    assert mine == theirs
    assert queue.counts() == {"pending": _ROUNDS + 1}


def test_commands_that_race_for_a_key_print_the_same_id(queue: Queue) -> None:
    """Six commands at the same time make one job, even in a new queue."""
    racing = [queue.spawn("enqueue", "--unique", "k", "true") for _ in range(6)]
    printed = {process.communicate(timeout=60) for process in racing}

    assert len(printed) == 1
    assert [process.returncode for process in racing] == [0] * 6
    assert queue.counts() == {"pending": 1}


def test_a_replacement_that_would_wait_for_itself_is_refused(queue: Queue) -> None:
    """For a cycle over other jobs the exit code is 2, and the holder does not change."""
    queue.ok("enqueue", "--id", "a", "--unique", "k", "true")
    queue.ok("enqueue", "--id", "b", "--after", "a", "true")
    queue.fails(2, "enqueue", "--unique", "k", "--if-dup", "replace", "--after", "b", "new")

    assert (queue.show("a")["command"], queue.state("a")) == ("true", "pending")


def test_if_dup_is_a_default_for_keys_in_json(queue: Queue) -> None:
    """`--if-dup` beside JSON applies to each object that has a `unique_key`, and to no other."""
    queue.ok("enqueue", "--id", "holder", "--unique", "k", "old")
    lines = '{"command": "new", "unique_key": "k"}\n{"command": "other", "id": "other"}\n'

    assert queue.ok("enqueue", "--if-dup", "replace", "-", stdin=lines) == "holder\nother"
    assert queue.show("holder")["command"] == "new"
    assert queue.ok("enqueue", "--if-dup", "replace", lines.splitlines()[0]) == "holder"
    given = '{"command": "newer", "if_dup": "replace"}'
    assert queue.ok("enqueue", "--unique", "k", given) == "holder"
    assert queue.show("holder")["command"] == "newer"


def test_if_dup_without_a_key_is_refused_by_line(queue: Queue) -> None:
    """The line that names `if_dup` but no `unique_key` is refused, and so is the whole input."""
    lines = '{"command": "a", "unique_key": "k"}\n{"command": "b", "if_dup": "skip"}\n'

    assert queue.fails(2, "enqueue", "-", stdin=lines) == (
        "queuectl enqueue: line 2: if_dup requires unique_key"
    )
    assert not queue.exists()
