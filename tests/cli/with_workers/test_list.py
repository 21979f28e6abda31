"""`list` mentions dead jobs."""

from __future__ import annotations

import pytest

from support.queue import Queue


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ("--state failed", "no jobs\n2 are dead: queuectl dlq list\n"),
        ("--state failed --queue q", "no jobs\n1 is dead: queuectl dlq list\n"),
        ("--state failed --queue other", "no jobs\n"),
        ("--state cancelled", "no jobs\n"),
        ("--state failed,cancelled", "no jobs\n"),
    ],
)
def test_an_empty_list_of_failed_jobs_mentions_dead_ones(
    queue: Queue, options: str, hint: str
) -> None:
    """A `failed` job waits for a retry. If there is none, a message says where dead jobs are."""
    for name in ("q", "default"):
        queue.enqueue("false", "--max-retries", "1", "--queue", name)
    queue.drain(workers=1)

    done = queue.run("list", *options.split())

    assert (done.code, done.out, done.err) == (0, "", hint)
