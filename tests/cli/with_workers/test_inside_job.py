"""Commands that a job calls: none of them waits for the job itself, which would never end."""

from __future__ import annotations

import pytest

from support.queue import Queue

_OWN_ID = 'queuectl worker list --json | sed -n \'s/.*"id": "\\([^"]*\\)".*/\\1/p\''


@pytest.mark.parametrize(
    "command",
    [
        "queuectl worker stop",
        "queuectl worker stop --now",
        "queuectl worker stop --queue default",
        f"queuectl worker stop $({_OWN_ID})",
        "queuectl worker stop $(id=$(" + _OWN_ID + "); echo ${id%-*})",
    ],
)
def test_worker_stop_does_not_wait_for_the_worker_of_the_job(queue: Queue, command: str) -> None:
    """The job goes on to its own end, and then the pool leaves.

    Prevents a bug: it waited for its own worker until the timeout, and with --now it killed itself
    and came back to stop the next workers.
    """
    queue.ok("queue", "limit", "default", "1")
    job = queue.add(f"{command}; echo ended with $?", timeout=50.0, max_retries=1)
    pool = queue.start("--queue", "default", workers=1)

    assert pool.wait(timeout=30) == 0
    assert queue.state(job) == "completed"
    said, ended = queue.ok("logs", job).splitlines()
    assert said.startswith("stopping ")
    assert said.endswith("; this job is not waited for")
    assert ended == "ended with 0"


def test_worker_stop_waits_for_the_other_workers(queue: Queue) -> None:
    """The last job of the day may switch the machine off."""
    other = queue.add("sleep 1; touch other-ended")
    job = queue.add("sleep 0.3; queuectl worker stop; ls other-ended", timeout=50.0)
    pool = queue.start(workers=2)

    assert pool.wait(timeout=30) == 0
    assert (queue.state(other), queue.state(job)) == ("completed", "completed")
    assert queue.ok("logs", job).splitlines()[-1] == "other-ended"


def test_worker_stop_now_kills_the_other_jobs_only(queue: Queue) -> None:
    """They are put back; the job that called it ends by itself."""
    queue.configure(kill_grace="1")
    other = queue.add("sleep 60")
    job = queue.add("sleep 0.3; queuectl worker stop --now", timeout=50.0)
    pool = queue.start(workers=2)

    assert pool.wait(timeout=30) == 0
    assert (queue.state(other), queue.state(job)) == ("pending", "completed")


def test_a_process_that_a_job_left_running_waits(queue: Queue) -> None:
    """Its job has ended, so nothing keeps the worker from exiting."""
    queue.add("(sleep 1; queuectl worker stop > stopped) >/dev/null 2>&1 &")
    pool = queue.start(workers=1)

    assert pool.wait(timeout=30) == 0
    assert queue.text("stopped").startswith("stopped ")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("queuectl worker start --drain", "would wait for ever for workers that it runs itself"),
        ("queuectl logs --follow $QUEUECTL_JOB_ID", "j cannot follow itself"),
        ("queuectl wait $QUEUECTL_JOB_ID", "j cannot wait for itself"),
        ("queuectl wait --all", "j cannot wait for itself"),
        ("queuectl enqueue --wait --id k --after j true", "j cannot wait for k, which waits for j"),
        (
            "queuectl enqueue -q --id k --after j true; queuectl enqueue -q --id l --after k true;"
            " queuectl wait l",
            "j cannot wait for l, which waits for j",
        ),
    ],
)
def test_what_would_never_end_is_refused(queue: Queue, command: str, said: str) -> None:
    """Prevents a bug: the job waited for itself until its timeout killed it."""
    queue.add(command, id="j", timeout=50.0, max_retries=1)
    queue.start()

    assert queue.until("j", "dead").exit_code == 1
    assert said in queue.ok("logs", "j")


def test_a_job_may_start_workers_that_leave_by_themselves(queue: Queue) -> None:
    """With --max-jobs they wait for nothing that the job itself would have to do."""
    queue.add("queuectl worker start -q --max-jobs 1", id="j", timeout=50.0)
    queue.add("true", id="k")
    queue.start("--max-jobs", "1")

    assert queue.until("j", "completed", "dead").state.value == "completed"
    assert queue.state("k") == "completed"
