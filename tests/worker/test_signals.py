"""Stopping a pool: by signals, by `worker stop`, and by closing its terminal."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any, Callable

import pytest

from support.calls import COMMAND
from support.held import HELD
from support.processes import alive, linux_only, status_field
from support.queue import Queue
from support.rows import sql
from support.waiting import wait_until

# A job that runs until the test lets it go, or until TERM, and notes each signal that it gets.
_HELD = (
    'for s in INT HUP QUIT; do trap "echo $s >> signalled" $s; done; '
    'trap "echo TERM >> signalled; exit 9" TERM; ' + HELD
)


def _running(queue: Queue, *args: str, **kwargs: Any) -> tuple[str, Any]:
    """Start a pool and wait until it runs one held job; return the job and the supervisor."""
    job = queue.add(_HELD)
    supervisor = queue.start(*args, **kwargs)
    queue.pid("running")
    return job, supervisor


def _log_has(queue: Queue, text: str) -> Callable[[], bool]:
    return lambda: text in (queue.folder / "workers.log").read_text()


def _let_go(queue: Queue) -> None:
    queue.let_go()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_running_jobs_finish(queue: Queue, number: signal.Signals) -> None:
    """It is sent to the whole foreground group, as by a terminal. No job gets it; exit 0."""
    job, supervisor = _running(queue)
    waiting = queue.add("true")
    os.killpg(supervisor.pid, number)
    wait_until(_log_has(queue, "stopping"))
    _let_go(queue)

    assert supervisor.wait(timeout=30) == 0
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])
    assert (queue.state(waiting), queue.outcomes(waiting)) == ("pending", [])
    assert not (queue.work / "signalled").exists()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGHUP, signal.SIGINT),
        (None, signal.SIGQUIT),
    ],
)
def test_the_second_signal_puts_running_jobs_back(
    queue: Queue, first: Any, second: signal.Signals
) -> None:
    """A second one, or one QUIT, kills the jobs, uncounted; the pool then ends by that signal."""
    job, supervisor = _running(queue)
    if first is not None:
        os.killpg(supervisor.pid, first)
        wait_until(_log_has(queue, "stopping"))
    os.killpg(supervisor.pid, second)

    assert supervisor.wait(timeout=30) == -second
    put_back = queue.get(job)
    assert (put_back.state.value, put_back.attempts, put_back.locked_by) == ("pending", 0, None)
    assert queue.outcomes(job) == ["interrupted"]
    assert (queue.work / "signalled").read_text() == "TERM\n"
    assert not alive(queue.pid("running"))

    _let_go(queue)
    queue.drain()
    assert (queue.state(job), queue.get(job).attempts) == ("completed", 1)


def test_a_terminal_that_closes_does_not_kill_jobs(queue: Queue) -> None:
    """Regression: then HUP comes from the kernel and from the shell, and counted as two signals."""
    job, supervisor = _running(queue)
    os.killpg(supervisor.pid, signal.SIGHUP)
    wait_until(_log_has(queue, "stopping"))
    os.killpg(supervisor.pid, signal.SIGHUP)
    os.killpg(supervisor.pid, signal.SIGHUP)
    _let_go(queue)

    assert supervisor.wait(timeout=30) == 0
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])


@linux_only
def test_a_signal_that_is_ignored_at_the_start_is_ignored_but_not_by_jobs(queue: Queue) -> None:
    """As under nohup: supervisor and workers survive a HUP, but a HUP still ends a job."""
    hit = queue.add("kill -HUP $$; sleep 300", max_retries=1)
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor = queue.start()
    finally:
        signal.signal(signal.SIGHUP, previous)
    queue.until(hit, "dead")
    os.killpg(supervisor.pid, signal.SIGHUP)
    later = queue.add("true")
    queue.until(later, "completed")

    assert queue.get(hit).last_error == "killed by signal 1 (HUP)"
    assert queue.attempts(hit)[0].worker == queue.attempts(later)[0].worker
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0


def test_signals_that_were_blocked_at_the_start_work(queue: Queue) -> None:
    """Regression: a pool that was started with TERM, CHLD and ALRM blocked could not be stopped."""
    job = queue.add("true")
    previous = signal.pthread_sigmask(
        signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM]
    )
    try:
        supervisor = queue.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    queue.until(job, "completed")
    supervisor.terminate()

    assert supervisor.wait(timeout=30) == 0


@linux_only
def test_workers_that_a_script_started_in_the_background_can_be_killed(queue: Queue) -> None:
    """Regression: `&` in a shell script ignores INT and QUIT, so `worker stop --now` hung."""
    queue.configure(kill_grace="0.3")
    job = queue.add(_HELD)
    with (queue.folder / "workers.log").open("w") as log:
        script = subprocess.Popen(
            ["/bin/sh", "-c", f"'{COMMAND}' worker start & echo $! > started; wait"],
            env=queue.env,
            cwd=str(queue.work),
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        supervisor = queue.pid("started")
        queue.pid("running")
        ignored = int(status_field(supervisor, "SigIgn"), 16)
        assert ignored & 1 << signal.SIGQUIT - 1

        assert queue.run("worker", "stop", "--now", "--timeout", "50").code == 0
        assert (queue.state(job), queue.get(job).attempts) == ("pending", 0)
    finally:
        script.wait(timeout=30)


def test_a_worker_that_gets_term_finishes_its_job_and_is_replaced(queue: Queue) -> None:
    """TERM to one worker: its job is finished, and a new worker takes its place."""
    job, supervisor = _running(queue)
    worker = queue.worker()
    os.kill(worker["pid"], signal.SIGTERM)
    later = queue.add("echo $QUEUECTL_SLOT")
    assert alive(worker["pid"])
    _let_go(queue)

    queue.until(later, "completed")
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])
    (replacement,) = queue.json("worker", "list")
    assert replacement["id"] != worker["id"]
    assert replacement["supervisor"] == worker["supervisor"]
    assert queue.attempts(later)[0].worker == replacement["id"]
    assert queue.run("logs", later).out == "0\n"
    assert supervisor.poll() is None


@pytest.mark.parametrize("trap", ["", "trap 'exit 143' TERM; "])
def test_a_job_that_gets_term_with_its_workers_is_put_back(queue: Queue, trap: str) -> None:
    """Prevents a bug: a shutdown of the machine sends TERM to all, and a job was dead."""
    job = queue.add(f"{trap}echo $$ > running; while :; do sleep 0.02; done", max_retries=1)
    supervisor = queue.start()
    shell = queue.pid("running")
    for pid in (supervisor.pid, queue.worker()["pid"], shell):
        os.kill(pid, signal.SIGTERM)

    assert supervisor.wait(timeout=30) == 0
    assert (queue.state(job), queue.get(job).attempts) == ("pending", 0)
    assert queue.outcomes(job) == ["interrupted"]


def test_a_job_that_gets_term_alone_fails(queue: Queue) -> None:
    """Its workers are not stopping, so somebody meant this job."""
    job = queue.add("kill $$; sleep 300", max_retries=1)
    queue.drain()
    assert (queue.state(job), queue.outcomes(job)) == ("dead", ["signal"])


def test_worker_stop_waits_for_running_jobs(queue: Queue) -> None:
    """It returns when all workers are gone. The job was finished, and no other was started."""
    job, supervisor = _running(queue)
    stopper = queue.spawn("worker", "stop")
    wait_until(_log_has(queue, "stopping"))
    assert stopper.poll() is None
    _let_go(queue)

    assert stopper.wait(timeout=30) == 0
    assert supervisor.wait(timeout=30) == 0
    assert queue.state(job) == "completed"
    assert queue.json("worker", "list") == []


def test_worker_stop_gives_up_after_its_timeout_and_kills_nothing(queue: Queue) -> None:
    """Exit 124 says that the job still runs; --now then puts it back, uncounted."""
    queue.configure(kill_grace="0.3")
    job, supervisor = _running(queue)

    line = queue.fails(124, "worker", "stop", "--timeout", "0.2")
    assert line == "queuectl worker stop: still running, time ran out; nothing was killed"
    assert (queue.state(job), alive(queue.pid("running"))) == ("processing", True)

    worker = queue.worker()
    stopped = queue.ok("worker", "stop", "--now")
    assert stopped == f"stopped {worker['supervisor']}"
    assert supervisor.wait(timeout=30) == -signal.SIGQUIT
    assert (queue.state(job), queue.get(job).attempts) == ("pending", 0)


def test_worker_stop_called_again_kills_nothing(queue: Queue) -> None:
    """Regression: the second call counted as a second signal, and the running job was killed."""
    job, supervisor = _running(queue)
    for _ in range(3):
        queue.fails(124, "worker", "stop", "--timeout", "0.1")
    os.kill(supervisor.pid, signal.SIGTERM)  # the first signal, for example from a service manager
    wait_until(_log_has(queue, "a second signal puts them back"))
    _let_go(queue)

    assert supervisor.wait(timeout=30) == 0
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])
    assert not (queue.work / "signalled").exists()


def test_worker_stop_works_where_signals_are_ignored(queue: Queue) -> None:
    """It does not use the signals that a shell may have ignored (nohup, `&`)."""
    queue.add("true")
    words = ["sh", "-c", 'trap "" TERM INT HUP URG; exec "$0" worker start', COMMAND]
    pool = subprocess.Popen(words, env=queue.env, stderr=subprocess.DEVNULL)
    queue.processes.append(pool)
    wait_until(queue.workers, what="the worker")

    assert queue.ok("worker", "stop", "--timeout", "50").startswith("stopped ")
    assert pool.wait(timeout=30) == 0


def test_worker_stop_of_one_worker_does_not_replace_it(queue: Queue) -> None:
    """A worker that is named by its id is not replaced; the supervisor exits with the last one."""
    supervisor = queue.start(workers=2)
    first, second = (worker["id"] for worker in queue.workers())

    assert queue.ok("worker", "stop", first) == f"stopped {first}"
    assert [worker["id"] for worker in queue.json("worker", "list")] == [second]
    assert supervisor.poll() is None
    assert queue.ok("worker", "stop", "-q", second) == ""
    assert supervisor.wait(timeout=30) == 0


def test_worker_stop_of_a_supervisor_stops_its_workers_only(queue: Queue) -> None:
    """A supervisor that is named by its id exits with all its workers; another pool stays."""
    gone, stays = queue.start(workers=2), queue.start("--queue", "other")
    supervisors = [worker["supervisor"] for worker in queue.workers()]
    assert supervisors[0] == supervisors[1]

    queue.ok("worker", "stop", supervisors[0])
    assert gone.wait(timeout=30) == 0
    assert [worker["supervisor"] for worker in queue.json("worker", "list")] == supervisors[2:]
    assert stays.poll() is None


def test_worker_stop_of_a_queue_spares_pools_for_all_queues(queue: Queue) -> None:
    """Regression: it then said that no worker is running, which was not true."""
    pool = queue.start()

    assert queue.ok("worker", "stop", "--queue", "default") == (
        "no worker was started with --queue default"
    )
    assert pool.poll() is None


def test_leave_jobs_is_refused_if_the_next_workers_would_kill_the_jobs(queue: Queue) -> None:
    """Regression: with on-worker-death = kill, `--leave-jobs` left jobs that were killed later."""
    queue.configure(on_worker_death="kill", kill_grace="0")
    job, supervisor = _running(queue)
    line = queue.fails(1, "worker", "stop", "--leave-jobs")

    assert line == (
        "queuectl worker stop: on-worker-death is kill: the next workers would end the jobs"
        " (queuectl config set on-worker-death adopt)"
    )
    assert (queue.state(job), supervisor.poll()) == ("processing", None)


def test_worker_stop_without_workers_says_so(queue: Queue) -> None:
    """That is one line with exit 0; an unknown worker is an error."""
    queue.add("true")

    assert queue.ok("worker", "stop") == "no worker is running"
    assert queue.ok("worker", "stop", "-q") == ""
    line = queue.fails(1, "worker", "stop", "abc-1")
    assert line == ("queuectl worker stop: no such worker is running: abc-1 (queuectl worker list)")


@linux_only
def test_a_job_that_kills_its_pool_each_time_ends(queue: Queue) -> None:
    """From the third time on others come first; the tenth time it is dead.

    Prevents a bug: it came back for ever, uncounted, and no job behind it ever ran.
    """
    queue.configure(backoff_base="1000", kill_grace="1")
    bad = queue.add(
        "kill -QUIT $(sed -n 's/^PPid:[^0-9]*//p' /proc/$PPID/status); sleep 60", max_retries=2
    )
    good = queue.add("true")
    sql(queue.storage, "UPDATE jobs SET interruptions = 8 WHERE id = ?", bad)

    def end_pool() -> None:
        assert queue.start("--drain").wait(timeout=30) == -signal.SIGQUIT
        assert queue.get(bad).attempts == 0
        assert "interrupted" in queue.ok("why", bad)

    end_pool()
    assert (queue.state(bad), queue.state(good)) == ("failed", "pending")
    assert queue.start("--max-jobs", "1").wait(timeout=30) == 0
    assert (queue.state(bad), queue.state(good)) == ("failed", "completed")
    sql(queue.storage, "UPDATE jobs SET run_at = created_at WHERE id = ?", bad)
    end_pool()
    assert queue.state(bad) == "dead"
    assert queue.get(bad).last_error == "interrupted 10 times"
    assert "10 times (not counted)" in queue.ok("show", bad)
    assert queue.run("wait", bad).code == 137
