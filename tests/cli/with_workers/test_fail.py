"""`worker start --fail` and `wait --all --fail`: the exit code tells whether a job is dead."""

from __future__ import annotations

import pytest

from queuectl.core.times import utcnow
from support.calls import Called
from support.queue import Queue


def _drain(queue: Queue, *options: str) -> Called:
    return queue.run("worker", "start", "--drain", "-q", "--count", "2", *options)


@pytest.mark.parametrize(
    ("commands", "code"),
    [(["true", "true"], 0), (["true", "exit 3", "true"], 1), ([], 0)],
)
def test_a_drain_fails_if_a_job_died(queue: Queue, commands: list[str], code: int) -> None:
    """Without the option the exit code is 0."""
    queue.add_many(*commands, max_retries=1)
    assert _drain(queue, "--fail") == Called(code, "", "")
    queue.add_many(*commands, max_retries=1)
    assert _drain(queue) == Called(0, "", "")


def test_a_job_that_was_dead_before_does_not_count_for_a_drain(queue: Queue) -> None:
    """Only the jobs of these workers do; a retry that completes is no failure."""
    queue.add("exit 3", max_retries=1)
    assert _drain(queue, "--fail").code == 1
    queue.add("test $QUEUECTL_ATTEMPT = 2", max_retries=2)
    queue.configure(**{"backoff-max": "0.05"})

    assert _drain(queue, "--fail").code == 0


def test_many_jobs_are_counted(queue: Queue) -> None:
    """The one that died is found among a thousand that completed."""
    queue.add_many(*["true"] * 500, "exit 1", *["true"] * 500, max_retries=1)

    assert _drain(queue, "--fail").code == 1


@pytest.mark.parametrize("options", [["--fail"], ["--fail", "--drain", "--detach"]])
def test_the_option_needs_a_drain_in_the_foreground(queue: Queue, options: list[str]) -> None:
    """Otherwise there is no end whose exit code could tell."""
    assert queue.fails(2, "worker", "start", *options) == (
        "queuectl worker start: --fail requires --drain, and cannot be used with --detach"
    )


def test_a_wait_fails_if_a_job_is_dead(queue: Queue) -> None:
    """Also if it died before: the trap of `worker start --drain; wait --all`."""
    queue.add_many("true", "exit 1", max_retries=1)
    _drain(queue)

    assert queue.run("wait", "--all").code == 0
    assert queue.fails(1, "wait", "--all", "--fail") == (
        "queuectl wait: 1 is dead (queuectl dlq list)"
    )
    assert queue.run("wait", "--all", "--fail", "--queue", "other") == Called(0, "", "")


def test_only_deaths_since_a_time_count(queue: Queue) -> None:
    """A job that died earlier does not make every later batch fail."""
    queue.add("exit 1", max_retries=1)
    _drain(queue)
    later = utcnow().isoformat()

    assert queue.run("wait", "--all", "--fail", "--since", later) == Called(0, "", "")
    assert queue.run("wait", "--all", "--fail", "--since", "1h").code == 1


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["a", "--fail"], "--fail requires --all, and no choice of jobs but --queue or --batch"),
        (["--all", "--since", "1h"], "--since requires --fail"),
    ],
)
def test_what_makes_no_sense_is_refused(queue: Queue, args: list[str], problem: str) -> None:
    """The exit code is 2."""
    assert queue.fails(2, "wait", *args) == f"queuectl wait: {problem}"
