"""A running job survives its worker: another worker adopts it, and it runs only once."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support.adoption import NOTED, ledger, orphan, until_adopted
from support.held import HELD, UNTIL_GO
from support.job_clock import JobClock
from support.processes import alive, kill, linux_only
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only


@pytest.mark.parametrize(
    ("shell", "dies", "end", "outcome", "facts"),
    [
        ("dash", "worker", "exit 0", "ok", (0, None)),
        ("dash", "worker", "kill -TERM $$", "signal", (None, 15)),
        ("dash", "all", "exit 7", "exit", (7, None)),
        ("bash", "worker", "exit 7", "exit", (7, None)),
        # bash reports 0 here; the supervisor, which reaps the job, sees the signal.
        ("bash", "worker", "ulimit -c 0; kill -SEGV $$", "signal", (None, 11)),
        ("bash", "all", "exit 0", "ok", (0, None)),
        ("bash", "all", "kill -TERM $$", "signal", (None, 15)),
    ],
)
def test_an_adopted_job_is_recorded_with_its_own_end(
    queue: Queue, shell: str, dies: str, end: str, outcome: str, facts: Any
) -> None:
    """Whichever process is killed: the job runs on, runs once, and its exit status is recorded."""
    job = queue.add(NOTED + "echo printed; " + end, max_retries=1)
    orphan(queue, job, dies, shell)
    queue.let_go()
    ended = queue.until(job, "completed", "dead")

    (attempt,) = queue.attempts(job)
    assert (queue.outcomes(job), ended.exit_code, ended.signal) == ([outcome], *facts)
    assert (attempt.exit_code, attempt.signal, ended.attempts) == (*facts, 1)
    assert ledger(queue) == ["begin", "end"]
    assert queue.ok("logs", job).splitlines()[0] == "printed"


@pytest.mark.parametrize("shell", ["dash", "bash", "zsh"])
@pytest.mark.parametrize(
    ("dies", "end", "outcome", "facts"),
    [
        ("worker", "exit 7", "exit", (7, None)),
        ("all", "exit 0", "ok", (0, None)),
        ("all", "kill -TERM $$", "signal", (None, 15)),
    ],
)
def test_an_adopted_job_with_a_shell_of_its_own_is_recorded_with_its_own_end(
    queue: Queue, shell: str, dies: str, end: str, outcome: str, facts: Any
) -> None:
    """Called by its own name, a shell behaves in another way than as sh; the promise holds."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    job = queue.add(NOTED + "echo printed; " + end, max_retries=1, shell=program)
    orphan(queue, job, dies)
    queue.let_go()
    ended = queue.until(job, "completed", "dead")

    assert (queue.outcomes(job), ended.exit_code, ended.signal) == ([outcome], *facts)
    assert ledger(queue) == ["begin", "end"]
    assert queue.ok("logs", job).splitlines()[0] == "printed"


@pytest.mark.parametrize(
    "command",
    [
        "exec sh ./script",
        "trap 'rm -f running' EXIT; . ./script",
        "trap - EXIT; . ./script",
    ],
)
@pytest.mark.parametrize("end", ["exit 7", "kill -KILL $$"])
def test_a_supervisor_sees_the_exit_status_that_a_job_does_not_report(
    queue: Queue, command: str, end: str
) -> None:
    """With `exec`, an EXIT trap or KILL the shell reports nothing, but the supervisor reaps it."""
    (queue.work / "script").write_text(NOTED + end + "\n")
    job = queue.add(command, max_retries=1)
    orphan(queue, job, "worker")
    queue.let_go()
    ended = queue.until(job, "dead")

    assert (queue.outcomes(job), ended.exit_code, ended.signal) == (
        (["exit"], 7, None) if end == "exit 7" else (["signal"], None, 9)
    )
    assert ledger(queue) == ["begin", "end"]


@pytest.mark.parametrize("end", ["exit 7", "exit 0"])
def test_a_job_that_ends_without_a_pool_reports_its_exit_code(queue: Queue, end: str) -> None:
    """If it ends while no queuectl runs, the next start records it with its own exit code."""
    job = queue.add(NOTED + "echo printed; " + end, max_retries=1)
    orphan(queue, job, "all", restart=False)
    queue.let_go()
    wait_until(lambda: not alive(queue.pid("running")))
    assert queue.state(job) == "processing"
    queue.drain(workers=1)

    assert queue.outcomes(job) == ["exit" if end == "exit 7" else "ok"]
    assert queue.get(job).exit_code == int(end[-1])
    assert ledger(queue) == ["begin", "end"]
    assert queue.ok("logs", job) == "printed"


def test_an_attempt_with_an_unknown_end_is_lost_and_retried(queue: Queue) -> None:
    """If neither its shell nor a supervisor reports the end, the attempt counts as lost."""
    queue.configure(backoff_base="1", backoff_max="0.1")
    (queue.work / "script").write_text(NOTED + "exit 0\n")
    job = queue.add("exec sh ./script", max_retries=2)
    orphan(queue, job, "all", restart=False)
    queue.let_go()
    wait_until(lambda: not alive(queue.pid("running")))
    queue.drain(workers=1)

    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["lost", "ok"])
    assert queue.get(job).attempts == 2
    assert queue.attempts(job)[0].seconds is None
    assert ledger(queue) == ["begin", "end"] * 2


def test_a_lost_last_attempt_ends_in_the_dlq(queue: Queue) -> None:
    """Lost attempts are counted; after the last one the job is dead, with the reason."""
    job = queue.add(f"exec sh -c '{HELD}'", max_retries=1)
    orphan(queue, job, "all", restart=False)
    os.kill(queue.pid("running"), signal.SIGKILL)
    wait_until(lambda: not alive(queue.pid("running")))
    queue.drain(workers=1)

    assert (queue.state(job), queue.get(job).last_error) == ("dead", "lost with its worker")


@pytest.mark.parametrize("dies", ["worker", "all"])
def test_an_adopted_job_keeps_its_timeout(queue: Queue, job_clock: JobClock, dies: str) -> None:
    """The time counts from the start of the job, and all its processes are killed."""
    queue.configure(kill_grace="0.2")
    job = queue.add(f"(setsid sleep 300 & echo $! > child); {HELD}", timeout=3600, max_retries=1)
    began = time.monotonic()
    queue.start()
    queue.pid("running")
    job_clock.advance(2400)
    orphan(queue, job, dies, started=queue.processes[-1])
    job_clock.advance(1200)
    ended = queue.until(job, "dead")

    (attempt,) = queue.attempts(job)
    assert queue.outcomes(job) == ["timeout"]
    assert ended.last_error == "killed after 1h by its timeout"
    assert attempt.seconds is not None
    assert 3600 <= attempt.seconds <= 3600 + time.monotonic() - began
    assert not alive(queue.pid("running"))
    assert not alive(queue.pid("child"))


def test_the_grace_time_does_not_start_again_at_each_adoption(
    queue: Queue, job_clock: JobClock
) -> None:
    """Regression: if a worker died during the grace time, its job got the whole time again."""
    # However long an adoption takes, the time before it was under a worker.
    queue.hooked("from queuectl.runner import adopted\nadopted._ADOPTION_SECONDS = 3600.0")
    queue.configure(kill_grace="600")
    job = queue.add(f"trap 'echo > told' TERM; {HELD}", timeout=60, max_retries=1)
    queue.start()
    queue.pid("running")
    job_clock.advance(60)
    wait_until((queue.work / "told").exists, what="the TERM")
    job_clock.advance(600)
    kill(queue.worker()["pid"])
    queue.until(job, "dead")

    (attempt,) = queue.attempts(job)
    assert queue.outcomes(job) == ["timeout"]
    assert attempt.seconds is not None
    assert 660 <= attempt.seconds < 660 + 600


def test_a_timeout_that_passed_while_no_pool_ran_is_enforced(
    queue: Queue, job_clock: JobClock
) -> None:
    """The next start kills the job at once."""
    queue.configure(kill_grace="0.2")
    job = queue.add(HELD, timeout=3600, max_retries=1)
    orphan(queue, job, "all", restart=False)
    running = queue.pid("running")
    job_clock.advance(3600)
    assert alive(running)
    queue.drain(workers=1)

    assert (queue.state(job), queue.outcomes(job)) == ("dead", ["timeout"])
    assert not alive(running)


@pytest.mark.on_disk
@pytest.mark.parametrize("dies", ["worker", "all"])
def test_an_adopted_job_keeps_its_output_limit(queue: Queue, dies: str) -> None:
    """Output before and after the adoption is kept as always: head, one marker line, tail."""
    queue.configure(output_limit="65536")
    half = "head -c 300000 /dev/zero | tr '\\0' x"
    job = queue.add(f"echo first; {half}; {HELD}; {half}; {half}; echo; echo last")
    worker = orphan(queue, job, dies)
    log = queue.files.worker_log(worker)
    wait_until(lambda: os.stat(log).st_blocks * 512 <= 3 * 65536, what="the hole in the log")
    queue.let_go()
    queue.until(job, "completed")

    (attempt,) = queue.attempts(job)
    printed = 6 + 900_000 + 6
    assert (attempt.output.size_bytes, attempt.output.truncated) == (printed, True)
    kept = Path(queue.files.execution_log(attempt.id)).read_bytes()
    head, marker, tail = kept.partition(b"\n[queuectl: %d bytes not kept]\n" % (printed - 65536))
    assert (len(head), head[:7]) == (32768, b"first\nx")
    assert marker
    assert (len(tail), tail[-7:]) == (32768, b"x\nlast\n")


def test_an_older_output_is_not_taken_for_that_of_an_adopted_job(queue: Queue) -> None:
    """Regression: the output of an older attempt with the same number was recorded for the job.

    The database had been removed since, so the numbers began again.
    """
    job = queue.add(NOTED + "echo new")
    Path(queue.files.execution_log(1)).write_text("old\n" * 10000)
    orphan(queue, job, "worker")
    queue.let_go()
    queue.until(job, "completed")

    assert queue.ok("logs", job) == "new"


@pytest.mark.parametrize("when", ["while adopted", "while nobody was there"])
def test_an_adopted_job_can_be_cancelled(queue: Queue, when: str) -> None:
    """The adopting worker kills all its processes."""
    queue.configure(kill_grace="0.2")
    job = queue.add(f"(setsid sleep 300 & echo $! > child); {HELD}")
    orphan(queue, job, "all", restart=when == "while adopted")
    queue.ok("cancel", job)
    if when == "while nobody was there":
        assert queue.state(job) == "processing"
        queue.start()
    queue.until(job, "cancelled")

    assert queue.outcomes(job) == ["cancelled"]
    assert not alive(queue.pid("running"))
    assert not alive(queue.pid("child"))


def test_a_cancel_that_comes_too_late_does_not_change_the_outcome(queue: Queue) -> None:
    """A job that completed before it could be killed is completed."""
    job = queue.add(HELD)
    orphan(queue, job, "all", restart=False)
    queue.let_go()
    wait_until(lambda: not alive(queue.pid("running")))
    queue.ok("cancel", job)
    queue.drain(workers=1)

    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])


def test_a_job_is_adopted_again_and_again(queue: Queue) -> None:
    """Worker after worker is killed, then a whole pool: the job runs on, once, and is recorded."""
    job = queue.add(NOTED + "exit 7", max_retries=1)
    dead = orphan(queue, job, "worker")
    for _ in range(3):
        adopter = queue.worker()
        assert adopter["job"] == job
        kill(adopter["pid"])
        dead = until_adopted(queue, job, adopter["id"])
    supervisor = queue.processes[-1]
    kill(supervisor.pid, queue.worker()["pid"])
    supervisor.wait()
    queue.start()
    until_adopted(queue, job, dead)
    queue.let_go()
    ended = queue.until(job, "dead")

    assert (queue.outcomes(job), ended.exit_code) == (["exit"], 7)
    assert ledger(queue) == ["begin", "end"]


def test_an_adopted_job_that_ends_without_a_pool_leaves_no_file(queue: Queue) -> None:
    """Regression: if the adopting worker was killed, the files of the first worker stayed."""
    job = queue.add(NOTED + "echo printed")
    orphan(queue, job, "worker")
    supervisor = queue.processes[-1]
    kill(supervisor.pid, queue.worker()["pid"])
    supervisor.wait()
    queue.let_go()
    wait_until(lambda: not alive(queue.pid("running")))
    queue.drain(workers=1)

    assert (queue.outcomes(job), queue.ok("logs", job)) == (["ok"], "printed")
    assert os.listdir(queue.files.logs) == []


def test_jobs_run_on_while_queuectl_is_upgraded(queue: Queue) -> None:
    """After `worker stop --leave-jobs` and a new start every job runs on and is recorded once."""
    held = f"echo $$ > running$N; echo begin >> ledger$N; {UNTIL_GO}; "
    ids = [queue.add(f"N={n}; {held} exit {n}", max_retries=1) for n in range(3)]
    old = queue.start(workers=3)
    running = [queue.pid(f"running{n}") for n in range(3)]
    assert queue.ok("worker", "stop", "--leave-jobs").startswith("stopped ")
    assert old.wait(timeout=30) == 0
    assert [queue.state(job) for job in ids] == ["processing"] * 3
    assert queue.json("worker", "list") == []
    assert all(map(alive, running))
    queue.start(workers=3)
    wait_until(lambda: sorted(w["job"] for w in queue.workers() if w["job"]) == sorted(ids))
    queue.let_go()

    assert [queue.until(job, "completed", "dead").exit_code for job in ids] == [0, 1, 2]
    assert [queue.outcomes(job) for job in ids] == [["ok"], ["exit"], ["exit"]]
    assert [(queue.work / f"ledger{n}").read_text() for n in range(3)] == ["begin\n"] * 3


def test_left_jobs_that_end_before_the_next_start_are_recorded_by_it(queue: Queue) -> None:
    """Their exit codes are not lost."""
    job = queue.add(NOTED + "exit 7", max_retries=1)
    queue.start()
    running = queue.pid("running")
    queue.ok("worker", "stop", "--leave-jobs")
    queue.let_go()
    wait_until(lambda: not alive(running))
    queue.drain()

    assert (queue.outcomes(job), queue.get(job).exit_code) == (["exit"], 7)
    assert ledger(queue) == ["begin", "end"]


def test_why_says_that_no_worker_watches_a_job(queue: Queue) -> None:
    """Regression: it named the worker that was gone, as if that still enforced the timeout."""
    job = queue.add(HELD)
    queue.start()
    queue.pid("running")
    worker = queue.worker()
    queue.ok("worker", "stop", "--leave-jobs")
    said = queue.json("why", job)

    assert said["reason"] == "unattended"
    assert said["message"].endswith(
        f" on worker {worker['id']}, which is gone: the next worker recovers it"
        " (queuectl worker start)"
    )
    queue.let_go()
    queue.drain()
    assert queue.outcomes(job) == ["ok"]


def test_an_adopted_job_can_be_left_again(queue: Queue) -> None:
    """`worker stop --leave-jobs` leaves it to the next worker, which adopts it."""
    job = queue.add(NOTED + "exit 7", max_retries=1)
    orphan(queue, job, "all")
    (adopter,) = [w["id"] for w in queue.workers() if w["job"] == job]
    queue.ok("worker", "stop", "--leave-jobs")
    queue.start()
    until_adopted(queue, job, adopter)
    queue.let_go()
    queue.until(job, "dead")

    assert (queue.outcomes(job), queue.get(job).exit_code) == (["exit"], 7)
    assert ledger(queue) == ["begin", "end"]


def test_logs_follow_goes_on_across_an_adoption(queue: Queue) -> None:
    """Each byte is printed once, until the end of the job, whichever worker has it."""
    job = queue.add(f"echo one; {HELD}; echo two; exit 7", max_retries=1)
    supervisor = queue.start()
    queue.pid("running")
    follower = queue.spawn("logs", "--follow", job)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "one\n"
    dead = queue.worker()
    kill(dead["pid"], supervisor.pid)
    supervisor.wait()
    queue.start()
    until_adopted(queue, job, dead["id"])
    queue.let_go()

    assert follower.stdout.read() == "two\n"
    assert follower.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("number", "state", "outcomes", "code"),
    [
        (signal.SIGTERM, "dead", ["exit"], 0),
        (signal.SIGQUIT, "pending", ["interrupted"], -signal.SIGQUIT),
    ],
)
def test_a_stop_treats_an_adopted_job_like_any_other(
    queue: Queue, number: signal.Signals, state: str, outcomes: list[str], code: int
) -> None:
    """After TERM to the supervisor it is finished; after QUIT it is killed and put back."""
    queue.configure(kill_grace="0.2")
    job = queue.add(HELD + "; exit 7", max_retries=1)
    orphan(queue, job, "all")
    supervisor = queue.processes[-1]
    supervisor.send_signal(number)
    if number == signal.SIGTERM:
        wait_until(lambda: "stopping" in (queue.folder / "workers.log").read_text())
        queue.let_go()

    assert supervisor.wait(timeout=30) == code
    assert (queue.state(job), queue.outcomes(job)) == (state, outcomes)
    assert queue.get(job).attempts == (1 if state == "dead" else 0)
    assert not alive(queue.pid("running"))


def test_a_drain_waits_for_an_adopted_job(queue: Queue) -> None:
    """`worker start --drain` exits when the adopted job and the waiting jobs have ended."""
    job, after = queue.add(HELD), queue.add("true")
    dead = orphan(queue, job, "all", restart=False)
    with (queue.folder / "log").open("w") as log:
        drain = queue.spawn("worker", "start", "--drain", stderr=log)
    until_adopted(queue, job, dead)
    assert drain.poll() is None
    queue.let_go()

    assert drain.wait(timeout=30) == 0
    assert [queue.state(job), queue.state(after)] == ["completed", "completed"]


def test_a_stopped_job_is_adopted(queue: Queue) -> None:
    """A job that is stopped (SIGSTOP) when its worker is killed is not taken for ended."""
    job = queue.add(NOTED + "exit 7", max_retries=1)
    supervisor = queue.start()
    running = queue.pid("running")
    os.killpg(running, signal.SIGSTOP)
    worker = queue.worker()
    kill(worker["pid"], supervisor.pid)
    supervisor.wait()
    queue.start()
    until_adopted(queue, job, worker["id"])
    assert queue.outcomes(job) == [None]
    os.killpg(running, signal.SIGCONT)
    queue.let_go()
    queue.until(job, "dead")

    assert (queue.outcomes(job), ledger(queue)) == (["exit"], ["begin", "end"])
