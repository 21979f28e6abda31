"""`worker start`: which jobs a pool serves, and when it ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.host import lockfiles, signals, wakeup
from queuectl.storage.write_lock import WriteLock
from support.calls import COMMAND
from support.held import HELD, UNTIL_GO
from support.legacy import make
from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until


def _workers(queue: Queue) -> list[Any]:
    return queue.json("worker", "list")


def test_a_drain_waits_for_retries_but_not_for_later_jobs(queue: Queue) -> None:
    """It ends when nothing is pending, failed or running; scheduled jobs stay; exit 0 always."""
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
    """--queue serves the named queues only, and a drain asks for no more than them."""
    mine = [queue.add("true", queue=name) for name in ("a", "b")]
    other = queue.add("true", queue="c")
    queue.drain("--queue", "a", "--queue", "b")

    assert [queue.state(job) for job in (*mine, other)] == ["completed", "completed", "pending"]


def test_a_drain_of_nothing_ends_at_once(queue: Queue) -> None:
    """An empty queue, which `worker start` makes, is drained: exit 0 and nothing left behind."""
    queue.drain(workers=2)

    assert queue.counts() == {}
    assert os.listdir(queue.files.workers) == []
    assert os.listdir(queue.files.logs) == []


def test_max_jobs_ends_each_worker_after_so_many(queue: Queue) -> None:
    """Two workers of three jobs each leave after six; the pool is not refilled, exit 0."""
    ids = queue.add_many(*["true"] * 8)
    done = queue.run("worker", "start", "--count", "2", "--max-jobs", "3")

    assert done.code == 0
    assert queue.counts() == {"completed": 6, "pending": 2}
    assert [queue.state(job) for job in ids[6:]] == ["pending", "pending"]


def test_max_runtime_claims_nothing_more_and_finishes(queue: Queue) -> None:
    """When the time is over the running job is finished, the next one not begun, exit 0."""
    running, waiting = queue.add("sleep 2.5"), queue.add("true")
    done = queue.run("worker", "start", "--max-runtime", "2s")

    assert done.code == 0
    assert [queue.state(job) for job in (running, waiting)] == ["completed", "pending"]


def test_unless_running_started_20_times_gives_one_pool(queue: Queue) -> None:
    """Of any number that start at once one remains; the others end with 0, in silence."""
    queue.add("true")
    pools = [queue.spawn("worker", "start", "--unless-running", "-q") for _ in range(20)]
    wait_until(lambda: sum(pool.poll() is None for pool in pools) == 1, what="one pool")
    wait_until(lambda: len(queue.workers()) == 1)

    (kept,) = [pool for pool in pools if pool.poll() is None]
    ended = [pool.communicate() for pool in pools if pool is not kept]
    assert ended == [("", "")] * 19
    assert {pool.returncode for pool in pools if pool is not kept} == {0}

    # Other queues are served by the pool for all; a pool for one does not serve all.
    assert queue.run("worker", "start", "--unless-running", "--queue", "q").code == 0
    queue.ok("worker", "stop", "-q")
    assert kept.wait(timeout=30) == 0
    queue.start("--queue", "q")
    assert queue.run("worker", "start", "--unless-running", "--queue", "q").code == 0
    queue.start("--unless-running")
    assert sorted(worker["queues"] for worker in _workers(queue)) == [[], ["q"]]


def test_the_log_tells_of_each_job_and_quiet_of_failures_only(queue: Queue) -> None:
    """The log goes to stderr, or into --log-file (made 0600); -q leaves warnings."""
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

    good, bad = queue.add("echo hello"), queue.add("exit 3", max_retries=1)
    done = queue.run("worker", "start", "--drain", "-q")
    assert [line.split(" ", 2)[2] for line in done.err.splitlines()] == [
        f"{bad} is dead: exit 3; attempt 1 of 1 (queuectl dlq retry {bad})"
    ]


def test_a_log_file_that_cannot_be_written_is_refused(queue: Queue) -> None:
    """One line, exit 1, and no worker."""
    line = queue.fails(1, "worker", "start", "--log-file", str(queue.folder / "no" / "log"))

    assert line == (
        f"queuectl worker start: cannot write {queue.folder}/no/log: No such file or directory"
    )
    assert _workers(queue) == []


def test_worker_list_shows_what_each_runs(queue: Queue) -> None:
    """In JSON and as a table: id, pid, queues and the job; dead and gone workers are not there."""
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


def test_a_start_that_cannot_make_its_files_says_why(queue: Queue) -> None:
    """Regression: an error of the system while a queue was made or upgraded was exit 1, unsaid."""
    make(queue.database)
    Path(f"{queue.database}.before-upgrade.unfinished").mkdir()
    done = queue.run("worker", "start")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("queuectl worker start: ")
    assert len(done.err.splitlines()) == 1


@linux_only
@pytest.mark.parametrize("called", [[COMMAND], ["-m", "queuectl"]], ids=["script", "module"])
def test_a_pool_looks_as_it_was_called(queue: Queue, called: list[str]) -> None:
    """So `pgrep -f 'worker start'` finds it, though it is not the program that was called."""
    words = [sys.executable, *called, "worker", "start", "-q"]
    pool = subprocess.Popen(words, env=queue.env, cwd=str(queue.work), text=True)
    queue.processes.append(pool)
    wait_until(queue.workers)

    assert Path(f"/proc/{pool.pid}/cmdline").read_text().split("\0")[:-1] == words


@linux_only
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_pool_with_closed_streams_runs_and_can_be_stopped(queue: Queue, closed: str) -> None:
    """Nothing of its own takes the number of a stream, to be written into as if it were that."""
    job = queue.add("echo out; echo err >&2; readlink /proc/self/fd/0")
    pool = subprocess.Popen(
        ["sh", "-c", f'exec "$0" worker start {closed}', COMMAND],
        env=queue.env, cwd=str(queue.work),
    )  # fmt: skip
    queue.processes.append(pool)
    queue.until(job, "completed")

    (found,) = lockfiles.living_pools(queue.files)
    assert found.pid == pool.pid
    numbers = [
        number for number, sign in enumerate(("<&-", ">&-", "2>&-")) if sign in closed.split()
    ]
    streams = {os.readlink(f"/proc/{pool.pid}/fd/{number}") for number in numbers}
    assert streams == {os.devnull}
    assert queue.ok("logs", job).split() == ["out", "err", "/dev/null"]
    assert queue.ok("worker", "stop") == f"stopped {found.id}"
    assert pool.wait(timeout=30) == 0


def test_a_pool_that_the_system_fails_says_so_in_a_line(queue: Queue) -> None:
    """Here its own lock file cannot be taken away at the end: exit 1, no traceback."""
    queue.storage  # noqa: B018 (makes the queue)
    pool = queue.start("-q")
    (found,) = lockfiles.living_pools(queue.files)
    path = Path(queue.files.workers, f"{found.id}.lock")
    path.unlink()
    path.mkdir()
    pool.terminate()

    assert pool.wait(timeout=30) == 1
    *_, last = (queue.folder / "workers.log").read_text().splitlines()
    assert "the pool cannot go on: [Errno " in last
    assert last.endswith(f"'{path}'")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signals.STOP_SIGNAL])
def test_a_stop_that_comes_before_the_pool_can_hear_is_heard(
    queue: Queue, number: signal.Signals
) -> None:
    """Here while its interpreter starts: it leaves in good order, with nothing left behind."""
    queue.enqueue("true")
    hook = queue.hooked(f"os.kill(os.getpid(), {number.value})")
    done = queue.run("worker", "start", "-q", env=hook)

    assert (done.code, "Traceback" in done.err) == (0, False)
    assert "stopping: running jobs are finished first" in done.err
    assert os.listdir(queue.files.workers) == []


def test_workers_load_nothing_that_they_could_share(queue: Queue) -> None:
    """Regression: each loaded what os.wait4 needs, and a codec, for 0.4 MB of its own."""
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


def test_a_pool_whose_queue_was_replaced_leaves(queue: Queue) -> None:
    """Regression: it served the removed file for ever, and `--unless-running` kept others away."""
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
    """What cannot be recorded within kill-grace is left, and the next workers do it.

    Regression: who came after the stop to settle it had not heard of that, and never gave up.
    """
    queue.configure(kill_grace="0.5")
    queue.add_many(*(UNTIL_GO + f"; sleep {later}" for later in (0, 1)))
    pool = queue.start("-q", workers=2)
    wait_until(lambda: queue.counts() == {"processing": 2}, what="both jobs to run")
    lock = WriteLock(queue.files.write_lock)
    lock.acquire(10)
    queue.let_go()
    pool.send_signal(signal.SIGTERM)

    assert pool.wait(30) == 1
    lock.release()
    lock.close()
    assert queue.counts() == {"processing": 2}
    queue.drain("-q")
    assert queue.counts() == {"completed": 2}


def test_a_name_forges_no_line_of_the_log(queue: Queue) -> None:
    """Regression: line breaks and escape sequences of a path stood in it as they were."""
    place = queue.work / "gone\n2026-01-01 00:00:00 all workers have left\x1b[31m"
    queue.add("true", cwd=str(place), max_retries=1)
    said = queue.drain()

    assert "gone\\n2026-01-01 00:00:00 all workers have left\\x1b[31m is gone" in said
    assert said.count("all workers have left\n") == 1


def test_a_retry_to_come_is_no_warning(queue: Queue) -> None:
    """Regression: with -q, as in a crontab, each failed attempt was one; what is dead still is."""
    queue.configure(backoff_base="1", backoff_max="0.1")
    queue.add("test $QUEUECTL_ATTEMPT = 2")
    dead = queue.add("exit 3", max_retries=2)
    (said,) = queue.drain("-q").splitlines()

    assert f" {dead} is dead: exit 3; attempt 2 of 2 " in said


def test_what_is_ready_can_be_seen(queue: Queue) -> None:
    """Regression: `--detach` returned before the workers were listed, when the queue was busy."""
    queue.add("true")
    lock = WriteLock(queue.files.write_lock)
    lock.acquire(10)
    starting = queue.spawn("worker", "start", "--detach", "-q")
    wait_until(lambda: len(lockfiles.owners(queue.files)) == 2, what="the worker's lock")
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(0.5)
    lock.release()
    lock.close()

    assert starting.wait(30) == 0
    assert len(queue.storage.workers()) == 1
    queue.ok("worker", "stop")


def test_a_bell_that_nobody_can_hear_is_taken_away(queue: Queue) -> None:
    """Regression: what workers left that died at their start stayed, and each commit rang it."""
    queue.add("true")
    os.mkfifo(os.path.join(queue.files.workers, "dead-1.bell"))
    queue.start()
    worker = queue.worker()

    wait_until(lambda: wakeup.owners(queue.files) == {worker["id"]}, what="the sweep")


def test_an_odd_umask_shuts_out_nobody(queue: Queue) -> None:
    """Regression: with 0777 a worker could not open its own bell, and left one after the other."""
    words = ["sh", "-c", 'umask 777; exec "$0" worker start', COMMAND]
    pool = subprocess.Popen(words, env=queue.env, stderr=subprocess.DEVNULL)
    queue.processes.append(pool)
    wait_until(queue.workers, what="the worker")
    there = [path for path in Path(queue.files.folder).rglob("*") if not path.is_dir()]

    assert {path.suffix for path in there} >= {".lock", ".bell", ".log"}
    assert {path.name: path.stat().st_mode & 0o777 for path in there} == dict.fromkeys(
        (path.name for path in there), 0o600
    )


@pytest.mark.parametrize("order", ["", "1", "[]", "1 []"])
def test_an_order_that_is_not_for_this_process_is_none(queue: Queue, order: str) -> None:
    """Whatever the environment says, only `worker start` makes a process a pool."""
    assert queue.ok("--version", env={"_QUEUECTL_POOL": order}).startswith("queuectl ")


@linux_only
def test_a_stop_signals_nobody_of_the_same_number(queue: Queue) -> None:
    """Regression: numbers of another container were taken for processes of this one."""
    queue.add("true")
    stranger = subprocess.Popen(["sleep", "300"])
    about = {"pid": stranger.pid, "start_ticks": 1, "queues": [], "count": 1}
    life = lockfiles.ProcessLock.take(queue.files, "abcd1234", about)
    try:
        done = queue.run("worker", "stop")
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            f"queuectl worker stop: abcd1234 (pid {stranger.pid}) cannot be seen from here"
            " (stop it in the container that it runs in)\n"
        )
        assert stranger.poll() is None
    finally:
        life.remove()
        stranger.kill()
        stranger.wait()
