"""`--batch`: the jobs of one `queuectl run`, wherever jobs are chosen by their queue."""

from __future__ import annotations

import pytest

from support.queue import Queue


@pytest.fixture
def batches(queue: Queue) -> Queue:
    """A queue with two batches and a job of none."""
    queue.add("true", id="a", queue="@gzip.1")
    queue.add("true", id="b", queue="@gzip.2")
    queue.add("true", id="c", queue="default")
    return queue


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--batch", "gzip.1"], ["a"]),
        (["--batch", "@gzip.1"], ["a"]),
        (["--batch", "gzip.1,gzip.2"], ["a", "b"]),
        (["--batch", "gzip.1", "--queue", "default"], ["a", "c"]),
        (["--queue", "default", "--batch", "gzip.1"], ["a", "c"]),
        (["--queue", "@gzip.2"], ["b"]),
        (["--batch", "none"], []),
    ],
)
def test_jobs_are_chosen_by_their_batch(
    batches: Queue, options: list[str], expected: list[str]
) -> None:
    """It is a queue whose name begins with @, so it can be mixed with other queues."""
    assert batches.ids(*options) == expected


def test_status_counts_one_batch(batches: Queue) -> None:
    """Counts, queues and workers are those of the batch alone."""
    document = batches.json("status", "--batch", "gzip.1")

    assert (document["total"], document["jobs"]["pending"]) == (1, 1)
    assert [queue["name"] for queue in document["queues"]] == ["@gzip.1"]
    assert "  Total:            1" in batches.ok("status", "--batch", "gzip.1")


def test_commands_act_on_one_batch(batches: Queue) -> None:
    """Nothing else is cancelled or retried."""
    batches.ok("cancel", "-q", "--batch", "gzip.1")
    assert batches.counts() == {"cancelled": 1, "pending": 2}
    batches.ok("retry", "-q", "--batch", "gzip.1", "--state", "cancelled")

    assert batches.counts() == {"pending": 3}
    assert batches.run("wait", "--all", "--batch", "gzip.2", "--timeout", "0").code == 124
    assert [shown["id"] for shown in batches.json("show", "--batch", "gzip.1", "--json")] == ["a"]


def test_a_wrong_name_is_refused(batches: Queue) -> None:
    """The exit code is 2."""
    line = batches.fails(2, "list", "--batch", "a b")

    assert line == ("queuectl list: --queue must be printable, without white space, comma or slash")
