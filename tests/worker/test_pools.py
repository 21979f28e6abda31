"""`worker start`: which jobs a pool runs, what it logs, and when it ends by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from queuectl.host import lockfiles, signals, wakeup
from queuectl.host.pools import living_pools
from queuectl.storage.write_lock import WriteLock
from support.calls import COMMAND
from support.held import HELD, UNTIL_GO
from support.job_clock import JobClock
from support.legacy import make
from support.processes import linux_only, suspend
from support.queue import Queue
from support.waiting import wait_until


def _workers(queue: Queue) -> list[Any]:
    return queue.json("worker", "list")


def test_a_drain_waits_for_retries_but_not_for_later_jobs(queue: Queue) -> None:
    """It ends when no job is pending, failed or running, with exit 0; scheduled jobs stay."""
    queue.configure(backoff_base="1", backoff_max="1", backoff_jitter="0")
    flaky = queue.add("[ $QUEUECTL_ATTEMPT = 2 ]")
    hopeless = queue.add("exit 1", max_retries=1)
    later = queue.enqueue("true", "--delay", "1h")
    queue.drain(workers=3)

    assert [queue.state(job) for job in (flaky, hopeless, later)] == [
        "completed",
        "dead",
        "scheduled",
    ]


def test_a_drain_of_one_queue_leaves_the_others(queue: Queue) -> None:
    """With --queue only the named queues are served, and only they have to be empty."""
    mine = [queue.add("true", queue=name) for name in ("a", "b")]
    other = queue.add("true", queue="c")
    queue.drain("--queue", "a", "--queue", "b")

    assert [queue.state(job) for job in (*mine, other)] == ["completed", "completed", "pending"]


def test_a_drain_of_an_empty_queue_ends_at_once(queue: Queue) -> None:
    """`worker start` creates the queue and exits with 0; no file of a worker is left."""
    queue.drain(workers=2)

    assert queue.counts() == {}
    assert os.listdir(queue.files.workers) == []
    assert os.listdir(queue.files.logs) == []


def test_a_worker_exits_after_max_jobs(queue: Queue) -> None:
    """Two workers with three jobs each run six jobs. They are not replaced; the exit code is 0."""
    ids = queue.add_many(*["true"] * 8)
    done = queue.run("worker", "start", "--count", "2", "--max-jobs", "3")

    assert done.code == 0
    assert queue.counts() == {"completed": 6, "pending": 2}
    assert [queue.state(job) for job in ids[6:]] == ["pending", "pending"]


def test_after_max_runtime_no_job_is_claimed(queue: Queue) -> None:
    """The running job is finished, the next one is not started, and the exit code is 0."""
    running, waiting = queue.add(HELD), queue.add("true")
    pool = queue.start("--max-runtime", "5s")
    queue.pid("running")
    ends = time.monotonic() + 5
    wait_until(lambda: time.monotonic() > ends, what="the end of the runtime")
    queue.let_go()

    assert pool.wait(30) == 0
    assert [queue.state(job) for job in (running, waiting)] == ["completed", "pending"]


def test_unless_running_called_20_times_starts_one_pool(queue: Queue) -> None:
    """Of several that start at the same time one goes on; the others exit with 0 and no output."""
    queue.add("true")
    pools = [queue.spawn("worker", "start", "--unless-running", "-q") for _ in range(20)]
    wait_until(
        lambda: sum(pool.poll() is None for pool in pools) == 1, timeout=100, what="one pool"
    )
    wait_until(lambda: len(queue.workers()) == 1)

    (kept,) = [pool for pool in pools if pool.poll() is None]
    ended = [pool.communicate() for pool in pools if pool is not kept]
    assert ended == [("", "")] * 19
    assert {pool.returncode for pool in pools if pool is not kept} == {0}

    # A pool for all queues serves each queue; a pool for one queue does not serve all.
    assert queue.run("worker", "start", "--unless-running", "--queue", "q").code == 0
    queue.ok("worker", "stop", "-q")
    assert kept.wait(timeout=30) == 0
    queue.start("--queue", "q")
    assert queue.run("worker", "start", "--unless-running", "--queue", "q").code == 0
    queue.start("--unless-running")
    assert sorted(worker["queues"] for worker in _workers(queue)) == [[], ["q"]]


def test_the_log_has_a_line_per_event(queue: Queue) -> None:
    """The log goes to stderr, or into --log-file with mode 0600. It holds no command."""
    log = queue.folder / "pool.log"
    good, bad = queue.add("echo hello"), queue.add("echo secret; exit 3", max_retries=1)
    done = queue.run("worker", "start", "--drain", "--log-file", str(log))

    assert (done.code, done.out, done.err) == (0, "", "")
    assert log.stat().st_mode & 0o777 == 0o600
    lines = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert f"{good} started (attempt 1 of 3)" in lines
    assert any(line.startswith(f"{good} completed in ") for line in lines)
    assert any(line.endswith(f"(6 bytes: queuectl logs {good})") for line in lines)
    dead = f"{bad} is dead: exit 3; attempt 1 of 1 (queuectl dlq retry {bad})"
    assert dead in lines
    assert "secret" not in log.read_text()


def test_the_commands_of_the_log_can_be_copied(queue: Queue) -> None:
    """The id of a job may hold what a shell acts on."""
    queue.add("true", id="a;b")
    queue.add("exit 3", id="c&d", max_retries=1)
    logged = queue.drain()

    assert "queuectl logs 'a;b')" in logged
    assert "(queuectl dlq retry 'c&d')" in logged


def test_the_key_log_commands_names_labels_and_commands_in_the_log(queue: Queue) -> None:
    """A long command is cut in its middle."""
    queue.configure(log_commands="on")
    labelled = queue.add("exit 3", label="nightly build", max_retries=1)
    long = queue.add("true " + "x" * 300)
    log = re.sub(r"in \d\.\d\d s", "in 0.25 s", queue.drain(workers=1))
    lines = [line.split(" ", 2)[2] for line in log.splitlines()]

    cut = f"true {'x' * 94}…{'x' * 100}"
    assert lines[1:] == [
        f"{labelled} (nightly build) started (attempt 1 of 1)",
        f"{labelled} (nightly build) is dead: exit 3; attempt 1 of 1 "
        f"(queuectl dlq retry {labelled})",
        f"{long} ({cut}) started (attempt 1 of 3)",
        f"{long} ({cut}) completed in 0.25 s (0 bytes: queuectl logs {long})",
        "all workers have left",
    ]


def test_a_log_file_that_cannot_be_written_is_refused(queue: Queue) -> None:
    """The error is one line with exit 1, and no worker is started."""
    line = queue.fails(1, "worker", "start", "--log-file", str(queue.folder / "no" / "log"))

    assert line == (
        f"queuectl worker start: cannot write {queue.folder}/no/log: No such file or directory"
    )
    assert _workers(queue) == []


def test_worker_list_shows_each_worker_and_its_job(queue: Queue) -> None:
    """JSON and table show id, pid, queues and job; workers that are gone are not listed."""
    assert queue.run("worker", "list").code == 1  # no queue yet
    job = queue.add(HELD, queue="q1")
    assert _workers(queue) == []
    supervisor = queue.start("--queue", "q1", "--queue", "q2")
    pid = queue.pid("running")

    (worker,) = _workers(queue)
    shown = queue.show(job)
    assert set(worker) >= {"id", "pid", "host", "started_at", "queues", "job"}
    assert (worker["queues"], worker["job"]) == (["q1", "q2"], job)
    assert worker["host"] == os.uname().nodename
    assert shown["locked_by"] == shown["executions"][0]["worker"] == worker["id"]
    assert shown["executions"][0]["outcome"] is None
    header, row = queue.ok("worker", "list").splitlines()
    assert header.split() == ["WORKER", "PID", "STARTED", "QUEUES", "JOB", "SINCE"]
    assert row.split()[:2] == [worker["id"], str(worker["pid"])]
    assert job in row.split()
    assert pid != worker["pid"]

    queue.let_go()
    queue.until(job, "completed")
    (idle,) = _workers(queue)
    assert (idle["id"], idle["job"]) == (worker["id"], None)
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0
    assert _workers(queue) == []
    assert queue.run("worker", "list").err == "no worker is running (queuectl worker start)\n"


def test_a_start_that_cannot_create_its_files_says_why(queue: Queue) -> None:
    """Regression: a system error while a queue was created or upgraded gave exit 1, no message."""
    make(queue.database)
    Path(f"{queue.database}.before-upgrade.unfinished").mkdir()
    done = queue.run("worker", "start")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("queuectl worker start: ")
    assert len(done.err.splitlines()) == 1


@linux_only
@pytest.mark.parametrize("called", [[COMMAND], ["-m", "queuectl"]], ids=["script", "module"])
def test_a_pool_has_the_command_line_of_worker_start(queue: Queue, called: list[str]) -> None:
    """So `pgrep -f 'worker start'` finds the pool, though it is a new program (exec)."""
    words = [sys.executable, *called, "worker", "start", "-q"]
    pool = subprocess.Popen(words, env=queue.env, cwd=str(queue.work), text=True)
    queue.processes.append(pool)
    wait_until(queue.workers)

    assert Path(f"/proc/{pool.pid}/cmdline").read_text().split("\0")[:-1] == words


@linux_only
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_pool_with_closed_streams_runs_and_can_be_stopped(queue: Queue, closed: str) -> None:
    """None of its own files gets the descriptor of a closed stream, into which others may write."""
    job = queue.add("echo out; echo err >&2; readlink /proc/self/fd/0")
    pool = subprocess.Popen(
        ["sh", "-c", f'exec "$0" worker start {closed}', COMMAND],
        env=queue.env, cwd=str(queue.work),
    )  # fmt: skip
    queue.processes.append(pool)
    queue.until(job, "completed")

    (found,) = living_pools(queue.files)
    assert found.pid == pool.pid
    numbers = [
        number for number, sign in enumerate(("<&-", ">&-", "2>&-")) if sign in closed.split()
    ]
    streams = {os.readlink(f"/proc/{pool.pid}/fd/{number}") for number in numbers}
    assert streams == {os.devnull}
    assert queue.ok("logs", job).split() == ["out", "err", "/dev/null"]
    assert queue.ok("worker", "stop") == f"stopped {found.id}"
    assert pool.wait(timeout=30) == 0


def test_a_system_error_in_the_pool_is_one_line(queue: Queue) -> None:
    """Here the supervisor cannot remove its lock file at the end: exit 1 without a traceback."""
    queue.storage  # noqa: B018 (makes the queue)
    pool = queue.start("-q")
    (found,) = living_pools(queue.files)
    path = Path(queue.files.workers, f"{found.id}.lock")
    path.unlink()
    path.mkdir()
    pool.terminate()

    assert pool.wait(timeout=30) == 1
    *_, last = (queue.folder / "workers.log").read_text().splitlines()
    assert "the pool cannot go on: [Errno " in last
    assert last.endswith(f"'{path}'")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signals.STOP_SIGNAL])
def test_a_stop_during_the_start_of_the_pool_is_obeyed(
    queue: Queue, number: signal.Signals
) -> None:
    """The signal comes while the interpreter starts: the pool exits with 0 and leaves no file."""
    queue.enqueue("true")
    hook = queue.hooked(f"os.kill(os.getpid(), {int(number)})")
    done = queue.run("worker", "start", "-q", env=hook)

    assert (done.code, "Traceback" in done.err) == (0, False)
    assert "stopping after the running jobs" in done.err
    assert os.listdir(queue.files.workers) == []


def test_workers_import_nothing_after_the_fork(queue: Queue) -> None:
    """Regression: each worker imported the module of os.wait4 and a codec: 0.4 MB not shared."""
    queue.enqueue("true")
    hook = queue.hooked(
        """
        import sys
        from queuectl.worker import loop as worker
        work = worker.work
        def working(*words):
            before = set(sys.modules)
            ended = work(*words)
            with open(os.environ['TEST_QUEUE'] + '/loaded', 'w') as loaded:
                print(*sorted(set(sys.modules) - before), file=loaded)
            return ended
        worker.work = working
        """
    )
    assert queue.run("worker", "start", "--drain", "-q", env=hook).code == 0
    assert (queue.folder / "loaded").read_text() == "\n"


def test_a_pool_whose_queue_was_replaced_exits(queue: Queue) -> None:
    """Regression: it served the removed file for ever, so `--unless-running` started no other."""
    queue.add("true")
    pool = queue.start(workers=2)
    queue.close_storage()
    for path in queue.folder.glob("queue.db*"):
        if path.is_file():
            path.unlink()
    queue.enqueue("true", "--id", "b")

    assert pool.wait(30) == 1
    assert (
        "was removed or replaced: start the workers again"
        in (queue.folder / "workers.log").read_text()
    )
    queue.ok("worker", "start", "--unless-running", "--drain", "-q")
    assert queue.state("b") == "completed"
    assert os.listdir(queue.files.workers) == []


def test_a_stop_does_not_wait_for_a_queue_that_stays_busy(queue: Queue) -> None:
    """A result that cannot be recorded within kill-grace is left to the next workers.

    Regression: workers that were started after the stop, to recover these jobs, were not told of
    it and never gave up.
    """
    queue.configure(kill_grace="0.5")
    queue.add_many(*(UNTIL_GO + f"; sleep {later}" for later in (0, 1)))
    pool = queue.start("-q", workers=2)
    wait_until(lambda: queue.counts() == {"processing": 2}, what="both jobs to run")
    lock = WriteLock(queue.files.write_lock)
    lock.acquire(30)
    queue.let_go()
    pool.send_signal(signal.SIGTERM)

    assert pool.wait(30) == 1
    lock.release()
    lock.close()
    assert queue.counts() == {"processing": 2}
    queue.drain("-q")
    assert queue.counts() == {"completed": 2}


def test_a_name_cannot_forge_a_log_line(queue: Queue) -> None:
    """Regression: line breaks and escape sequences in a path were logged unescaped."""
    place = queue.work / "gone\n2026-01-01 00:00:00 all workers have left\x1b[31m"
    queue.add("true", cwd=str(place), max_retries=1)
    said = queue.drain()

    assert "gone\\n2026-01-01 00:00:00 all workers have left\\x1b[31m is gone" in said
    assert said.count("all workers have left\n") == 1


def test_jobs_that_fail_or_die_are_no_warnings(queue: Queue) -> None:
    """Regression: with -q, as in a crontab, cron sent a second mail for each dead job.

    Both are recorded; `check` is for alarms.
    """
    queue.configure(backoff_base="1", backoff_max="0.1")
    queue.add("test $QUEUECTL_ATTEMPT = 2")
    queue.add("exit 3", max_retries=2)

    assert queue.drain("-q") == ""
    assert queue.counts() == {"completed": 1, "dead": 1}


def test_detach_waits_until_the_workers_are_listed(queue: Queue) -> None:
    """Regression: while the queue was busy, it returned before `worker list` showed them."""
    queue.add("true")
    lock = WriteLock(queue.files.write_lock)
    lock.acquire(30)
    starting = queue.spawn("worker", "start", "--detach", "-q")
    wait_until(lambda: len(lockfiles.owners(queue.files)) == 2, what="the worker's lock")
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(0.5)
    lock.release()
    lock.close()

    assert starting.wait(30) == 0
    assert len(queue.storage.workers()) == 1
    queue.ok("worker", "stop")


def test_the_fifo_of_a_dead_worker_is_removed(queue: Queue) -> None:
    """Regression: workers that died at their start left it, and each commit tried to open it."""
    queue.add("true")
    os.mkfifo(os.path.join(queue.files.workers, "dead-1.bell"))
    queue.start()
    worker = queue.worker()

    wait_until(lambda: wakeup.owners(queue.files) == {worker["id"]}, what="the sweep")


def test_an_unusual_umask_does_no_harm(queue: Queue) -> None:
    """Regression: with umask 777 no worker could open its own FIFO, so each died and left it."""
    job = queue.add("true")
    words = ["sh", "-c", 'umask 777; exec "$0" worker start', COMMAND]
    pool = subprocess.Popen(words, env=queue.env, stderr=subprocess.DEVNULL)
    queue.processes.append(pool)
    queue.until(job, "completed")  # the worker has made all its files by then
    there = [path for path in Path(queue.files.folder).rglob("*") if not path.is_dir()]

    assert {path.suffix for path in there} >= {".lock", ".bell", ".log"}
    assert {path.name: path.stat().st_mode & 0o777 for path in there} == dict.fromkeys(
        (path.name for path in there), 0o600
    )


@pytest.mark.parametrize("order", ["", "1", "[]", "1 []"])
def test_an_inherited_pool_variable_is_ignored(queue: Queue, order: str) -> None:
    """Only `worker start` turns a process into a pool, whatever is in the environment."""
    assert queue.ok("--version", env={"_QUEUECTL_POOL": order}).startswith("queuectl ")


@linux_only
def test_worker_stop_signals_no_other_process_with_the_same_pid(queue: Queue) -> None:
    """Regression: a PID from another container was taken for a process of this one."""
    queue.add("true")
    other = subprocess.Popen(["sleep", "300"])
    about = {"pid": other.pid, "start_ticks": 1, "queues": [], "count": 1}
    lock = lockfiles.ProcessLock.take(queue.files, "abcd1234", about)
    try:
        done = queue.run("worker", "stop")
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            f"queuectl worker stop: abcd1234 (pid {other.pid}) cannot be seen from here"
            " (stop it in the container that it runs in)\n"
        )
        assert other.poll() is None
    finally:
        lock.remove()
        other.kill()
        other.wait()


@linux_only
@pytest.mark.parametrize("way", ["retry", "leftovers", "timeout"])
def test_a_pool_that_a_job_detached_is_not_part_of_the_job(
    queue: Queue, job_clock: JobClock, way: str
) -> None:
    """Regression: a retry of the job ended the pool, and the jobs of the other queue."""
    other = queue.folder / "other.db"
    start = f"{COMMAND} --db {other} worker start --detach"
    then = {
        "retry": "[ $QUEUECTL_ATTEMPT = 2 ]",
        "leftovers": "true",
        "timeout": "[ $QUEUECTL_ATTEMPT = 2 ] || sleep 300",
    }[way]
    queue.configure(kill_grace="0.3", backoff_base="1", backoff_max="0.1")
    if way == "leftovers":
        queue.configure(leftovers="kill")
    queue.ok("--db", str(other), "enqueue", "--id", "long", f"echo > begun; {UNTIL_GO}; env")
    first = f"{start}; until [ -s begun ]; do sleep 0.05; done; touch complete"
    queue.add(f"[ $QUEUECTL_ATTEMPT = 2 ] || {{ {first}; }}; {then}", max_retries=2, timeout=3600)
    pool = queue.start("--drain")
    wait_until((queue.work / "complete").exists, what="the other pool")
    if way == "timeout":
        job_clock.advance(3600)
    assert pool.wait(60) == 0
    queue.let_go()
    try:
        queue.ok("--db", str(other), "wait", "long")
        shown = queue.run("--db", str(other), "logs", "long").out
        assert "QUEUECTL_JOB_ID=long" in shown.splitlines()
    finally:
        queue.run("--db", str(other), "worker", "stop", "--now")


@linux_only
def test_unless_running_starts_a_pool_beside_one_that_is_suspended(queue: Queue) -> None:
    """A pool that somebody stopped by Ctrl+Z serves nothing, as `check` and `doctor` say, too."""
    pool = queue.start()
    worker = queue.worker()["pid"]
    suspend(worker, pool.pid)
    try:
        job = queue.add("true")
        queue.ok("worker", "start", "--unless-running", "--drain", "-q")
        assert queue.state(job) == "completed"
    finally:
        for pid in (worker, pool.pid):
            os.kill(pid, signal.SIGCONT)
    queue.add("true")
    assert queue.ok("worker", "start", "--unless-running", "--drain") == ""


@linux_only
def test_a_pool_whose_supervisor_alone_is_suspended_serves_its_queues(queue: Queue) -> None:
    """Its workers go on."""
    pool = queue.start()
    suspend(pool.pid)
    try:
        assert queue.ok("worker", "start", "--unless-running") == ""
    finally:
        os.kill(pool.pid, signal.SIGCONT)
