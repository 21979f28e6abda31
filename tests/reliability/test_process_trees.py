"""However a job ends, no process that it started is left, not even a zombie."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import Callable, NamedTuple, Sequence

import pytest

from queuectl.core.models import LeftProcess
from queuectl.host import processes
from queuectl.runner import process_tree
from queuectl.storage.rows import left_processes
from support.held import UNTIL_GO
from support.job_clock import JobClock
from support.processes import alive, linux_only, status_field
from support.queue import Queue
from support.tracing import LONG
from support.waiting import wait_until

pytestmark = linux_only


class _Tree(NamedTuple):
    start: str
    """Starts processes, each of which writes its PID into the file `pids`."""
    count: int = 1


# It leaves group and session and closes all descriptors: only its environment tells what it is.
_DAEMON = """
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 256)
with open("pids", "a") as out: out.write("%d\\n" % os.getpid())
time.sleep(300)
"""
# Only the parent of its child tells what the child is. The child ignores TERM, the parent does not.
_STARTER = """
import subprocess, time
nothing = subprocess.DEVNULL
child = subprocess.Popen(
    ["/bin/sh", "-c", "trap '' TERM; while :; do /bin/sleep 0.1; done"],
    env={}, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing,
)
with open("pids", "a") as out: out.write("%d\\n" % child.pid)
time.sleep(300)
"""
_CHILD = "'echo $$ >> pids; exec sleep 300'"

_TREES = {
    "background": _Tree(f"sh -c {_CHILD} &"),
    "grandchild": _Tree("sh -c 'sh -c \"echo \\$\\$ >> pids; sleep 300\"; true' &"),
    "own session": _Tree(f"setsid sh -c {_CHILD} &"),
    "own session, no output": _Tree(f"setsid sh -c {_CHILD} >/dev/null 2>&1 8>&- &"),
    "double fork": _Tree(f"(setsid sh -c {_CHILD} &)"),
    "daemon": _Tree(f"{sys.executable} ../daemon.py"),
    "only the parent is of the job": _Tree(f"{sys.executable} ../starter.py &"),
    "nohup": _Tree(f"nohup sh -c {_CHILD} > out 2>&1 &"),
    "closed descriptors": _Tree(f"exec >&- 2>&- 8>&-; sh -c {_CHILD} &"),
    "exec to a file": _Tree(f"exec > out 2>&1; setsid sh -c {_CHILD} &"),
    "clean environment": _Tree("env -i setsid /bin/sh -c 'echo $$ >> pids; exec /bin/sleep 300' &"),
    "only its session": _Tree(
        "env -i /bin/sh -c 'echo $$ >> pids; exec /bin/sleep 300' >/dev/null 2>&1 &"
    ),
    "TERM ignored": _Tree("trap '' TERM; sh -c 'echo $$ >> pids; while :; do sleep 0.05; done' &"),
    "stopped": _Tree("sh -c 'echo $$ >> pids; kill -STOP $$; sleep 300' &"),
    "pipeline": _Tree("(sh -c 'echo $PPID' >> pids; sleep 300) | cat &"),
    "200 forks": _Tree("for n in $(seq 200); do sleep 300 & echo $! >> pids; done", 200),
    "forks on and on": _Tree(
        "sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do setsid sleep 0.1; done' &"
    ),
}

# A second attempt writes down which processes of the first one it finds alive.
_JOB = """
cd "{name}"
if [ $QUEUECTL_ATTEMPT = 2 ]; then
    for pid in $(cat pids); do grep -qs '^State:.[^ZX]' /proc/$pid/status && echo $pid >> left; done
    exit 0
fi
{start}
until [ -e pids ] && [ $(wc -l < pids) -ge {count} ]; do sleep 0.02; done
echo $$ >> pids
echo $$ > ready
{then}
"""


def _do_nothing(queue: Queue, clock: JobClock, names: list[str]) -> None:
    """The job ends by itself."""


def _let_time_pass(queue: Queue, clock: JobClock, names: list[str]) -> None:
    clock.advance(_TIMEOUT)


def _cancel(queue: Queue, clock: JobClock, names: list[str]) -> None:
    queue.ok("cancel", *map(_id, names))


def _stop(queue: Queue, clock: JobClock, names: list[str]) -> None:
    queue.ok("worker", "stop", "--now")


def _kill_workers(queue: Queue, clock: JobClock, names: list[str]) -> None:
    for worker in queue.storage.workers():
        os.kill(worker.pid, signal.SIGKILL)


def _kill_pool(queue: Queue, clock: JobClock, names: list[str]) -> None:
    (supervisor,) = queue.processes
    supervisor.kill()
    supervisor.wait()
    _kill_workers(queue, clock, names)
    queue.start(workers=2)


class _Way(NamedTuple):
    then: str
    """What the job does once its tree is complete."""
    end: Callable[[Queue, JobClock, list[str]], None]
    state: str
    outcomes: list[str]


_WAYS = {
    "timeout": _Way("sleep 300", _let_time_pass, "dead", ["timeout"]),
    "cancel": _Way("sleep 300", _cancel, "cancelled", ["cancelled"]),
    "stop": _Way("sleep 300", _stop, "pending", ["interrupted"]),
    "worker killed": _Way("sleep 300", _kill_workers, "dead", ["lost"]),
    "pool killed": _Way("sleep 300", _kill_pool, "dead", ["lost"]),
    "retry": _Way("exit 1", _do_nothing, "completed", ["exit", "ok"]),
    "leftovers": _Way("exit 0", _do_nothing, "completed", ["ok"]),
}
_TIMEOUT = 3600.0
_KEYS = {"leftovers": {"leftovers": "kill"}}


def _id(name: str) -> str:
    return name.replace(" ", "-").replace(",", "").replace("'", "")


def _chosen(way: str) -> list[str]:
    """Return all trees; in the short form some trees for most ways, different ones for each way."""
    if LONG or way == "timeout":
        return list(_TREES)
    return list(_TREES)[list(_WAYS).index(way) % 4 :: 4]


@pytest.mark.parametrize("way", list(_WAYS))
def test_no_process_of_a_job_is_left(queue: Queue, job_clock: JobClock, way: str) -> None:
    """Each kind of tree is tried with each way in which a job can end."""
    then, end, state, outcomes = _WAYS[way]
    names = _chosen(way)
    (queue.work / "daemon.py").write_text(_DAEMON)
    (queue.work / "starter.py").write_text(_STARTER)
    queue.configure(kill_grace="0.3", backoff_base="1", backoff_max="0.1", on_worker_death="kill")
    queue.configure(**_KEYS.get(way, {}))
    for name in names:
        (queue.work / name).mkdir()
        tree = _TREES[name]
        text = _JOB.format(name=name, start=tree.start, count=tree.count, then=then)
        queue.add(text, id=_id(name), max_retries=len(outcomes), timeout=_TIMEOUT)
    queue.start(workers=len(names))
    for name in names:
        wait_until((queue.work / name / "ready").exists, what=f"the tree {name}")
    end(queue, job_clock, names)
    for name in names:
        queue.until(_id(name), state)

    assert {name: queue.outcomes(_id(name)) for name in names} == dict.fromkeys(names, outcomes)
    pids = {name: _pids(queue, name) for name in names}
    left = {name: [pid for pid in pids[name] if alive(pid)] for name in names}
    assert left == {name: [] for name in names}
    assert [name for name in names if (queue.work / name / "left").exists()] == []
    for pid in (pid for some in pids.values() for pid in some):
        wait_until(lambda pid=pid: not _is_zombie(pid), what=f"{pid} to be reaped")


def _pids(queue: Queue, name: str) -> list[int]:
    pids = [int(line) for line in (queue.work / name / "pids").read_text().split()]
    assert len(pids) > _TREES[name].count
    return pids


def _is_zombie(pid: int) -> bool:
    try:
        return status_field(pid, "State").startswith("Z")
    except OSError:
        return False


def test_a_process_that_got_the_pid_of_an_ended_leader_is_left_alone() -> None:
    """Regression: it was killed if it got the PID during the grace time of an adopted job."""
    words = ["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done"]
    straggler = subprocess.Popen(
        words,
        env={**os.environ, "QUEUECTL_EXECUTION": "a-queue/1"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert straggler.stdout is not None
    straggler.stdout.readline()
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    ticks = processes.start_ticks(stranger.pid)
    assert ticks is not None
    attempt = process_tree.AttemptProcesses(
        frozenset(["a-queue/1"]), leader=stranger.pid, leader_ticks=ticks - 1
    )
    try:
        process_tree.end(attempt, 0.1, time.sleep)
        assert straggler.wait(30) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        straggler.stdout.close()
        for process in (straggler, stranger):
            process.kill()
            process.wait()


# It leaves its session, its environment and its PID all the time.
_COMET = """
import os, time
nothing = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2): os.dup2(nothing, number)
while True:
    if os.fork(): os._exit(0)
    os.setsid()
    with open("beat", "w"): pass
"""


@pytest.mark.parametrize("keeps_mark", [True, False])
def test_a_process_that_forks_and_exits_all_the_time_is_ended(
    queue: Queue, job_clock: JobClock, keeps_mark: bool
) -> None:
    """Regression: each time when a look at all processes came to its PID, it was gone already."""
    (queue.work / "comet.py").write_text(_COMET)
    queue.configure(kill_grace="0.3")
    hides = "" if keeps_mark else "env -i "
    command = f"{hides}{sys.executable} -S -E comet.py & until [ -e beat ]; do sleep 0.02; done"
    job = queue.add(f"{command}; touch begun; sleep 300", max_retries=1, timeout=_TIMEOUT)
    pool = queue.start("--drain")
    wait_until((queue.work / "begun").exists, what="the process")
    job_clock.advance(_TIMEOUT)
    assert pool.wait(60) == 0

    assert queue.outcomes(job) == ["timeout"]
    (queue.work / "beat").unlink()
    time.sleep(0.5)
    assert not (queue.work / "beat").exists()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.skipif(os.geteuid() != 0, reason="a job cannot become another user")
@pytest.mark.parametrize("way", ["timeout", "retry", "cancel"])
def test_no_attempt_starts_beside_a_process_that_cannot_be_ended(
    queue: Queue, job_clock: JobClock, way: str
) -> None:
    """Regression: the attempt was recorded as ended, and the next one ran beside it."""
    queue.configure(kill_grace="0.3", backoff_base="100", backoff_max="100")
    become = "setpriv --reuid 12345 --clear-groups sh -c 'exec sleep 300' & echo $! >> pids; "
    become += "until grep -q '^Uid:.12345' /proc/$!/status; do sleep 0.02; done; echo > begun; "
    then = {"timeout": "sleep 300", "retry": "exit 1", "cancel": "sleep 300"}[way]
    job = queue.add(become + then, id="j", max_retries=2, timeout=_TIMEOUT)
    queue.start(before=["setpriv", "--bounding-set=-kill"])
    queue.text("begun")
    if way == "cancel":
        queue.ok("cancel", job)
        queue.until(job, "cancelled")
    else:
        if way == "timeout":
            job_clock.advance(_TIMEOUT)
        queue.until(job, "failed")
    said = queue.run("show", job).out
    queue.ok("retry", job)
    wait_until(lambda: queue.get(job).interruptions > 1)
    (pid,) = map(int, (queue.work / "pids").read_text().split())

    assert alive(pid)
    first = queue.attempts(job)[0]
    assert [left.pid for left in _left(queue, first.id)] == [pid]
    assert f"process {pid} of user 12345 cannot be ended" in said
    os.kill(pid, signal.SIGKILL)

    def runs_again() -> bool:
        # If the job was put back a third time meanwhile, it waits for the delay of a retry.
        if queue.state(job) == "failed":
            queue.run("retry", job)
        return len((queue.work / "pids").read_text().split()) == 2

    wait_until(runs_again)
    os.kill(int((queue.work / "pids").read_text().split()[1]), signal.SIGKILL)


def _left(queue: Queue, execution_id: int) -> Sequence[LeftProcess]:
    with closing(sqlite3.connect(queue.database)) as conn:
        (text,) = conn.execute(
            "SELECT left_processes FROM executions WHERE id = ?", (execution_id,)
        ).fetchone()
    return left_processes(text)


@pytest.mark.parametrize("outcome", ["completed", "dead"])
def test_a_retry_by_hand_ends_what_the_job_left_before(queue: Queue, outcome: str) -> None:
    """Regression: a process without traces was forgotten, though the worker had seen it."""
    hides = "env -i setsid /bin/sh -c 'echo $$ >> pids; exec /bin/sleep 300' >/dev/null 2>&1 &"
    code = 0 if outcome == "completed" else 1
    text = f"[ -e pids ] || {{ {hides} until [ -s pids ]; do sleep 0.02; done; exit {code}; }}"
    job = queue.add(text, max_retries=1)
    queue.drain(workers=1)
    assert queue.state(job) == outcome
    (pid,) = map(int, (queue.work / "pids").read_text().split())
    assert (alive(pid), queue.attempts(job)[0].leftovers) == (True, True)
    queue.ok("retry", job)
    queue.drain(workers=1)

    assert queue.state(job) == "completed"
    assert not alive(pid)


def test_a_kept_process_is_not_part_of_the_next_job(queue: Queue) -> None:
    """A service that a job left running outlives the timeout of the next job of its worker."""
    queue.configure(kill_grace="0.3")
    hides = "env -i setsid /bin/sh -c 'echo $$ >> pids; exec /bin/sleep 300' >/dev/null 2>&1 &"
    queue.add(f"{hides} until [ -s pids ]; do sleep 0.02; done")
    second = queue.add("sleep 300", max_retries=1, timeout=0.5)
    queue.drain(workers=1)
    (pid,) = map(int, (queue.work / "pids").read_text().split())

    assert alive(pid)
    assert [one.leftovers for one in queue.attempts(second)] == [False]
    os.kill(pid, signal.SIGKILL)


def test_a_job_that_hides_and_kills_its_worker_at_once_is_adopted(queue: Queue) -> None:
    """Regression: its worker had not noted the process yet, so a second attempt ran beside it."""
    queue.configure(backoff_base="1", backoff_max="0.1")
    (queue.work / "run.sh").write_text(f"echo begin >> ledger; {UNTIL_GO}; echo end >> ledger\n")
    hides = "exec env -i sh run.sh >/dev/null 2>&1"
    first = "[ $QUEUECTL_ATTEMPT = 2 ] || { echo $PPID > killed; kill -9 $PPID; }"
    job = queue.add(f"{first}; {hides}", max_retries=2)
    pool = queue.start("--drain")
    killed = queue.pid("killed")
    wait_until(
        lambda: [one for one in queue.workers() if one["job"] == job and one["pid"] != killed],
        what="the adoption",
    )
    queue.let_go()
    assert pool.wait(60) == 0

    assert queue.outcomes(job) == ["ok"]
    assert (queue.work / "ledger").read_text().split() == ["begin", "end"]
