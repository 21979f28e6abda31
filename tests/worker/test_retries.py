"""Failed attempts: when the next attempt starts, and what is killed before it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.processes import alive, linux_only
from support.queue import Queue


def test_a_failing_job_is_retried_after_2_then_4_seconds_then_dead(queue: Queue) -> None:
    """Retry n comes base ** n seconds after failure n, plus or minus the jitter; then the DLQ."""
    job = queue.add("echo run $QUEUECTL_ATTEMPT; exit 4")
    due = []
    for attempts, seconds in ((1, 2), (2, 4)):
        queue.ok("worker", "start", "--max-jobs", "1", "-q")
        waiting, last = queue.get(job), queue.attempts(job)[-1]
        assert (waiting.state.value, waiting.attempts) == ("failed", attempts)
        assert (waiting.exit_code, waiting.last_error) == (4, "exit 4")
        # The decision is made after the end of the command, and before it is recorded.
        assert waiting.run_at > last.started_at + timedelta(seconds=0.9 * seconds)
        assert waiting.run_at <= waiting.updated_at + timedelta(seconds=1.1 * seconds)
        due.append(waiting.run_at)
    queue.drain(workers=1)
    ended = queue.get(job)

    assert (ended.attempts, ended.max_retries, ended.last_error) == (3, 3, "exit 4")
    assert queue.outcomes(job) == ["exit", "exit", "exit"]
    attempts_made = queue.attempts(job)
    assert [one.started_at >= at for one, at in zip(attempts_made[1:], due)] == [True, True]
    printed = [queue.run("logs", "--attempt", number, job).out for number in "123"]
    assert printed == ["run 1\n", "run 2\n", "run 3\n"]


@pytest.mark.parametrize("max_retries", ["0", "1"])
def test_max_retries_0_and_1_both_mean_one_attempt(queue: Queue, max_retries: str) -> None:
    """A job has at most max(1, max_retries) attempts."""
    job = queue.enqueue("echo x >> runs; exit 1", "--max-retries", max_retries)
    queue.drain(workers=1)

    assert (queue.state(job), queue.get(job).attempts) == ("dead", 1)
    assert (queue.work / "runs").read_text() == "x\n"


def test_a_job_with_a_delay_of_its_own_is_retried_after_that(queue: Queue) -> None:
    """The crontab line with `sleep 60` between the tries: no backoff, no jitter."""
    queue.configure(backoff_base="600", backoff_max="1h")
    job = queue.enqueue("exit 4", "--retry-delay", "300ms")
    queue.drain(workers=1)

    assert queue.outcomes(job) == ["exit", "exit", "exit"]
    tries = queue.attempts(job)
    waits = [(b.started_at - a.finished_at).total_seconds() for a, b in zip(tries, tries[1:])]
    assert min(waits) > 0.29


def test_a_job_may_succeed_in_its_last_attempt(queue: Queue) -> None:
    """That completes the job and clears its last error."""
    queue.configure(backoff_base="1", backoff_max="0")
    job = queue.add("[ $QUEUECTL_ATTEMPT = 4 ]", max_retries=4)
    queue.drain(workers=1)

    ended = queue.get(job)
    assert (ended.state.value, ended.attempts, ended.last_error) == ("completed", 4, None)
    assert queue.outcomes(job) == ["exit", "exit", "exit", "ok"]


@linux_only
def test_leftover_processes_are_killed_before_a_retry(queue: Queue) -> None:
    """Processes that a failed attempt left running may run on until then, and no longer."""
    queue.configure(backoff_base="1", backoff_max="0", kill_grace="0.3")
    job = queue.add(
        "if [ $QUEUECTL_ATTEMPT = 1 ]; then "
        "sleep 300 & echo $! > plain; "
        "(trap '' TERM; echo $(sh -c 'echo $PPID') > stubborn; while :; do sleep 0.1; done) & "
        "setsid sh -c 'echo $$ > far; exec sleep 300 8>&-' >/dev/null 2>&1 & "
        "until [ -s plain ] && [ -s stubborn ] && [ -s far ]; do sleep 0.02; done; exit 1; fi; "
        "for name in plain stubborn far; do "
        "case $(cut -d' ' -f3 /proc/$(cat $name)/stat 2>/dev/null) in ''|Z) ;; "
        "*) echo $name >> survivors; esac; done; true"
    )
    queue.drain(workers=1)

    assert queue.outcomes(job) == ["exit", "ok"]
    assert [attempt.leftovers for attempt in queue.attempts(job)] == [True, False]
    assert not (queue.work / "survivors").exists()
    assert [alive(queue.pid(name)) for name in ("plain", "stubborn", "far")] == [False] * 3
