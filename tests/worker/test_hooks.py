"""Hooks beside real workers: lanes are served, drained and waited for."""

from __future__ import annotations

import json
from collections import Counter

from queuectl.core.hooks import NewHook, parse_events
from queuectl.core.times import utcnow
from support.queue import Queue


def _rule(queue: Queue, events: str, command: str, name: str = "ops", **fields: object) -> None:
    """Add a hook that runs a command in the folder of the test."""
    new = NewHook(name, parse_events(events), command=command, cwd=str(queue.work), **fields)
    with queue.opened() as storage:
        storage.add_hook(new, now=utcnow())


def test_a_drain_waits_for_hooks_and_their_retries(queue: Queue) -> None:
    """A worker of one queue serves the hooks of its jobs as well."""
    queue.configure(backoff_base="1", backoff_max="0.05")
    once = "test -e tried || { touch tried; exit 1; }; echo $QUEUECTL_PARENT_ID >> seen"
    _rule(queue, "completed", once)
    job = queue.enqueue("true", "--queue", "mail")
    other = queue.enqueue("true", "--queue", "web")
    queue.drain("--queue", "mail", workers=1)
    assert queue.text("seen").split() == [job]
    assert queue.state(other) == "pending"
    assert queue.counts() == {"completed": 2, "pending": 1}


def test_a_pause_of_the_queue_does_not_hold_its_hooks(queue: Queue) -> None:
    """Nor is its limit about them."""
    _rule(queue, "dead", "touch told")
    queue.enqueue("exit 1", "--max-retries", "1", "--queue", "mail")
    queue.run("queue", "limit", "mail", "1")
    queue.start()
    queue.until("@1", "dead")
    queue.run("queue", "pause", "mail")
    queue.until("@2", "completed")
    assert (queue.work / "told").exists()


def test_hooks_do_not_change_waits_and_exit_codes(queue: Queue) -> None:
    """A hook that dies is no reason for `wait --all` or `worker start --fail` to fail."""
    _rule(queue, "completed", "exit 1", max_retries=1)
    queue.enqueue("true")
    queue.drain("--fail", workers=1)
    assert queue.state("@2") == "dead"
    assert queue.run("wait", "--all", "--fail", "--since", "1h") == (0, "", "")
    assert queue.run("wait", "--all", "--fail", "--queue", "default/hooks").code == 1
    assert queue.run("wait", "@1").code == 0
    waiting = queue.json("queue", "list")
    assert [each["name"] for each in waiting] == ["default", "default/hooks"]
    queue.run("retry", "@2")
    assert queue.run("wait", "--all") == (0, "", "")


def test_a_batch_runs_its_hooks(queue: Queue) -> None:
    """`run` ends when they have ended; its exit code is about its jobs."""
    _rule(queue, "finished", "echo $QUEUECTL_PARENT_STATE >> seen")
    words = ("run", "-j", "2", "--on-success", "echo good >> seen")
    done = queue.run(*words, "sh -c", ":::", "exit 0", "exit 1", cwd=queue.work)
    assert done.code == 1
    assert sorted(queue.text("seen").split()) == ["completed", "dead", "good"]
    queue.drain(workers=1)


def test_a_batch_leaves_the_retries_of_its_hooks_to_other_workers(queue: Queue) -> None:
    """Regression: `run` waited up to a day for a webhook whose receiver was down."""
    queue.configure(backoff_base="600")
    _rule(queue, "finished", "test -e is-up && touch told")
    done = queue.run("run", "true", ":::", "a", cwd=queue.work, timeout=30)
    assert (done.code, done.err) == (
        0, "hooks that wait for a retry: 1 (any worker will run them)\n"
    )  # fmt: skip
    assert queue.state("@2") == "failed"

    (queue.work / "is-up").touch()
    queue.run("retry", "@2")
    queue.drain(workers=1)
    assert queue.state("@2") == "completed"
    assert (queue.work / "told").exists()


def test_a_queue_is_drained_once_however_many_workers_there_are(queue: Queue) -> None:
    """The transaction that ends the last job decides."""
    _rule(queue, "drained", "echo $QUEUECTL_PARENT_QUEUE >> seen")
    for name in ("a", "b"):
        lines = "".join(json.dumps({"command": "true", "queue": name}) + "\n" for _ in range(60))
        queue.run("enqueue", "-", stdin=lines)
    queue.drain(workers=16)
    assert Counter(queue.text("seen").split()) == {"a": 1, "b": 1}


def test_a_job_that_a_hook_enqueues_ends_after_five(queue: Queue) -> None:
    """A hook that enqueues a job, which has that hook, is no endless loop."""
    _rule(queue, "completed", "queuectl enqueue true")
    queue.enqueue("true")
    queue.drain(workers=2)
    assert queue.counts() == {"completed": 11}  # 6 jobs, and the hooks of 5 of them


def test_a_lane_can_be_held_by_itself(queue: Queue) -> None:
    """By a pause or a limit that names it; the queue goes on."""
    _rule(queue, "completed", "true")
    assert queue.run("queue", "pause", "mail/hooks").code == 0
    assert queue.run("queue", "limit", "mail/hooks", "1").code == 0
    first = queue.enqueue("true", "--queue", "mail")
    queue.drain(workers=1)
    assert (queue.state(first), queue.state("@2")) == ("completed", "pending")
    assert queue.run("enqueue", "--queue", "mail/hooks", "true").code == 2
    queue.run("queue", "resume", "mail/hooks")
    queue.drain(workers=1)
    assert queue.state("@2") == "completed"


def test_a_hook_that_retries_its_parent_ends_after_five(queue: Queue) -> None:
    """Each retry by a hook is one deeper; one by a person begins anew."""
    _rule(queue, "dead", 'queuectl retry "$QUEUECTL_PARENT_ID"')
    job = queue.enqueue("exit 1", "--max-retries", "1")
    queue.drain(workers=2)
    assert queue.counts() == {"dead": 1, "completed": 5}
    assert len(queue.attempts(job)) == 6
    queue.run("retry", job)
    assert queue.get(job).hook_depth == 0
    queue.drain(workers=2)
    assert queue.counts() == {"dead": 1, "completed": 10}
