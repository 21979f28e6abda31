"""Jobs that outlive their worker: another one answers for them."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any, Dict, List, Optional, Tuple

from conftest import Queue, alive, wait_until

from processes.conftest import Jobs, linux_only

pytestmark = linux_only

# How a job ends once it is let go, and what is recorded of it: outcome, exit code, signal.
ENDS: Dict[str, Tuple[str, Tuple[str, Optional[int], Optional[int]]]] = {
    "exit-0": ("true", ("ok", 0, None)),
    "exit-7": ("exit 7", ("exit", 7, None)),
    "exec": ("exec sh -c 'exit 5'", ("exit", 5, None)),
    "own-trap": ("trap 'echo bye' EXIT; exit 6", ("exit", 6, None)),
    "syntax": ("eval 'if then fi ('", ("exit", 2, None)),
    "term": ("kill -TERM $$", ("signal", None, 15)),
    "kill": ("kill -KILL $$", ("signal", None, 9)),
}


def _held(name: str, then: str = "") -> str:
    wait = "until [ -e go ]; do sleep 0.02; done"
    return f"echo begin; echo $$ > {name}; {wait}; echo end; {then}"


def _kill_workers(queue: Queue) -> List[str]:
    """Kill all workers; return the ids that they had."""
    workers = queue.json("worker", "list")
    for worker in workers:
        os.kill(worker["pid"], signal.SIGKILL)
    return [worker["id"] for worker in workers]


def _go(queue: Queue) -> None:
    (queue.work / "go").touch()


def _adopted(queue: Queue, jobs: Jobs, job: str, *dead: str) -> Any:
    """Wait until somebody else answers for a job; return that worker."""

    def heir() -> Any:
        found = [worker for worker in queue.json("worker", "list") if worker["job"] == job]
        return found[0] if found and found[0]["id"] not in dead else None

    return wait_until(heir, what=f"an heir of {job}")


def test_jobs_of_killed_workers_run_on_and_end_as_they_end(queue: Queue, jobs: Jobs) -> None:
    """Each is adopted: one attempt, its true end, its whole output, nothing run again."""
    for name, (then, _) in ENDS.items():
        jobs.one(_held(name, then), id=name, max_retries=1)
    queue.start(workers=len(ENDS))
    leaders = [jobs.pid(name) for name in ENDS]
    dead = _kill_workers(queue)
    for name in ENDS:
        _adopted(queue, jobs, name, *dead)
    assert [alive(pid) for pid in leaders] == [True] * len(ENDS)
    _go(queue)
    for name in ENDS:
        jobs.until(name, "completed", "dead")

    ends = {}
    for name in ENDS:
        (attempt,) = jobs.attempts(name)
        assert attempt.outcome is not None
        ends[name] = (attempt.outcome.value, attempt.exit_code, attempt.signal)
    assert ends == {name: end for name, (_, end) in ENDS.items()}
    printed = {name: queue.run("logs", name).stdout.splitlines()[:2] for name in ENDS}
    assert printed == {name: ["begin", "end"] for name in ENDS}


def test_a_job_is_adopted_by_the_next_pool(queue: Queue, jobs: Jobs) -> None:
    """All processes of ours are killed; the job runs on, and a new `worker start` finds it."""
    job = jobs.one(_held("running"))
    supervisor = queue.start()
    leader = jobs.pid("running")
    supervisor.kill()
    dead = _kill_workers(queue)
    supervisor.wait()
    queue.start()
    _adopted(queue, jobs, job, *dead)
    assert alive(leader)
    _go(queue)

    jobs.until(job, "completed")
    assert jobs.outcomes(job) == ["ok"]
    assert queue.run("logs", job).stdout == "begin\nend\n"


def test_a_job_that_ended_with_nobody_there_is_recorded_by_its_word(
    queue: Queue, jobs: Jobs
) -> None:
    """Its shell left word of its end, which the next `worker start` records, running nothing."""
    job = jobs.one(_held("running", "echo x >> runs; exit 3"), max_retries=1)
    supervisor = queue.start()
    leader = jobs.pid("running")
    supervisor.kill()
    _kill_workers(queue)
    supervisor.wait()
    _go(queue)
    wait_until(lambda: not alive(leader))
    assert jobs.state(job) == "processing"
    queue.drain(workers=1)

    assert (jobs.state(job), jobs.get(job).last_error) == ("dead", "exit 3")
    assert jobs.outcomes(job) == ["exit"]
    assert (queue.work / "runs").read_text() == "x\n"


def test_an_heir_that_dies_has_an_heir(queue: Queue, jobs: Jobs) -> None:
    """However often the worker is killed, the job has one attempt and ends as it ends."""
    job = jobs.one(_held("running"))
    queue.start()
    leader = jobs.pid("running")
    dead: List[str] = []
    for _ in range(3):
        dead += _kill_workers(queue)
        _adopted(queue, jobs, job, *dead)
    assert alive(leader)
    _go(queue)

    jobs.until(job, "completed")
    assert jobs.outcomes(job) == ["ok"]
    assert jobs.get(job).attempts == 1


def test_an_adopted_job_keeps_its_timeout(queue: Queue, jobs: Jobs) -> None:
    """Counted from its own start; then everything of it is ended, as under its first worker."""
    jobs.configure(kill_grace="0.3")
    job = jobs.one(
        "setsid sleep 300 & echo $! > child; echo $$ > leader; wait", timeout=3, max_retries=1
    )
    queue.start()
    tree = [jobs.pid("leader"), jobs.pid("child")]
    _adopted(queue, jobs, job, *_kill_workers(queue))

    jobs.until(job, "dead")
    (attempt,) = jobs.attempts(job)
    assert attempt.outcome is not None
    assert attempt.outcome.value == "timeout"
    assert jobs.get(job).last_error == "killed after 3 s by its timeout"
    assert attempt.seconds is not None
    assert attempt.seconds >= 2.9
    assert [alive(pid) for pid in tree] == [False, False]


def test_an_adopted_job_keeps_its_bounds_of_output(queue: Queue, jobs: Jobs) -> None:
    """What it prints before and after the death is one output, cut as any other."""
    jobs.configure(output_limit="10000")
    job = jobs.one("seq 50000; " + _held("running", "seq 50000"))
    queue.start()
    jobs.pid("running")
    _adopted(queue, jobs, job, *_kill_workers(queue))
    _go(queue)
    jobs.until(job, "completed")

    numbers = "".join(f"{number}\n" for number in range(1, 50001))
    whole = f"{numbers}begin\nend\n{numbers}".encode()
    printed = subprocess.run(
        [queue.processes[0].args[0], "logs", job],  # type: ignore[index]
        env=queue.env,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    missing = len(whole) - 10_000
    assert printed == (
        whole[:5000] + b"\n[queuectl: %d bytes not kept]\n" % missing + whole[-5000:]
    )
    assert jobs.attempts(job)[0].output.size_bytes == len(whole)


def test_a_stop_waits_for_an_adopted_job(queue: Queue, jobs: Jobs) -> None:
    """The first signal lets it finish, as any running job."""
    job = jobs.one(_held("running"))
    supervisor = queue.start()
    jobs.pid("running")
    _adopted(queue, jobs, job, *_kill_workers(queue))
    supervisor.terminate()
    waiting = jobs.one("true")
    _go(queue)

    assert supervisor.wait(timeout=30) == 0
    assert [jobs.state(one) for one in (job, waiting)] == ["completed", "pending"]


def test_a_kill_puts_an_adopted_job_back(queue: Queue, jobs: Jobs) -> None:
    """QUIT ends it and counts nothing, as any running job."""
    jobs.configure(kill_grace="0.3")
    job = jobs.one(_held("running"))
    supervisor = queue.start()
    leader = jobs.pid("running")
    _adopted(queue, jobs, job, *_kill_workers(queue))
    supervisor.send_signal(signal.SIGQUIT)

    assert supervisor.wait(timeout=30) == -signal.SIGQUIT
    assert (jobs.state(job), jobs.get(job).attempts) == ("pending", 0)
    assert jobs.outcomes(job) == ["interrupted"]
    assert not alive(leader)


def test_leave_jobs_hands_running_jobs_to_the_next_pool(queue: Queue, jobs: Jobs) -> None:
    """`worker stop --leave-jobs` leaves at once; the job runs on and is adopted."""
    job = jobs.one(_held("running", "exit 4"), max_retries=1)
    supervisor = queue.start()
    leader = jobs.pid("running")
    (left,) = queue.json("worker", "list")
    queue.ok("worker", "stop", "--leave-jobs")
    assert supervisor.wait(timeout=30) == 0
    assert (alive(leader), jobs.state(job)) == (True, "processing")
    queue.start()
    _adopted(queue, jobs, job, left["id"])
    _go(queue)

    jobs.until(job, "dead")
    assert (jobs.outcomes(job), jobs.get(job).exit_code) == (["exit"], 4)


def test_nothing_of_dead_workers_stays_behind(queue: Queue, jobs: Jobs) -> None:
    """When all is settled their lock files, bells, logs and words are gone."""
    adopted, ended = jobs.one(_held("first")), jobs.one(_held("second", "exit 1"), max_retries=1)
    supervisor = queue.start(workers=2)
    jobs.pid("first")
    jobs.pid("second")
    dead = _kill_workers(queue)
    for job in (adopted, ended):
        _adopted(queue, jobs, job, *dead)
    _go(queue)
    jobs.until(adopted, "completed")
    jobs.until(ended, "dead")
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 0

    assert os.listdir(queue.files.workers) == []
    assert os.listdir(queue.files.logs) == []
