"""Jobs that are paused while they run: all their processes stop, and go on where they were."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from queuectl.core.states import JobState
from support.job_clock import JobClock
from support.processes import alive, kill, linux_only, status_field, words_of
from support.queue import Queue
from support.waiting import wait_until

pytestmark = linux_only

# A child, and one in a session of its own that nothing but its environment links to the job.
_TREE = (
    "sh -c 'echo $$ > child; until [ -e go ]; do sleep 0.02; done' & "
    "setsid sh -c 'echo $$ > far; until [ -e go ]; do sleep 0.02; done' >/dev/null 2>&1 8>&- & "
    "until [ -s far ] && [ -s child ]; do sleep 0.02; done; echo $$ > leader; "
    "until [ -e go ]; do sleep 0.02; done"
)


def _tree(queue: Queue) -> list[int]:
    return [queue.pid(name) for name in ("leader", "child", "far")]


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped, or a shell waits for a child that was stopped at its start."""
    try:
        state = status_field(pid, "State")[0]
        if state == "D":
            time.sleep(0.1)
            return status_field(pid, "State")[0] == "D"
        return state == "T"
    except OSError:  # it has ended
        return False


def _running(queue: Queue, word: str) -> list[int]:
    """Return the processes of the queue that have this word in their command line."""
    return [pid for pid in queue.pids() if word.encode() in words_of(pid)]


def _until_stopped(*pids: int) -> None:
    wait_until(lambda: all(map(_is_stopped, pids)), what="the processes to stop")


def _until_running(*pids: int) -> None:
    wait_until(lambda: not any(map(_is_stopped, pids)), what="the processes to go on")


def _let_end(queue: Queue, job: str, tree: list[int]) -> None:
    """Let a job of _TREE end; its other processes may end a little later than its shell."""
    queue.let_go()
    queue.until(job, "completed")
    wait_until(lambda: not any(map(alive, tree)), what="the end of all processes")


def test_all_processes_of_a_paused_job_stop_and_go_on(queue: Queue) -> None:
    """A detached one as well. The job then ends as if nothing had been."""
    job = queue.add(_TREE)
    queue.start()
    tree = _tree(queue)

    assert queue.ok("pause", job) == f"{job} is being paused"
    _until_stopped(*tree)
    assert queue.state(job) == "processing"
    assert queue.ok("resume", job) == f"{job} is resumed"
    _until_running(*tree)
    _let_end(queue, job, tree)
    assert queue.outcomes(job) == ["ok"]


def test_the_clock_of_the_timeout_stands_still(queue: Queue, job_clock: JobClock) -> None:
    """The job has the rest of its time afterwards, and no more than that."""
    job = queue.add("echo $$ > leader; sleep 300", timeout=600, max_retries=1)
    queue.start()
    leader = queue.pid("leader")
    job_clock.advance(300)
    queue.ok("pause", job)
    _until_stopped(leader)
    job_clock.advance(3600)
    time.sleep(1)  # time in which a timeout would be noticed
    assert queue.state(job) == "processing"

    queue.ok("resume", job)
    _until_running(leader)
    job_clock.advance(300)
    queue.until(job, "dead")
    assert queue.outcomes(job) == ["timeout"]
    assert queue.attempts(job)[0].seconds >= 4200


def test_a_paused_job_survives_its_worker(queue: Queue, job_clock: JobClock) -> None:
    """The replacement keeps it stopped, and knows how long it was paused."""
    job = queue.add("echo $$ > leader; until [ -e go ]; do sleep 0.02; done", timeout=600)
    queue.start()
    leader = queue.pid("leader")
    queue.ok("pause", job)
    _until_stopped(leader)
    dead = queue.worker()
    kill(dead["pid"])
    wait_until(lambda: queue.get(job).locked_by != dead["id"], what="the adoption")
    job_clock.advance(3600)
    time.sleep(1)  # time in which a timeout would be noticed

    assert _is_stopped(leader)
    queue.ok("resume", job)
    _until_running(leader)
    time.sleep(0.5)  # as above
    queue.let_go()
    queue.until(job, "completed")
    assert queue.outcomes(job) == ["ok"]


def test_an_adopted_job_can_be_paused(queue: Queue) -> None:
    """Its new worker stops the whole tree, too."""
    job = queue.add(_TREE)
    queue.start()
    tree = _tree(queue)
    dead = queue.worker()
    kill(dead["pid"])
    wait_until(lambda: queue.get(job).locked_by != dead["id"], what="the adoption")

    queue.ok("pause", job)
    _until_stopped(*tree)
    queue.ok("resume", job)
    _until_running(*tree)
    _let_end(queue, job, tree)


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_the_next_pool_does_what_was_asked_while_no_worker_ran(queue: Queue, command: str) -> None:
    """Supervisor and worker are dead when somebody pauses or resumes the job."""
    job = queue.add(_TREE)
    supervisor = queue.start()
    tree = _tree(queue)
    if command == "resume":
        queue.ok("pause", job)
        _until_stopped(*tree)
    worker = queue.worker()
    kill(supervisor.pid, worker["pid"])
    supervisor.wait()
    queue.ok(command, job)
    queue.start()

    if command == "pause":
        _until_stopped(*tree)
        queue.ok("resume", job)
    _until_running(*tree)
    _let_end(queue, job, tree)
    assert queue.outcomes(job) == ["ok"]


def test_a_paused_job_is_cancelled(queue: Queue) -> None:
    """TERM ends it, although it is stopped; none of its processes is left."""
    job = queue.add(_TREE)
    queue.configure(kill_grace="300")
    queue.start()
    tree = _tree(queue)
    queue.ok("pause", job)
    _until_stopped(*tree)

    queue.ok("cancel", job)
    queue.until(job, "cancelled")
    assert [alive(pid) for pid in tree] == [False] * 3


def test_a_paused_job_is_put_back_by_a_stop_at_once(queue: Queue) -> None:
    """It does not count, and is held back until it is resumed."""
    job = queue.add("echo $$ > leader; [ -e go ] || sleep 300")
    queue.start()
    leader = queue.pid("leader")
    queue.ok("pause", job)
    _until_stopped(leader)
    queue.ok("worker", "stop", "--now")

    assert (queue.state(job), queue.get(job).attempts) == ("pending", 0)
    assert not alive(leader)
    queue.let_go()
    queue.drain()
    assert queue.state(job) == "pending"
    queue.ok("resume", job)
    queue.drain()
    assert queue.state(job) == "completed"


def test_a_stop_says_that_it_waits_for_a_paused_job(queue: Queue) -> None:
    """It would otherwise wait for ever in silence; the log of the pool says so, too."""
    job = queue.add("echo $$ > leader; until [ -e go ]; do sleep 0.02; done", id="a")
    queue.start()
    leader = queue.pid("leader")
    queue.ok("pause", job)
    _until_stopped(leader)
    stopped = queue.run("worker", "stop", "--timeout", "2")

    assert (stopped.code, stopped.err.splitlines()[0]) == (
        124,
        "waiting for a, which is paused (queuectl resume a lets it go on,"
        " queuectl worker stop --now puts it back)",
    )
    log = queue.folder / "workers.log"
    wait_until(lambda: "a is paused; this worker exits after it" in log.read_text())
    queue.let_go()
    queue.ok("resume", job)
    queue.until(job, "completed")


def test_a_drain_does_not_wait_for_a_paused_job_that_waits(queue: Queue) -> None:
    """As with a paused queue; the others run."""
    first, second = queue.add_many("echo", "echo")
    queue.ok("pause", first)
    queue.drain()

    assert (queue.state(first), queue.state(second)) == ("pending", "completed")


def test_a_job_that_ends_during_its_pause_lets_its_leftover_processes_go_on(queue: Queue) -> None:
    """Somebody killed its stopped shell. Nothing would ever continue the others."""
    job = queue.add(_TREE, max_retries=1)
    queue.start()
    leader, child, far = _tree(queue)
    queue.ok("pause", job)
    _until_stopped(leader, child, far)
    kill(leader)
    queue.until(job, "dead")

    _until_running(child, far)
    queue.let_go()
    wait_until(lambda: not alive(child) and not alive(far), what="the end of the others")


# It forks and exits all the time, each time in a new session: it has another PID at every look.
_RUNNER = """
import os, time
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
    with open("beats", "ab") as out:
        out.write(b".")
    if os.path.exists("go"):
        break
"""


@pytest.mark.parametrize("times", range(3))
def test_a_tree_that_forks_all_the_time_is_stopped(queue: Queue, times: int) -> None:
    """A look at all processes takes time, and the process has forked meanwhile."""
    (queue.work / "runner.py").write_text(_RUNNER)
    program = f"{sys.executable} -S -E runner.py"
    job = queue.add(f"{program} & {program} & until [ -e go ]; do sleep 0.02; done")
    queue.start()
    beats = queue.work / "beats"
    wait_until(lambda: beats.exists() and beats.stat().st_size > 100)
    queue.ok("pause", job)

    def looked() -> tuple[list[int], int]:
        return sorted(_running(queue, "runner.py")), beats.stat().st_size

    def stopped() -> tuple[list[int], int] | None:
        # One that runs has another PID at the next look, or has been missed in one of them.
        before = looked()
        stand = len(before[0]) >= 2 and all(map(_is_stopped, before[0]))
        return before if stand and looked() == before else None

    still = wait_until(stopped, what="the processes to stop")
    time.sleep(1.5)  # time in which one that was missed would go on
    assert looked() == still
    queue.ok("resume", job)
    wait_until(lambda: beats.stat().st_size > still[1], what="the processes to go on")
    queue.let_go()
    queue.until(job, "completed")
    # They look for `go` after each fork, so a slow one may outlive the job.
    wait_until(lambda: not _running(queue, "runner.py"), what="the end of the others")


def test_a_job_that_writes_into_its_queue_holds_up_nobody_while_it_is_paused(queue: Queue) -> None:
    """It is not stopped while it holds a lock of the queue: nobody could resume it then."""
    writes = "while [ ! -e go ]; do queuectl enqueue -q --queue other true; done"
    job = queue.add(f"echo $$ > leader; {writes} & {writes}; wait")
    queue.start("--queue", "default")
    leader = queue.pid("leader")
    for _ in range(15):
        queue.ok("pause", job)
        _until_stopped(leader)
        queue.ok("enqueue", "--queue", "mine", "true")
        queue.ok("resume", job)
        _until_running(leader)
    queue.let_go()
    queue.until(job, "completed")


def test_a_process_that_holds_the_write_lock_runs_on_until_it_gives_it_up(queue: Queue) -> None:
    """Only then it is stopped as well."""
    hold = (
        "import fcntl, os, time; lock = open(os.environ['LOCK'], 'a'); "
        "fcntl.flock(lock, fcntl.LOCK_EX); open('held', 'w').write('%d\\n' % os.getpid())\n"
        "while not os.path.exists('give-up'): time.sleep(0.01)\n"
        "fcntl.flock(lock, fcntl.LOCK_UN); open('given-up', 'w').close()\n"
        "while True: time.sleep(0.01)"
    )
    (queue.work / "hold.py").write_text(hold)
    queue.configure(kill_grace="1")
    job = queue.add(
        f"{sys.executable} hold.py & echo $$ > leader; wait", env={"LOCK": queue.files.start_lock}
    )
    queue.start()
    leader, holder = queue.pid("leader"), queue.pid("held")
    queue.ok("pause", job)
    _until_stopped(leader)

    time.sleep(2)
    # Again and again it is stopped, seen to hold the lock, and continued.
    wait_until(lambda: not _is_stopped(holder))
    (queue.work / "give-up").touch()
    wait_until((queue.work / "given-up").exists, what="the lock to be given up")
    _until_stopped(holder)
    time.sleep(1.5)
    assert _is_stopped(holder)
    queue.ok("cancel", job)
    queue.until(job, "cancelled")


def test_a_job_that_was_never_paused_may_stop_a_process_of_its_own(queue: Queue) -> None:
    """Adoption does not continue it."""
    job = queue.add(
        "sh -c 'echo $$ > child; kill -STOP $$; touch woken' & until [ -e go ]; do sleep 0.02; done"
    )
    queue.start()
    child = queue.pid("child")
    _until_stopped(child)
    dead = queue.worker()
    kill(dead["pid"])
    wait_until(lambda: queue.get(job).locked_by != dead["id"], what="the adoption")
    time.sleep(1.5)

    assert _is_stopped(child)
    os.kill(child, signal.SIGCONT)
    queue.let_go()
    queue.until(job, "completed")


def test_the_next_attempt_of_a_job_is_not_paused(queue: Queue) -> None:
    """Its clock begins anew."""
    job = queue.add(
        "[ $QUEUECTL_ATTEMPT = 1 ] || exit 0; echo $$ > leader; until [ -e go ]; do sleep 0.02; "
        "done; exit 3"
    )
    queue.configure(backoff_base="1")
    queue.start()
    leader = queue.pid("leader")
    queue.ok("pause", job)
    _until_stopped(leader)
    queue.let_go()
    queue.ok("resume", job)
    queue.until(job, "completed")

    assert queue.outcomes(job) == ["exit", "ok"]
    assert queue.get(job).paused_at is None


def test_the_pool_tells_on_a_terminal_and_in_its_log(queue: Queue) -> None:
    """One line when the job is paused, one when it goes on."""
    job = queue.add("echo $$ > leader; until [ -e go ]; do sleep 0.02; done", id="a")
    queue.start()
    leader = queue.pid("leader")
    queue.ok("pause", job)
    _until_stopped(leader)
    queue.ok("resume", job)
    _until_running(leader)
    queue.let_go()
    queue.until(job, "completed")

    log = Path(queue.folder / "workers.log").read_text()
    said = [line[20:] for line in log.splitlines() if line[20:21] == "a"]
    assert said[:3] == ["a started (attempt 1 of 3)", "a is paused", "a goes on"]
    assert queue.get(job).state is JobState.COMPLETED
