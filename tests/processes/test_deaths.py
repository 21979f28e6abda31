"""Processes that are killed at any moment: no job is lost, none runs twice at once."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from itertools import count
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import pytest
from conftest import Queue, alive, wait_until
from forked import in_processes

from processes.conftest import Jobs, linux_only
from queuectl import liveness, processtree, runner, settlement
from queuectl.errors import QueueBusy
from queuectl.files import QueueFiles
from queuectl.joblog import JobLog
from queuectl.models import Assignment, Claim, Outcome, Verdict, Worker, WorkerExit
from queuectl.signals import KILL_SIGNAL
from queuectl.states import JobState
from queuectl.supervisor import PoolPlan, Supervisor, open_pool
from queuectl.times import utcnow

# Starts a tree, of which one left the session; a second attempt ends at once.
_TREE = (
    "[ $QUEUECTL_ATTEMPT = 1 ] || exit 0; sleep 300 & echo $! > child; "
    "setsid sh -c 'echo $$ > far; exec sleep 300' >/dev/null 2>&1 8>&- & "
    "until [ -s far ]; do sleep 0.02; done; echo $$ > leader; wait"
)
_HELD = "echo $$ > running; until [ -e go ]; do sleep 0.02; done"


def _tree(jobs: Jobs) -> Dict[str, int]:
    return {name: jobs.pid(name) for name in ("leader", "child", "far")}


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _worker(queue: Queue) -> Dict[str, Any]:
    (worker,) = queue.json("worker", "list")
    return dict(worker)


def _assert_lost_and_run_again(jobs: Jobs, job: str, tree: Dict[str, int], killed: float) -> None:
    jobs.until(job, "completed")
    assert time.monotonic() - killed < 10
    assert {name: alive(pid) for name, pid in tree.items()} == dict.fromkeys(tree, False)
    lost, again = jobs.attempts(job)
    assert lost.outcome is not None
    assert again.outcome is not None
    assert (lost.outcome.value, again.outcome.value) == ("lost", "ok")
    assert jobs.get(job).attempts == 2
    assert lost.finished_at is not None
    # What was lost is retried after the usual delay, 2 s here, not at once.
    assert (again.started_at - lost.finished_at).total_seconds() > 1


def test_a_job_of_a_killed_worker_is_run_again(queue: Queue, jobs: Jobs) -> None:
    """Its tree is ended, the attempt counts as lost, and a new worker runs it within 10 s."""
    jobs.configure(on_worker_death="kill")
    job = jobs.one(_TREE)
    supervisor = queue.start()
    tree = _tree(jobs)
    dead = _worker(queue)
    _kill(dead["pid"])

    _assert_lost_and_run_again(jobs, job, tree, time.monotonic())
    assert _worker(queue)["id"] != dead["id"]
    left = [path.name for path in Path(queue.files.workers).iterdir()]
    assert [name for name in left if name.startswith(dead["id"] + ".")] == []
    assert supervisor.poll() is None


def test_a_job_of_a_pool_that_was_killed_is_run_by_the_next(queue: Queue, jobs: Jobs) -> None:
    """Supervisor and worker die at once; the next `worker start` ends the tree and runs it."""
    jobs.configure(on_worker_death="kill")
    job = jobs.one(_TREE)
    supervisor = queue.start()
    tree = _tree(jobs)
    worker = _worker(queue)["pid"]
    _kill(supervisor.pid)
    _kill(worker)
    supervisor.wait()
    wait_until(lambda: not alive(worker))
    assert all(alive(pid) for pid in tree.values())
    queue.start()

    _assert_lost_and_run_again(jobs, job, tree, time.monotonic())
    assert len({name.split("-")[0] for name in liveness.owners(queue.files.workers)}) == 1


def test_workers_outlive_their_supervisor_until_their_jobs_are_recorded(
    queue: Queue, jobs: Jobs
) -> None:
    """A worker whose supervisor was killed finishes its job, records it and leaves."""
    job = jobs.one(_HELD)
    supervisor = queue.start(workers=2)
    jobs.pid("running")
    workers = [worker["pid"] for worker in queue.json("worker", "list")]
    _kill(supervisor.pid)
    supervisor.wait()
    wait_until(lambda: sum(map(alive, workers)) == 1, what="the idle worker to leave")
    waiting = jobs.one("true")
    (queue.work / "go").touch()

    wait_until(lambda: not any(map(alive, workers)))
    assert (jobs.state(job), jobs.outcomes(job)) == ("completed", ["ok"])
    assert jobs.state(waiting) == "pending"
    assert jobs.storage.workers() == []


def test_worker_stop_waits_for_workers_without_a_supervisor(queue: Queue, jobs: Jobs) -> None:
    """Regression: `worker stop` said that no worker is running while one still ran its job."""
    jobs.configure(kill_grace="0.3")
    job = jobs.one(_HELD)
    supervisor = queue.start()
    jobs.pid("running")
    worker = _worker(queue)
    _kill(supervisor.pid)
    supervisor.wait()

    assert queue.ok("worker", "stop", "--now") == f"stopped {worker['id']}"
    assert not alive(worker["pid"])
    assert (jobs.state(job), jobs.outcomes(job)) == ("pending", ["interrupted"])


def test_a_stopped_worker_is_not_taken_for_dead(queue: Queue, jobs: Jobs) -> None:
    """However long a worker stands still (SIGSTOP), its job is nobody else's."""
    job = jobs.one(_HELD)
    queue.start()
    jobs.pid("running")
    worker = _worker(queue)
    os.kill(worker["pid"], signal.SIGSTOP)
    try:
        _others_look_for_the_dead(queue, jobs)
        held = jobs.get(job)
        assert (held.state.value, held.locked_by) == ("processing", worker["id"])
    finally:
        os.kill(worker["pid"], signal.SIGCONT)
    (queue.work / "go").touch()
    jobs.until(job, "completed")
    assert jobs.outcomes(job) == ["ok"]


@linux_only
@pytest.mark.parametrize("lives", [True, False])
def test_a_lock_file_that_was_removed_proves_nothing(queue: Queue, jobs: Jobs, lives: bool) -> None:
    """Without the file the process itself is asked: alive it keeps its job, dead it loses it."""
    jobs.configure(on_worker_death="kill")
    job = jobs.one(_HELD)
    supervisor = queue.start()
    running = jobs.pid("running")
    worker = _worker(queue)
    Path(queue.files.workers, worker["id"] + ".lock").unlink()
    if not lives:
        os.kill(supervisor.pid, signal.SIGKILL)
        supervisor.wait()
        _kill(worker["pid"])
        wait_until(lambda: not alive(worker["pid"]))
    _others_look_for_the_dead(queue, jobs)

    assert jobs.outcomes(job) == [None if lives else "lost"]
    assert alive(running) is lives
    if lives:
        assert jobs.get(job).locked_by == worker["id"]
        (queue.work / "go").touch()
        jobs.until(job, "completed")


def _others_look_for_the_dead(queue: Queue, jobs: Jobs) -> None:
    """Do all that finds dead workers: another pool's first scan, and the chores of a worker."""
    queue.drain("--queue", "other")
    adopted = settlement.settle_missing(jobs.storage, _Heir(jobs), now=utcnow)
    assert [one.claim.job.id for one in adopted] == []


class _Heir:
    """What a worker is to those that it settles."""

    id = "heir-1"

    def __init__(self, jobs: Jobs, *, adopts: bool = False) -> None:
        self._jobs = jobs
        self._adopts = adopts

    def command(self, claim: Claim) -> runner.Command:
        storage = self._jobs.storage
        return runner.Command(
            shell_text=claim.job.command,
            mark=f"{storage.queue_id}/{claim.execution_id}",
            environ={},
            cwd=None,
            status_path=storage.files.worker_status(claim.log_owner),
            timeout_seconds=0,
            grace_seconds=0.3,
        )

    def show_running(self, running: liveness.Running) -> None:
        assert self._adopts, "nothing is to be adopted"

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        verdict = Verdict(JobState.DEAD, last_error=outcome.reason)
        self._jobs.storage.record(claim, outcome, verdict, now=utcnow())

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


@linux_only
@pytest.mark.parametrize(("boot", "ends"), [("this boot", True), ("another boot", False)])
def test_a_process_number_of_another_boot_is_left_alone(
    queue: Queue, jobs: Jobs, boot: str, ends: bool
) -> None:
    """Regression: number and start since boot may be the same after a reboot, and hit a stranger.

    The lost job is settled either way.
    """
    jobs.configure(on_worker_death="kill")
    job = jobs.one("true")
    boot_id = liveness.boot_id() if boot == "this boot" else "0" * 36
    claim = _claim_of_the_dead(jobs, boot_id)
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    _leave_lock_file(queue, claim, stranger.pid)
    try:
        settlement.settle(jobs.storage, "gone-1", _Heir(jobs), now=utcnow)
        assert jobs.outcomes(job) == ["lost"]
        assert alive(stranger.pid) is not ends
    finally:
        stranger.kill()
        stranger.wait()


def _claim_of_the_dead(
    jobs: Jobs, boot_id: Optional[str], *, host: str = os.uname().nodename
) -> Claim:
    """Return what a worker has claimed whose process is gone."""
    jobs.storage.register_worker(Worker("gone-1", "gone", 1 << 22, 1, boot_id, host, (), utcnow()))
    claim = jobs.storage.claim("gone-1", now=utcnow())
    assert claim is not None
    return claim


@linux_only
def test_a_lock_file_that_is_somebody_elses_keeps_nobody_from_the_others(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: what another user of a shared queue left ended worker after worker."""
    waiting = jobs.add("true", "true", max_retries=1)
    for dead in ("gone-1", "gone-2"):
        jobs.storage.register_worker(Worker(dead, "gone", 1 << 22, 1, "no", "h", (), utcnow()))
        assert jobs.storage.claim(dead, now=utcnow()) is not None
    liveness.leave_remains(jobs.storage.files.workers, "gone-1")
    can_open = liveness._open
    monkeypatch.setattr(
        liveness, "_open", lambda path: None if "gone-1" in path else can_open(path)
    )

    assert list(settlement.settle_missing(jobs.storage, _Heir(jobs), now=utcnow)) == []
    assert [jobs.outcomes(job) for job in waiting] == [[None], ["lost"]]


def _leave_lock_file(queue: Queue, claim: Claim, pid: int) -> None:
    lock = liveness.LifeLock.take(queue.files.workers, "gone-1", {})
    ticks = liveness.start_ticks(pid)
    lock.show_running(liveness.Running(claim.execution_id, pid, ticks, "gone-1"))
    lock.abandon()


@linux_only
@pytest.mark.parametrize("has_lock_file", [True, False])
def test_what_was_adopted_is_attended_to_though_the_queue_is_busy_then(
    queue: Queue, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, has_lock_file: bool
) -> None:
    """Regression: an heir that could not forget the dead worker just then forgot the job."""
    job = jobs.one("true")
    claim = _claim_of_the_dead(jobs, liveness.boot_id())
    heir = _Heir(jobs, adopts=True)
    life = liveness.LifeLock.take(queue.files.workers, heir.id, {})
    leader = subprocess.Popen(
        ["sleep", "300"],
        start_new_session=True,
        env={"QUEUECTL_EXECUTION": heir.command(claim).mark},
    )

    def settled() -> Optional[settlement.Adopted]:
        if has_lock_file:
            return settlement.settle(jobs.storage, "gone-1", heir, now=utcnow)
        return next(settlement.settle_missing(jobs.storage, heir, now=utcnow), None)

    def busy(*_: Any, **__: Any) -> None:
        raise QueueBusy("the queue stayed busy")

    try:
        if has_lock_file:
            _leave_lock_file(queue, claim, leader.pid)
        monkeypatch.setattr(jobs.storage, "forget_worker", busy)
        adopted = settled()
        monkeypatch.undo()
        assert adopted is not None
        assert (adopted.claim.job.id, adopted.leader.pid) == (job, leader.pid)
        assert jobs.get(job).locked_by == heir.id

        # The dead one is still there to be settled, by whoever comes next.
        assert settlement.settle(jobs.storage, "gone-1", heir, now=utcnow) is None
        assert jobs.get(job).locked_by == heir.id
        assert [one.id for one in jobs.storage.workers()] == []
        assert liveness.owners(queue.files.workers) == [heir.id]
    finally:
        life.remove()
        leader.kill()
        leader.wait()


@linux_only
def test_only_one_settles_a_worker_without_a_lock_file(
    queue: Queue, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: two that did so at once took each other for what the lost job had left."""
    job = jobs.one("true", max_retries=1)
    _claim_of_the_dead(jobs, liveness.boot_id())
    settle_claim = settlement._settle_claim

    def meanwhile(*args: Any) -> Optional[settlement.Adopted]:
        monkeypatch.undo()
        assert list(settlement.settle_missing(jobs.storage, _Heir(jobs), now=utcnow)) == []
        assert jobs.outcomes(job) == [None]
        return settle_claim(*args)

    monkeypatch.setattr(settlement, "_settle_claim", meanwhile)
    assert list(settlement.settle_missing(jobs.storage, _Heir(jobs), now=utcnow)) == []
    assert jobs.outcomes(job) == ["lost"]
    assert liveness.owners(queue.files.workers) == []


@linux_only
def test_a_job_that_was_never_started_has_printed_nothing(queue: Queue, jobs: Jobs) -> None:
    """What is in its worker's file then is of the job before: `logs` does not show it either."""
    jobs.configure(backoff_base="1", backoff_max="100")
    job = jobs.one("true")
    claim = _claim_of_the_dead(jobs, liveness.boot_id())
    lock = liveness.LifeLock.take(queue.files.workers, "gone-1", {})
    lock.show_running(liveness.Running(claim.execution_id - 1, 1 << 22, 1, "gone-1"))
    Path(queue.files.worker_log("gone-1")).write_text("another's")
    shown = queue.run("logs", job).stdout
    lock.abandon()
    settlement.settle(jobs.storage, "gone-1", _Heir(jobs), now=utcnow)

    (attempt,) = jobs.attempts(job)
    assert attempt.outcome is not None
    assert (attempt.outcome.value, attempt.output.size_bytes) == ("lost", 0)
    assert (shown, queue.run("logs", job).stdout) == ("", "")


@linux_only
def test_a_job_that_cannot_be_seen_is_not_run_again(
    queue: Queue, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: in another container than its own a living job was taken for lost."""
    job = jobs.one("true", max_retries=1)
    claim = _claim_of_the_dead(jobs, liveness.boot_id(), host="another container")
    lock = liveness.LifeLock.take(queue.files.workers, "gone-1", {})
    # A number that is nobody's here.
    lock.show_running(liveness.Running(claim.execution_id, 1 << 22, 1, "gone-1"))
    lock.abandon()
    log = JobLog(queue.files.worker_log("gone-1"))
    # It would find the holder of the log, which is this test.
    monkeypatch.setattr(processtree, "end", lambda *_: None)
    assert settlement.settle(jobs.storage, "gone-1", _Heir(jobs), now=utcnow) is None
    assert (jobs.state(job), jobs.outcomes(job)) == ("processing", [None])
    assert liveness.owners(queue.files.workers) == ["gone-1"]

    log.close()
    settlement.settle(jobs.storage, "gone-1", _Heir(jobs), now=utcnow)
    assert jobs.outcomes(job) == ["lost"]
    assert liveness.owners(queue.files.workers) == []


@linux_only
def test_who_dies_just_before_a_kill_has_its_job_killed_too(queue: Queue, jobs: Jobs) -> None:
    """Regression: its heir was born after the order and never heard of it, so the pool stayed."""
    job = jobs.one(_HELD, timeout=0)
    supervisor = queue.start()
    running = jobs.pid("running")
    worker = _worker(queue)
    os.kill(supervisor.pid, signal.SIGSTOP)
    _kill(worker["pid"])
    os.kill(supervisor.pid, KILL_SIGNAL)
    os.kill(supervisor.pid, signal.SIGCONT)

    supervisor.wait(timeout=30)
    assert not alive(running)
    assert jobs.state(job) == "pending"
    assert jobs.outcomes(job) == ["interrupted"]


@linux_only
def test_a_pool_that_is_being_killed_adopts_nothing_of_others(queue: Queue, jobs: Jobs) -> None:
    """Regression: what ran in a pool whose processes were all gone fell to one that was leaving."""
    jobs.configure(kill_grace="5")
    mine = jobs.one("trap '' TERM; echo $$ > mine; while :; do sleep 1; done", queue="mine")
    leaving = queue.start("--queue", "mine", workers=1)
    jobs.pid("mine")
    other = jobs.one(_HELD, timeout=0, queue="other")
    dead = queue.start("--queue", "other", workers=1)
    running = jobs.pid("running")
    (holder,) = [one for one in queue.json("worker", "list") if one["job"] == other]
    leaving.send_signal(KILL_SIGNAL)
    os.kill(dead.pid, signal.SIGKILL)
    _kill(holder["pid"])
    dead.wait()

    leaving.wait(timeout=30)
    assert jobs.state(mine) == "pending"
    assert alive(running)
    assert jobs.get(other).locked_by == holder["id"]
    (queue.work / "go").touch()
    queue.drain("--queue", "other")
    assert jobs.outcomes(other) == ["ok"]


def test_a_job_that_is_lost_every_time_ends_in_the_dlq(queue: Queue, jobs: Jobs) -> None:
    """Lost attempts count: a job that kills its worker does not do so for ever."""
    jobs.configure(backoff_base="1", backoff_max="0", on_worker_death="kill")
    job = jobs.one("kill -KILL $PPID; sleep 300", max_retries=3)
    after = jobs.one("true")
    queue.start()
    ended = jobs.until(job, "dead")

    assert jobs.outcomes(job) == ["lost", "lost", "lost"]
    assert ended.last_error == "lost with its worker"
    jobs.until(after, "completed")


@linux_only
def test_a_supervisor_without_a_descriptor_to_spare_goes_on(queue: Queue, jobs: Jobs) -> None:
    """Regression: it left, and its workers with it, when it could not look for the dead once."""
    job = jobs.one(_HELD)
    supervisor = queue.start()
    jobs.pid("running")
    worker = _worker(queue)
    soft, hard = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (3, hard))
    _kill(worker["pid"])
    log = queue.folder / "workers.log"
    for text in ("cannot fork a worker: Too many open files", "cannot look into"):
        wait_until(lambda text=text: text in log.read_text(), what=text)
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (soft, hard))
    (queue.work / "go").touch()

    jobs.until(job, "completed")
    assert jobs.outcomes(job) == ["ok"]
    assert supervisor.poll() is None


def _died(queue: Queue) -> int:
    return (queue.folder / "workers.log").read_text().count(" died (")


def test_a_worker_that_crashes_at_its_start_is_held_back(queue: Queue, jobs: Jobs) -> None:
    """Replacements come at once, then after 1, 2, 4 … s; a stop does not wait for the next.

    Regression: the supervisor left only when the next replacement would have been due.
    """
    jobs.storage  # noqa: B018 (makes the queue)
    supervisor = queue.start()
    worker = _worker(queue)
    # In the place of what the next workers make first.
    for number in range(2, 9):
        Path(queue.files.workers, f".{worker['supervisor']}-{number}.new").mkdir()
    began = time.monotonic()
    _kill(worker["pid"])
    wait_until(lambda: _died(queue) == 4, what="the fourth death")
    assert time.monotonic() - began >= 1

    asked = time.monotonic()
    supervisor.terminate()
    supervisor.wait(timeout=30)
    assert time.monotonic() - asked < 3.5
    assert _died(queue) == 4


def test_a_crash_loop_ends_when_its_cause_does(queue: Queue, jobs: Jobs) -> None:
    """A held back replacement runs what waits, once it can."""
    job = jobs.one("true", queue="later")
    queue.start("--queue", "now", workers=1)
    worker = _worker(queue)
    Path(queue.files.workers, f".{worker['supervisor']}-2.new").mkdir()
    _kill(worker["pid"])
    wait_until(lambda: _died(queue) == 2)
    held = jobs.one("true", queue="now")

    jobs.until(held, "completed")
    assert jobs.state(job) == "pending"


def test_heirs_that_die_beget_no_more_of_them(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed when it had settled leaves nothing to settle.

    Regression: each got an heir of its own, and was itself started again and again, so that
    memory that was short, or a fault in leaving, filled the machine with processes.
    """
    queue.enqueue("true")
    folder, born = queue.files.workers, tmp_path / "born"
    liveness.LifeLock.take(folder, "dead-1", {"pid": 1}).abandon()

    def work(files: QueueFiles, assignment: Assignment) -> WorkerExit:
        if not assignment.settles_only:
            os.read(assignment.orders, 1)
            return WorkerExit.DONE
        liveness.LifeLock.take(folder, assignment.worker, {"pid": os.getpid()})
        with born.open("a") as log:
            log.write(f"{assignment.heir_of}\n")
        remains = liveness.seize(folder, str(assignment.heir_of))
        if remains is not None:
            remains.remove()
        os._exit(70)

    later_scans = count()
    sweep = liveness.sweep

    def stop_at_last(where: str) -> None:
        sweep(where)
        if not Path(folder, "dead-1.lock").exists() and next(later_scans) == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    def pool() -> int:
        monkeypatch.setattr("queuectl.supervisor._SCAN_SECONDS", 0.05)
        monkeypatch.setattr("queuectl.supervisor._FIRST_BACKOFF_SECONDS", 0.05)
        monkeypatch.setattr(liveness, "sweep", stop_at_last)
        plan = PoolPlan(1)
        opened = open_pool(queue.files, plan, unless_running=False)
        assert opened is not None
        return Supervisor(queue.files, opened[0], plan, opened[1], work).run()

    assert in_processes([pool]) == [0]
    assert born.read_text().splitlines() == ["dead-1"]
    assert os.listdir(folder) == []


def test_a_log_that_nobody_reads_ends_no_worker(queue: Queue, jobs: Jobs) -> None:
    """Regression: `worker start 2>&1 | head` killed workers and jobs by SIGPIPE."""
    supervisor = queue.start(stderr=subprocess.PIPE)
    assert supervisor.stderr is not None
    supervisor.stderr.close()
    ids = jobs.add("true", "exit 1", max_retries=1)

    assert [jobs.until(job, "completed", "dead").state.value for job in ids] == [
        "completed",
        "dead",
    ]
    supervisor.terminate()
    assert supervisor.wait(timeout=30) >= 0


def test_a_stop_that_meets_a_worker_just_dead_ends_well(queue: Queue, jobs: Jobs) -> None:
    """Regression: the order to the dead worker's pipe ended the supervisor by SIGPIPE."""
    jobs.configure(on_worker_death="kill")
    job = jobs.one(_HELD)
    supervisor = queue.start()
    running = jobs.pid("running")
    worker = _worker(queue)["pid"]
    os.kill(supervisor.pid, signal.SIGSTOP)
    _kill(worker)
    wait_until(lambda: not alive(worker))
    supervisor.terminate()
    os.kill(supervisor.pid, signal.SIGCONT)

    assert supervisor.wait(timeout=30) == 0
    assert (jobs.state(job), jobs.outcomes(job)) == ("failed", ["lost"])
    assert not alive(running)


def test_everything_survives_a_kill_of_all_processes(queue: Queue, jobs: Jobs) -> None:
    """Jobs of every kind are as they were, and the attempts go on where they stood."""
    jobs.configure(backoff_base="3", backoff_max="1h", backoff_jitter="0")
    done, failed, dead = jobs.one("true"), jobs.one("exit 5"), jobs.one("exit 6", max_retries=1)
    supervisor = queue.start()
    jobs.until(done, "completed")
    jobs.until(failed, "failed")
    jobs.until(dead, "dead")
    for pid in (supervisor.pid, _worker(queue)["pid"]):
        _kill(pid)
    supervisor.wait()
    scheduled = queue.enqueue("true", "--delay", "1h")
    pending = queue.enqueue("true", "--queue", "unserved")
    before = [jobs.get(job) for job in (done, failed, dead, scheduled, pending)]
    assert [job.state.value for job in before] == [
        "completed",
        "failed",
        "dead",
        "scheduled",
        "pending",
    ]
    jobs.close()
    again = Jobs(queue)
    try:
        assert [again.get(job.id) for job in before] == before
        queue.start("--queue", "default")
        wait_until(_attempts(again, failed, 2))
        assert [again.get(job.id) for job in before if job.id != failed] == [
            job for job in before if job.id != failed
        ]
        assert again.outcomes(failed)[:2] == ["exit", "exit"]
    finally:
        again.close()


def _attempts(jobs: Jobs, job: str, count: int) -> Callable[[], bool]:
    return lambda: jobs.outcomes(job).count("exit") == count
