"""Attempts that exceed their timeout: every process that they started is killed."""

from __future__ import annotations

import subprocess

from support.processes import alive, linux_only
from support.queue import Queue

pytestmark = linux_only

_IGNORES_TERM = "trap '' TERM; while :; do sleep 0.05; done"


def test_a_process_that_only_reads_a_log_is_left_alone(queue: Queue) -> None:
    """Regression: `logs`, `less` or a backup that had the log open was killed with the job.

    This happened at the timeout, and again before the retry, with the kept log.
    """
    queue.configure(kill_grace="0.3", backoff_base="1", backoff_max="0.5")
    job = queue.add(
        "[ $QUEUECTL_ATTEMPT = 2 ] && exit; head -c 5000 /dev/zero; echo $$ > running; sleep 300",
        timeout=1.5,
    )
    supervisor = queue.start("--drain")
    queue.pid("running")
    worker = queue.worker()
    with open(queue.files.worker_log(worker["id"]), "rb") as log:
        reader = subprocess.Popen(["sleep", "300"], stdin=log, start_new_session=True)
    try:
        assert supervisor.wait(timeout=30) == 0
        assert queue.outcomes(job) == ["timeout", "ok"]
        assert alive(reader.pid)
    finally:
        reader.kill()
        reader.wait()


def test_a_job_that_exceeds_its_timeout_gets_term_then_kill(queue: Queue) -> None:
    """KILL follows TERM after the grace time. The outcome is timeout, whatever the exit code."""
    queue.configure(kill_grace="0.3")
    plain, tidy, stubborn = queue.add_many(
        "sleep 300",
        "trap 'echo tidied; exit 5' TERM; sleep 300 & wait",
        _IGNORES_TERM,
        timeout=1.0,
        max_retries=1,
    )
    queue.drain(workers=3)

    recorded = {}
    for name, job in (("plain", plain), ("tidy", tidy), ("stubborn", stubborn)):
        attempt = queue.attempts(job)[0]
        assert attempt.outcome is not None
        recorded[name] = (attempt.outcome.value, attempt.exit_code, attempt.signal)
    assert recorded == {
        "plain": ("timeout", None, 15),
        "tidy": ("timeout", 5, None),
        "stubborn": ("timeout", None, 9),
    }
    assert queue.run("logs", tidy).out == "tidied\n"


def test_a_timeout_is_logged_with_what_to_do(queue: Queue) -> None:
    """The log line names the timeout and where it is set, and the job is retried."""
    queue.configure(backoff_base="1", backoff_max="0", kill_grace="1")
    job = queue.add("[ $QUEUECTL_ATTEMPT = 2 ] || sleep 300", timeout=0.3)
    log = queue.drain(workers=1)

    assert queue.outcomes(job) == ["timeout", "ok"]
    assert (
        f"{job} failed: killed after 0.30 s by its timeout "
        "(enqueue --timeout, or config set job-timeout; 0 = none); attempt 1 of 3"
    ) in log


def test_a_timeout_of_0_means_no_limit(queue: Queue) -> None:
    """A job with timeout 0 completes, while the same job with a short timeout is killed."""
    queue.configure(job_timeout="0.2", kill_grace="1")
    limited = queue.enqueue("sleep 0.8", "--max-retries", "1")
    unlimited = queue.enqueue("sleep 0.8", "--timeout", "0")
    queue.drain(workers=2)

    assert queue.outcomes(limited) == ["timeout"]
    assert queue.outcomes(unlimited) == ["ok"]
