"""Workers and supervisors that are killed: no job is lost, and none runs twice at once."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from itertools import count
from pathlib import Path

import pytest

from queuectl.core.times import utcnow
from queuectl.host import lockfiles
from queuectl.host.files import QueueFiles
from queuectl.host.signals import KILL_SIGNAL
from queuectl.worker.assignment import Assignment, WorkerExit
from queuectl.worker.plan import Plan
from queuectl.worker.start import open_pool
from queuectl.worker.supervisor import Supervisor
from support.forks import in_processes
from support.held import HELD
from support.processes import alive, linux_only
from support.queue import Queue
from support.rows import sql
from support.waiting import wait_until

# The first attempt starts several processes, one of them in a session of its own. A second attempt
# ends at once.
_TREE = (
    "[ $QUEUECTL_ATTEMPT = 1 ] || exit 0; sleep 300 & echo $! > child; "
    "setsid sh -c 'echo $$ > far; exec sleep 300' >/dev/null 2>&1 8>&- & "
    "until [ -s far ]; do sleep 0.02; done; echo $$ > leader; wait"
)


def _tree(queue: Queue) -> dict[str, int]:
    return {name: queue.pid(name) for name in ("leader", "child", "far")}


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _assert_lost_and_run_again(queue: Queue, job: str, tree: dict[str, int]) -> None:
    queue.until(job, "completed")
    assert {name: alive(pid) for name, pid in tree.items()} == dict.fromkeys(tree, False)
    lost, again = queue.attempts(job)
    assert lost.outcome is not None
    assert again.outcome is not None
    assert (lost.outcome.value, again.outcome.value) == ("lost", "ok")
    assert queue.get(job).attempts == 2
    assert lost.finished_at is not None
    # A lost attempt is retried after the usual delay, 2 s here.
    assert (again.started_at - lost.finished_at).total_seconds() > 1


def test_a_job_of_a_killed_worker_is_run_again(queue: Queue) -> None:
    """Its processes are killed, the attempt is lost, and a new worker runs it."""
    queue.configure(on_worker_death="kill")
    job = queue.add(_TREE)
    supervisor = queue.start()
    tree = _tree(queue)
    dead = queue.worker()
    _kill(dead["pid"])

    _assert_lost_and_run_again(queue, job, tree)
    assert queue.worker()["id"] != dead["id"]
    left = [path.name for path in Path(queue.files.workers).iterdir()]
    assert [name for name in left if name.startswith(dead["id"] + ".")] == []
    assert supervisor.poll() is None


def test_a_job_of_a_killed_pool_is_run_by_the_next_pool(queue: Queue) -> None:
    """Supervisor and worker are killed; the next pool kills the processes and runs the job."""
    queue.configure(on_worker_death="kill")
    job = queue.add(_TREE)
    supervisor = queue.start()
    tree = _tree(queue)
    worker = queue.worker()["pid"]
    _kill(supervisor.pid)
    _kill(worker)
    supervisor.wait()
    wait_until(lambda: not alive(worker))
    assert all(alive(pid) for pid in tree.values())
    queue.start()

    _assert_lost_and_run_again(queue, job, tree)
    assert len({name.split("-")[0] for name in lockfiles.owners(queue.files)}) == 1


def test_a_worker_without_a_supervisor_finishes_its_job(queue: Queue) -> None:
    """It records the job and exits, without claiming another."""
    job = queue.add(HELD)
    supervisor = queue.start(workers=2)
    queue.pid("running")
    workers = [worker["pid"] for worker in queue.workers()]
    _kill(supervisor.pid)
    supervisor.wait()
    wait_until(lambda: sum(map(alive, workers)) == 1, what="the idle worker to leave")
    waiting = queue.add("true")
    queue.let_go()

    wait_until(lambda: not any(map(alive, workers)))
    assert (queue.state(job), queue.outcomes(job)) == ("completed", ["ok"])
    assert queue.state(waiting) == "pending"
    assert queue.storage.workers() == []


def test_worker_stop_waits_for_workers_without_a_supervisor(queue: Queue) -> None:
    """Regression: `worker stop` said that no worker is running, while one still ran its job."""
    queue.configure(kill_grace="0.3")
    job = queue.add(HELD)
    supervisor = queue.start()
    queue.pid("running")
    worker = queue.worker()
    _kill(supervisor.pid)
    supervisor.wait()

    assert queue.ok("worker", "stop", "--now") == f"stopped {worker['id']}"
    assert not alive(worker["pid"])
    assert (queue.state(job), queue.outcomes(job)) == ("pending", ["interrupted"])


@linux_only
def test_worker_stop_waits_until_the_processes_are_gone(queue: Queue) -> None:
    """Regression: it returned when the locks were released, which is a little before the end."""
    hook = queue.hooked(
        """
        import time
        from queuectl.host import lockfiles
        remove = lockfiles.ProcessLock.remove
        def removing(lock):
            remove(lock)
            time.sleep(1)
        lockfiles.ProcessLock.remove = removing
        """
    )
    supervisor = queue.start(env=hook)
    worker = queue.worker()
    queue.ok("worker", "stop")
    assert not alive(supervisor.pid)
    assert not alive(worker["pid"])


@linux_only
def test_a_kill_reaches_the_job_of_a_worker_that_has_just_died(queue: Queue) -> None:
    """Regression: the replacement was forked after the order and never got it: the pool stayed."""
    job = queue.add(HELD, timeout=0)
    supervisor = queue.start()
    running = queue.pid("running")
    worker = queue.worker()
    os.kill(supervisor.pid, signal.SIGSTOP)
    _kill(worker["pid"])
    os.kill(supervisor.pid, KILL_SIGNAL)
    os.kill(supervisor.pid, signal.SIGCONT)

    supervisor.wait(timeout=30)
    assert not alive(running)
    assert queue.state(job) == "pending"
    assert queue.outcomes(job) == ["interrupted"]


@linux_only
def test_a_pool_that_is_being_killed_adopts_no_job_of_another_pool(queue: Queue) -> None:
    """Regression: a pool that was leaving took over, and killed, the jobs of a dead pool."""
    queue.configure(kill_grace="5")
    mine = queue.add("trap '' TERM; echo $$ > mine; while :; do sleep 1; done", queue="mine")
    leaving = queue.start("--queue", "mine", workers=1)
    queue.pid("mine")
    other = queue.add(HELD, timeout=0, queue="other")
    dead = queue.start("--queue", "other", workers=1)
    running = queue.pid("running")
    (holder,) = [one for one in queue.workers() if one["job"] == other]
    leaving.send_signal(KILL_SIGNAL)
    os.kill(dead.pid, signal.SIGKILL)
    _kill(holder["pid"])
    dead.wait()

    leaving.wait(timeout=30)
    assert queue.state(mine) == "pending"
    assert alive(running)
    assert queue.get(other).locked_by == holder["id"]
    queue.let_go()
    queue.drain("--queue", "other")
    assert queue.outcomes(other) == ["ok"]


def test_a_job_whose_every_attempt_is_lost_ends_in_the_dlq(queue: Queue) -> None:
    """Lost attempts are counted, so a job that kills its worker does not do so for ever."""
    queue.configure(backoff_base="1", backoff_max="0", on_worker_death="kill")
    job = queue.add("kill -KILL $PPID; sleep 300", max_retries=3)
    after = queue.add("true")
    queue.start()
    ended = queue.until(job, "dead")

    assert queue.outcomes(job) == ["lost", "lost", "lost"]
    assert ended.last_error == "lost with its worker"
    queue.until(after, "completed")


@linux_only
def test_a_supervisor_without_a_free_descriptor_goes_on(queue: Queue) -> None:
    """Regression: it exited, and its workers with it, when one scan for dead workers failed."""
    job = queue.add(HELD)
    supervisor = queue.start()
    queue.pid("running")
    worker = queue.worker()
    soft, hard = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (3, hard))
    _kill(worker["pid"])
    log = queue.folder / "workers.log"
    for text in ("cannot fork a worker: Too many open files", "cannot look into"):
        wait_until(lambda text=text: text in log.read_text(), what=text)
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (soft, hard))
    queue.let_go()

    queue.until(job, "completed")
    assert queue.outcomes(job) == ["ok"]
    assert supervisor.poll() is None


def _died(queue: Queue) -> int:
    return (queue.folder / "workers.log").read_text().count(" died (")


def _let_next_workers_crash(queue: Queue, supervisor: str) -> None:
    # A folder takes the name of the first file that each of them creates.
    for number in range(2, 9):
        Path(queue.files.workers, f".{supervisor}-{number}.new").mkdir()


def test_a_worker_that_crashes_at_its_start_is_replaced_later_and_later(queue: Queue) -> None:
    """A replacement starts at once, the next ones after 1, 2, 4 … s."""
    queue.storage  # noqa: B018 (makes the queue)
    env = queue.hooked("from queuectl.worker import restarts\nrestarts._YOUNG_SECONDS = 300.0")
    queue.start(env=env)
    worker = queue.worker()
    _let_next_workers_crash(queue, worker["supervisor"])
    began = time.monotonic()
    _kill(worker["pid"])
    wait_until(lambda: _died(queue) == 4, what="the fourth death")
    assert time.monotonic() - began >= 3


def test_a_stop_does_not_wait_for_a_replacement(queue: Queue) -> None:
    """Regression: the supervisor exited only when the next replacement would have been due."""
    queue.storage  # noqa: B018 (makes the queue)
    env = queue.hooked("from queuectl.worker import restarts\nrestarts.FIRST_DELAY_SECONDS = 300.0")
    supervisor = queue.start(env=env)
    worker = queue.worker()
    _let_next_workers_crash(queue, worker["supervisor"])
    _kill(worker["pid"])
    wait_until(lambda: _died(queue) == 2, what="the second death")

    supervisor.terminate()
    supervisor.wait(timeout=60)
    assert _died(queue) == 2


def test_a_crash_loop_ends_when_its_cause_is_gone(queue: Queue) -> None:
    """The delayed replacement runs the waiting jobs."""
    job = queue.add("true", queue="later")
    queue.start("--queue", "now", workers=1)
    worker = queue.worker()
    Path(queue.files.workers, f".{worker['supervisor']}-2.new").mkdir()
    _kill(worker["pid"])
    wait_until(lambda: _died(queue) == 2)
    held = queue.add("true", queue="now")

    queue.until(held, "completed")
    assert queue.state(job) == "pending"


def test_a_recovery_that_was_killed_at_its_end_is_not_repeated(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extra worker that dies after the recovery leaves nothing to recover.

    Regression: each such worker got a replacement, and was itself started again and again. Where
    memory was short, or a worker could not exit cleanly, that filled the machine with processes.
    """
    queue.enqueue("true")
    started = tmp_path / "started"
    lockfiles.ProcessLock.take(queue.files, "dead-1", {"pid": 1}).close()

    def work(files: QueueFiles, assignment: Assignment) -> WorkerExit:
        if not assignment.recovers_only:
            os.read(assignment.orders, 1)
            return WorkerExit.DONE
        lockfiles.ProcessLock.take(queue.files, assignment.worker, {"pid": os.getpid()})
        with started.open("a") as log:
            log.write(f"{assignment.recovers}\n")
        lock = lockfiles.take_stale(queue.files, str(assignment.recovers))
        if lock is not None:
            lock.remove()
        os._exit(70)

    later_scans = count()
    sweep = lockfiles.remove_unfinished

    def stop_at_last(where: QueueFiles) -> None:
        sweep(where)
        if not Path(queue.files.process_lock("dead-1")).exists() and next(later_scans) == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    def pool() -> int:
        monkeypatch.setattr("queuectl.worker.supervisor._SCAN_SECONDS", 0.05)
        monkeypatch.setattr("queuectl.worker.restarts.FIRST_DELAY_SECONDS", 0.05)
        monkeypatch.setattr(lockfiles, "remove_unfinished", stop_at_last)
        plan = Plan(1)
        opened = open_pool(queue.files, plan, unless_running=False)
        assert opened is not None
        return Supervisor(queue.files, opened[0], plan, opened[1], work).run()

    assert in_processes([pool]) == [0]
    assert started.read_text().splitlines() == ["dead-1"]
    assert os.listdir(queue.files.workers) == []


def test_a_lock_file_that_cannot_be_opened_delays_no_replacement(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: without a free descriptor a dead worker seemed to have run nothing.

    That counted as a crash at the start, so its replacement, and the job, waited up to a minute.
    """
    queue.enqueue("true")

    def work(files: QueueFiles, assignment: Assignment) -> WorkerExit:
        lock = lockfiles.ProcessLock.take(files, assignment.worker, {"pid": os.getpid()})
        if assignment.worker.endswith("-4"):
            os.kill(os.getppid(), signal.SIGTERM)
            os.read(assignment.orders, 1)
            lock.remove()
            return WorkerExit.DONE
        lock.show_job(lockfiles.JobProcess(1, os.getpid(), 1, assignment.worker))
        os._exit(70)

    def pool() -> int:
        monkeypatch.setattr("queuectl.worker.restarts.FIRST_DELAY_SECONDS", 300.0)
        monkeypatch.setattr(lockfiles, "_open", lambda path: None)
        plan = Plan(1)
        opened = open_pool(queue.files, plan, unless_running=False)
        assert opened is not None
        return Supervisor(queue.files, opened[0], plan, opened[1], work).run()

    assert in_processes([pool]) == [0]


def test_a_closed_log_pipe_ends_no_worker(queue: Queue) -> None:
    """Regression: `worker start 2>&1 | head` killed workers and jobs by SIGPIPE."""
    supervisor = queue.start(stderr=subprocess.PIPE)
    assert supervisor.stderr is not None
    supervisor.stderr.close()
    ids = queue.add_many("true", "exit 1", max_retries=1)

    assert [queue.until(job, "completed", "dead").state.value for job in ids] == [
        "completed",
        "dead",
    ]
    supervisor.terminate()
    assert supervisor.wait(timeout=30) >= 0


def test_a_stop_just_after_the_death_of_a_worker_works(queue: Queue) -> None:
    """Regression: SIGPIPE killed the supervisor when it wrote to the pipe of the dead worker."""
    queue.configure(on_worker_death="kill")
    job = queue.add(HELD)
    supervisor = queue.start()
    running = queue.pid("running")
    worker = queue.worker()["pid"]
    os.kill(supervisor.pid, signal.SIGSTOP)
    _kill(worker)
    wait_until(lambda: not alive(worker))
    supervisor.terminate()
    os.kill(supervisor.pid, signal.SIGCONT)

    assert supervisor.wait(timeout=30) == 0
    assert (queue.state(job), queue.outcomes(job)) == ("failed", ["lost"])
    assert not alive(running)


def test_everything_survives_a_kill_of_all_processes(queue: Queue) -> None:
    """Jobs in every state are unchanged, and the attempts are counted on from there."""
    queue.configure(backoff_base="600", backoff_max="1h")
    done, failed, dead = queue.add("true"), queue.add("exit 5"), queue.add("exit 6", max_retries=1)
    supervisor = queue.start()
    queue.until(done, "completed")
    queue.until(failed, "failed")
    queue.until(dead, "dead")
    for pid in (supervisor.pid, queue.worker()["pid"]):
        _kill(pid)
    supervisor.wait()
    scheduled = queue.enqueue("true", "--delay", "1h")
    pending = queue.enqueue("true", "--queue", "unserved")
    before = [queue.get(job) for job in (done, failed, dead, scheduled, pending)]
    assert [job.state.value for job in before] == [
        "completed",
        "failed",
        "dead",
        "scheduled",
        "pending",
    ]
    queue.close_storage()
    assert [queue.get(job.id) for job in before] == before

    queue.storage.edit(queue.get(failed), {"run_at": utcnow()}, now=utcnow())
    queue.start("--queue", "default")
    wait_until(lambda: queue.outcomes(failed) == ["exit", "exit"], what="the second attempt")
    assert [queue.get(job.id) for job in before if job.id != failed] == [
        job for job in before if job.id != failed
    ]


def test_a_replacement_that_dies_of_the_job_that_it_adopted_is_delayed(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adopted job is no achievement: only a job that the worker started itself counts.

    Prevents a bug: the next replacement came at once, and died of the same job, 379 times in 5 s.
    """
    queue.enqueue("true")
    started = tmp_path / "started"

    def work(files: QueueFiles, assignment: Assignment) -> WorkerExit:
        if assignment.recovers_only:
            return WorkerExit.DONE
        lock = lockfiles.ProcessLock.take(files, assignment.worker, {"pid": os.getpid()})
        lock.show_job(lockfiles.JobProcess(1, os.getpid(), None, "other-1"))
        with started.open("a") as log:
            log.write(f"{time.monotonic()}\n")
        if len(started.read_text().splitlines()) == 3:
            os.kill(os.getppid(), signal.SIGTERM)
        os._exit(70)

    def pool() -> int:
        monkeypatch.setattr("queuectl.worker.restarts.FIRST_DELAY_SECONDS", 3.0)
        monkeypatch.setattr("queuectl.worker.restarts._YOUNG_SECONDS", 300.0)
        plan = Plan(1)
        opened = open_pool(queue.files, plan, unless_running=False)
        assert opened is not None
        return Supervisor(queue.files, opened[0], plan, opened[1], work).run()

    in_processes([pool])
    _, second, third = map(float, started.read_text().splitlines()[:3])
    assert third - second > 2.9


@linux_only
def test_jobs_whose_lock_files_were_removed_get_a_worker_each(queue: Queue) -> None:
    """Meanwhile the only worker of the pool goes on with other jobs.

    Prevents a bug: it watched one job to its end before it looked at the next, whose timeout
    nobody kept, and claimed nothing for hours.
    """
    queue.configure(kill_grace="1")
    endless = queue.add("echo > one; sleep 300")
    timed = queue.add("echo > two; sleep 300", timeout=4.0, max_retries=1)
    pool = queue.start(workers=2)
    wait_until(lambda: (queue.work / "one").exists() and (queue.work / "two").exists())
    supervisor = pool.pid
    os.kill(supervisor, signal.SIGSTOP)
    for worker in queue.workers():
        os.kill(worker["pid"], signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    pool.wait()
    for path in Path(queue.files.workers).iterdir():
        path.unlink()
    other = queue.add("true")
    queue.start(workers=1)

    queue.until(other, "completed")
    assert queue.until(timed, "dead").last_error == "killed after 4 s by its timeout"
    wait_until(lambda: endless in [worker["job"] for worker in queue.workers()])
    queue.ok("cancel", endless)
    queue.until(endless, "cancelled")


def test_a_head_of_a_queue_without_jobs_ends_the_pool(queue: Queue) -> None:
    """Prevents a bug: it took the write lock again and again, for a job that is not there."""
    pool = queue.start()
    queue.until(queue.add("true"), "completed")
    sql(
        queue.storage,
        "INSERT INTO job_counts (state, queue, jobs, head_priority, head_seq)"
        " VALUES ('pending', 'default', 1, 0, 999)",
    )

    assert pool.wait(30) == 1
