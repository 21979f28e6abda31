"""Attempts that exceed their timeout: every process that they started is killed."""

from __future__ import annotations

import subprocess

from support.job_clock import JobClock
from support.processes import alive, linux_only
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only


def test_a_process_that_only_reads_a_log_is_left_alone(queue: Queue, job_clock: JobClock) -> None:
    """Regression: `logs`, `less` or a backup that had the log open was killed with the job.

    This happened at the timeout, and again before the retry, with the kept log.
    """
    queue.configure(kill_grace="0.3", backoff_base="1", backoff_max="0.5")
    job = queue.add(
        "[ $QUEUECTL_ATTEMPT = 2 ] && exit; head -c 5000 /dev/zero; echo $$ > running; sleep 300",
        timeout=3600,
    )
    supervisor = queue.start("--drain")
    queue.pid("running")
    worker = queue.worker()
    with open(queue.files.worker_log(worker["id"]), "rb") as log:
        reader = subprocess.Popen(["sleep", "300"], stdin=log, start_new_session=True)
    job_clock.advance(3600)
    try:
        assert supervisor.wait(timeout=60) == 0
        assert queue.outcomes(job) == ["timeout", "ok"]
        assert alive(reader.pid)
    finally:
        reader.kill()
        reader.wait()


def test_a_job_that_exceeds_its_timeout_gets_term_then_kill(
    queue: Queue, job_clock: JobClock
) -> None:
    """KILL follows TERM after the grace time. The outcome is timeout, whatever the exit code."""
    queue.configure(kill_grace="5")
    plain, tidy, stubborn = queue.add_many(
        "touch plain; exec sleep 300",
        "trap 'echo tidied; exit 5' TERM; touch tidy; sleep 300 & wait",
        "trap '' TERM; touch stubborn; while :; do sleep 0.05; done",
        timeout=3600,
        max_retries=1,
    )
    pool = queue.start("--drain", workers=3)
    for name in ("plain", "tidy", "stubborn"):
        wait_until((queue.work / name).exists, what=name)
    job_clock.advance(3600)
    assert pool.wait(timeout=60) == 0

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


def test_a_timeout_is_logged_with_what_to_do(queue: Queue, job_clock: JobClock) -> None:
    """The log line names the timeout and where it is set, and the job is retried."""
    queue.configure(backoff_base="1", backoff_max="0", kill_grace="1")
    job = queue.add("[ $QUEUECTL_ATTEMPT = 2 ] || { touch begun; sleep 300; }", timeout=5400)
    pool = queue.start("--drain")
    wait_until((queue.work / "begun").exists, what="the first attempt")
    job_clock.advance(5400)
    assert pool.wait(timeout=60) == 0
    log = (queue.folder / "workers.log").read_text()

    assert queue.outcomes(job) == ["timeout", "ok"]
    assert (
        f"{job} failed: killed after 1h30m by its timeout "
        "(enqueue --timeout, or config set job-timeout; 0 = none); attempt 1 of 3"
    ) in log


def test_a_timeout_of_0_means_no_limit(queue: Queue) -> None:
    """A job with timeout 0 completes, while the same job with a short timeout is killed."""
    queue.configure(job_timeout="0.2", kill_grace="1")
    limited = queue.enqueue("sleep 300", "--max-retries", "1")
    unlimited = queue.enqueue("sleep 0.8", "--timeout", "0")
    queue.drain(workers=2)

    assert queue.outcomes(limited) == ["timeout"]
    assert queue.outcomes(unlimited) == ["ok"]
