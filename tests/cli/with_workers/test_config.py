"""Workers use changed configuration keys."""

from __future__ import annotations

from support.queue import Queue


def test_other_keys_apply_immediately(queue: Queue) -> None:
    """The delay before a retry depends on the settings at the failure, not at the enqueue."""
    queue.run("enqueue", "--id", "a", "exit 1")
    queue.run("config", "set", "backoff-max", "0")

    queue.drain(workers=1)

    assert (queue.show("a")["state"], queue.show("a")["attempts"]) == ("dead", 3)
