"""`wait`: its exit codes, messages and JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Iterator

import pytest

from queuectl.core.models import Job
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from support.held import UNTIL_GO
from support.outcomes import COMPLETED, OK
from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until

_ENDINGS = [
    ("completed", 0, None),
    ("own-code", 7, "is dead: exit 7"),
    ("retried", 5, "is dead: exit 5"),
    ("by-signal", 128 + signal.SIGUSR1, "was killed by signal USR1"),
    ("too-long", 124, "is dead: killed after 0.20 s by its timeout"),
    ("no-folder", 126, "is dead: …"),
    ("cancelled", 143, "was cancelled: wrong input"),
    ("lost", 137, "…"),
]
_COMMANDS = {
    "completed": "true",
    "own-code": "exit 7",
    "retried": "exit $((3 + QUEUECTL_ATTEMPT))",
    "by-signal": "kill -USR1 $$",
    "too-long": "exec sleep 60",
    "no-folder": "true",
    "cancelled": "exec sleep 60",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A queue with one job for each way to finish; the ids are those of the table above."""
    queue = Queue(tmp_path_factory.mktemp("ended"))
    for key, value in (("backoff-base", "1"), ("backoff-max", "0"), ("kill-grace", "0.5")):
        queue.ok("config", "set", key, value)
    gone = queue.folder / "gone"
    gone.mkdir()
    options: dict[str, Any] = {
        "retried": {"max_retries": 2},
        "too-long": {"timeout": 0.2},
        "no-folder": {"cwd": str(gone)},
    }
    lines = [
        json.dumps({"id": name, "command": command, "max_retries": 1, **options.get(name, {})})
        for name, command in _COMMANDS.items()
    ]
    queue.ok("enqueue", "-q", "-", stdin="\n".join(lines))
    gone.rmdir()
    pool = queue.start(workers=2)
    queue.until("cancelled", "processing")
    queue.ok("cancel", "--reason", "wrong input", "cancelled")
    queue.enqueue("echo $$ > pid; exec sleep 60", "--id", "lost", "--max-retries", "1")
    pid = wait_until(lambda: _number(queue.work / "pid"), what="the job")
    worker = next(w["pid"] for w in queue.workers() if w["job"] == "lost")
    os.kill(worker, signal.SIGKILL)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # its heir was faster
        pass
    queue.run("wait", *_COMMANDS, "lost")
    pool.terminate()
    assert pool.wait(30) == 0
    queue.enqueue("true", "--id", "pending")
    queue.run("enqueue", "--id", "never", "--after", "own-code", "true")
    queue.enqueue("true", "--id", "never-2", "--after", "never")
    yield queue
    assert queue.close() == []


def _number(path: Path) -> int:
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(("name", "code", "why"), _ENDINGS)
def test_each_way_to_finish_has_an_exit_code(ended: Queue, name: str, code: int, why: str) -> None:
    """Unless the code is 0, one line on stderr says why."""
    done = ended.run("wait", name)

    assert (done.code, done.out) == (code, "")
    if why is None:
        assert done.err == ""
    else:
        start = f"queuectl wait: {name} {why.rstrip('…')}"
        assert done.err.startswith(start)
        assert done.err.count("\n") == 1
        assert why.endswith("…") or done.err == start + "\n"


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["nope"], 125, "no such job: nope"),
        (["completed", "nope"], 125, "no such job: nope"),
        (["never"], 125, "never can never finish: it waits for own-code, which is dead"),
        (["never-2"], 125, "never-2 can never finish: it waits for own-code, which is dead"),
        (["pending", "never"], 125, "never can never finish: it waits for own-code, which is dead"),
        (["--db", "none.db", "x"], 125, "no queue at …"),
        ([], 2, "no jobs given (give their ids, --queue, --state or --all)"),
        (["--queue", "a b"], 2, "--queue must be printable, without white space, comma or slash"),
        (["--timeout", "soon", "pending"], 2, "--timeout: not a duration: 'soon' …"),
        (
            ["completed", "--all"],
            2,
            "job ids and --queue, --state or --all cannot be used together",
        ),
        (["-", "completed"], 2, "- cannot be used with other ids: it reads them from stdin"),
    ],
)
def test_wait_fails_at_once_if_it_cannot_wait(
    ended: Queue, args: list, code: int, line: str
) -> None:
    """It exits with 125 if queuectl cannot wait, and with 2 for wrong usage."""
    done = ended.run("wait", *args)
    said = done.err.splitlines()[-1]

    assert (done.code, done.out) == (code, "")
    assert said.startswith("queuectl wait: " + line.rstrip("…"))
    assert line.endswith("…") or said == "queuectl wait: " + line


def test_the_time_ran_out(ended: Queue) -> None:
    """The line names an unfinished job; a warning said before that no worker is running."""
    done = ended.run("wait", "--timeout", "0.2", "pending", "completed")

    assert (done.code, done.out) == (124, "")
    assert done.err.splitlines() == [
        "no worker is running (queuectl worker start)",
        "queuectl wait: time ran out, unfinished: pending",
    ]


def test_several_jobs(ended: Queue) -> None:
    """The code is 0 if all completed, else 1; the first ones that did not are named."""
    line = ended.fails(1, "wait", "completed", "own-code", "by-signal")

    assert ended.ok("wait", "completed", "completed") == ""
    assert line == (
        "queuectl wait: 2 of 3 did not complete: own-code is dead: exit 7, "
        "by-signal was killed by signal USR1"
    )


@pytest.mark.parametrize(("stdin", "code"), [("completed\n", 0), ("own-code\ncompleted\n", 1)])
def test_ids_come_from_stdin(ended: Queue, stdin: str, code: int) -> None:
    """`wait -` reads the ids that `enqueue` printed."""
    assert ended.run("wait", "-", stdin=stdin).code == code


@pytest.mark.parametrize("options", [[], ["--any"], ["--json"]])
def test_no_ids_on_stdin_is_an_error(ended: Queue, options: list) -> None:
    """Regression: `enqueue - <broken | wait -` exited with 0, as if all jobs had completed."""
    line = ended.fails(125, "wait", *options, "-", stdin="\n")

    assert line == "queuectl wait: no ids on stdin"


def test_any_returns_with_the_first_job(ended: Queue) -> None:
    """It prints the id of that job and exits with its code."""
    done = ended.run("wait", "--any", "pending", "own-code")

    assert (done.code, done.out) == (7, "own-code\n")


def test_json_has_the_own_code_of_a_job(ended: Queue) -> None:
    """There is one object per job in the given order, with its own exit code and that of `wait`."""
    done = ended.run("wait", "--json", "by-signal", "own-code")
    found = json.loads(done.out)

    assert done.code == 1
    assert found == [
        {
            "id": "by-signal", "state": "dead", "exit_code": None, "signal": signal.SIGUSR1,
            "code": 128 + signal.SIGUSR1, "message": "was killed by signal USR1",
        },
        {
            "id": "own-code", "state": "dead", "exit_code": 7, "signal": None, "code": 7,
            "message": "is dead: exit 7",
        },
    ]  # fmt: skip


def test_json_when_the_time_ran_out(ended: Queue) -> None:
    """Regression: stdout was empty, although some jobs had finished."""
    done = ended.run("wait", "--json", "--timeout", "0.2", "pending", "too-long")
    found = [
        (ending["id"], ending["state"], ending["code"], ending["message"])
        for ending in json.loads(done.out)
    ]

    assert done.code == 124
    assert done.err.endswith("queuectl wait: time ran out, unfinished: pending\n")
    assert found == [
        ("pending", "pending", 124, "is pending: time ran out"),
        ("too-long", "dead", 124, "is dead: killed after 0.20 s by its timeout"),
    ]


def test_json_when_a_job_can_never_finish(ended: Queue) -> None:
    """Regression: stdout was empty, so its reader got no document."""
    done = ended.run("wait", "--json", "pending", "never", "own-code")
    found = [
        (ending["id"], ending["state"], ending["code"], ending["message"])
        for ending in json.loads(done.out)
    ]

    assert done.code == 125
    assert done.err.splitlines()[-1] == (
        "queuectl wait: never can never finish: it waits for own-code, which is dead"
    )
    assert found == [
        ("pending", "pending", 125, "is pending: no longer waited for"),
        ("never", "blocked", 125, "can never finish: it waits for own-code, which is dead"),
        ("own-code", "dead", 7, "is dead: exit 7"),
    ]


def test_json_when_a_job_was_deleted(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was pruned while we slept is printed in the state that was seen last."""
    queue.enqueue("true", "--id", "a")
    states_of = Storage.states_of

    def pruned(storage: Storage, seqs: Any) -> Any:
        with queue.opened() as other:
            other.cancel(other.get("a"), now=utcnow())
            other.prune(states=[JobState.CANCELLED], before=utcnow() + timedelta(hours=1))
        return states_of(storage, seqs)

    monkeypatch.setattr(Storage, "states_of", pruned)
    done = queue.run("wait", "--json", "a")

    assert done.code == 125
    assert done.err.splitlines()[-1] == "queuectl wait: a was deleted"
    assert json.loads(done.out) == [
        {
            "id": "a", "state": "pending", "exit_code": None, "signal": None, "code": 125,
            "message": "was deleted",
        }
    ]  # fmt: skip


def test_any_names_no_job_when_the_time_ran_out(ended: Queue) -> None:
    """No job has finished, so stdout stays empty."""
    done = ended.run("wait", "--any", "--timeout", "0.2", "pending")

    assert (done.code, done.out) == (124, "")


def test_json_of_all_has_counts(queue: Queue) -> None:
    """It is printed whether the wait succeeded or the time ran out."""
    queue.enqueue("true", "--id", "a")
    done = queue.run("wait", "--all", "--json", "--timeout", "0.2")

    assert done.code == 124
    assert done.err.endswith("queuectl wait: time ran out, 1 unfinished\n")
    assert json.loads(done.out) == {"waited_for": 1, "not_completed": 0, "unfinished": 1}
    queue.drain()
    assert queue.json("wait", "--all") == {"waited_for": 0, "not_completed": 0, "unfinished": 0}


def test_a_job_that_finishes_at_the_last_moment(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that finishes between the last look and the deadline counts as finished."""
    queue.enqueue("true", "--id", "a")
    states_of = Storage.states_of

    def ending(storage: Storage, seqs: Any) -> Any:
        states = states_of(storage, seqs)
        with queue.opened() as other:
            other.cancel(other.get("a"), now=utcnow())
        return states

    monkeypatch.setattr(Storage, "states_of", ending)

    assert queue.run("wait", "--timeout", "0", "a").code == 143


def test_wait_does_not_return_between_retries(queue: Queue) -> None:
    """The first attempt fails; `wait` goes on until the second one completes."""
    queue.configure(backoff_base="1", backoff_max="0.3", backoff_jitter="0")
    queue.enqueue("test $QUEUECTL_ATTEMPT = 2", "--id", "a")
    waiting = queue.spawn("wait", "a")
    queue.drain()

    assert waiting.communicate(timeout=30)[0] == ""
    assert waiting.returncode == 0
    assert queue.show("a")["attempts"] == 2


def test_the_end_of_a_job_is_noticed_soon(queue: Queue) -> None:
    """`wait` returns while a long job that came next is still running."""
    queue.start()
    queue.enqueue(UNTIL_GO, "--id", "a")
    waiting = [queue.spawn("wait", "a") for _ in range(2)]
    queue.enqueue("sleep 300", "--id", "long")
    queue.let_go()
    assert [process.wait(30) for process in waiting] == [0, 0]

    assert queue.until("long", "processing").state.value == "processing"
    assert queue.ok("wait", "--any", "long", "a") == "a"


def test_all_waits_until_no_job_is_unfinished(queue: Queue) -> None:
    """It also waits for jobs that are enqueued meanwhile, and exits with 0 if there are none."""
    assert queue.ok("worker", "start", "--drain", "-q") == ""
    assert queue.ok("wait", "--all") == ""
    queue.enqueue(
        '"$(dirname "$(command -v python)")"/queuectl enqueue --id b "sleep 0.2"', "--id", "a"
    )
    queue.enqueue("true", "--queue", "other", "--delay", "1h")
    waiting = queue.spawn("wait", "--all", "--queue", "default")
    queue.drain()

    assert waiting.wait(30) == 0
    assert (queue.state("a"), queue.state("b")) == ("completed", "completed")


def test_all_exits_with_1_if_a_job_did_not_complete(queue: Queue) -> None:
    """One line says how many; jobs that were dead before do not count."""
    queue.enqueue("exit 1", "--id", "old")
    queue.run_as_if("dead")
    queue.enqueue("exit 1", "--id", "a", "--max-retries", "1")
    waiting = queue.spawn("wait", "--all", stderr=subprocess.PIPE)
    assert waiting.stderr is not None
    assert "no worker is running" in waiting.stderr.readline()
    queue.start()
    out, err = waiting.communicate(timeout=60)

    assert (waiting.returncode, out) == (1, "")
    assert err == "queuectl wait: 1 did not complete (queuectl dlq list)\n"
    assert queue.ok("wait", "--all") == ""


def test_all_counts_a_death_that_is_recorded_late(queue: Queue) -> None:
    """Regression: a job that died before the wait, but was recorded during it, was not counted."""
    queue.enqueue("true", "--id", "a")
    waiting = queue.spawn("wait", "--all", stderr=subprocess.PIPE)
    assert waiting.stderr is not None
    assert "no worker is running" in waiting.stderr.readline()
    with queue.opened() as storage:
        storage.cancel(storage.get("a"), now=utcnow() - timedelta(seconds=10))

    assert waiting.wait(30) == 1
    assert "1 did not complete" in waiting.stderr.read()


@pytest.mark.parametrize(("old", "new"), [(-2, -1), (1, 0), (1, 1)])
def test_all_counts_deaths_whatever_the_clock_says(queue: Queue, old: int, new: int) -> None:
    """Regression: if the clock was set back meanwhile, a dead job passed for completed; and each
    call counted again the jobs that had died while the clock was ahead.
    """
    queue.enqueue("true", "--id", "old")
    with queue.opened() as storage:
        storage.cancel(storage.get("old"), now=utcnow() + timedelta(hours=old))
    queue.enqueue("true", "--id", "a")
    waiting = queue.spawn("wait", "--all", stderr=subprocess.PIPE)
    assert waiting.stderr is not None
    assert "no worker is running" in waiting.stderr.readline()
    with queue.opened() as storage:
        storage.cancel(storage.get("a"), now=utcnow() + timedelta(hours=new))

    assert waiting.wait(30) == 1
    assert waiting.stderr.read() == "queuectl wait: 1 did not complete (queuectl dlq list)\n"


@pytest.mark.parametrize("undo", ["prune", "retry"])
def test_all_counts_an_end_that_was_undone_meanwhile(queue: Queue, undo: str) -> None:
    """Regression: a cancelled job that was pruned, or retried, before the next look was missed."""
    queue.enqueue("true", "--id", "a")
    waiting = queue.spawn("wait", "--all", stderr=subprocess.PIPE)
    assert waiting.stderr is not None
    assert "no worker is running" in waiting.stderr.readline()
    with queue.opened() as storage:
        storage.cancel(storage.get("a"), now=utcnow())
        if undo == "retry":
            storage.retry(storage.get("a"), now=utcnow())
            claim = storage.claim("w1", now=utcnow())
            assert claim is not None
            storage.record(claim, OK, COMPLETED, now=utcnow())
        else:
            storage.prune(states=[JobState.CANCELLED], before=utcnow() + timedelta(hours=1))

    assert waiting.wait(30) == 1
    assert waiting.stderr.read() == "queuectl wait: 1 did not complete (queuectl dlq list)\n"


@pytest.mark.parametrize("words", [["a"], ["--all"]])
def test_the_time_runs_out_on_a_busy_queue(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Regression: while something changed between any two looks, the deadline was ignored."""
    queue.enqueue("true", "--id", "a")
    changes = count()
    monkeypatch.setattr(Storage, "version", lambda _self: next(changes))

    assert queue.run("wait", "--timeout", "0.2", *words).code == 124


def test_all_does_not_wait_for_a_job_that_can_never_finish(queue: Queue) -> None:
    """If only such jobs are left, it exits with 125 and names both jobs."""
    queue.enqueue("exit 1", "--id", "a")
    queue.run_as_if("dead")
    queue.run("enqueue", "--id", "b", "--after", "a", "true")
    done = queue.run("wait", "--all")

    assert done.code == 125
    assert done.err.splitlines()[-1] == (
        "queuectl wait: b can never finish: it waits for a, which is dead"
    )


def test_json_of_all_when_a_job_can_never_finish(ended: Queue) -> None:
    """Regression: stdout was empty, so its reader got no document."""
    done = ended.run("wait", "--all", "--json")

    assert done.code == 125
    assert json.loads(done.out) == {"waited_for": 3, "not_completed": 0, "unfinished": 3}


@pytest.mark.parametrize("args", ["$QUEUECTL_JOB_ID", "$QUEUECTL_JOB_ID --any", "--all"])
def test_a_job_cannot_wait_for_itself(queue: Queue, args: str) -> None:
    """It would wait for ever, so it exits with 1. With --json there is a document all the same."""
    queue.enqueue(
        f"queuectl wait {args} 2> said; echo $? >> said; queuectl wait {args} --json > json",
        "--id",
        "me",
        "--max-retries",
        "1",
    )
    queue.drain()

    assert queue.text("said") == "queuectl wait: me cannot wait for itself\n1"
    assert json.loads(queue.text("json"))


def test_a_job_can_wait_for_all_jobs_of_another_queue(queue: Queue) -> None:
    """Regression: `wait` refused, as if the job waited for itself."""
    queue.enqueue("true", "--id", "other", "--queue", "b", "--priority", "1")
    queue.enqueue("queuectl wait --all --queue b; echo $? > said", "--id", "me")
    queue.drain()

    assert queue.text("said") == "0"


def test_all_fails_at_once_although_other_jobs_are_unfinished(queue: Queue) -> None:
    """Regression: it failed only when nothing but blocked jobs was left."""
    queue.enqueue("exit 1", "--id", "a")
    queue.run_as_if("dead")
    queue.run("enqueue", "--id", "b", "--after", "a", "true")
    queue.enqueue("true", "--id", "c")
    done = queue.run("wait", "--all", "--timeout", "20")

    assert done.code == 125
    assert done.err.splitlines()[-1] == (
        "queuectl wait: b can never finish: it waits for a, which is dead"
    )


@pytest.mark.parametrize("words", [["--all"], ["b"]])
def test_a_job_that_can_never_finish_is_found_although_the_counts_are_the_same(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Regression: if one dead job was retried while another died, the second went unnoticed."""
    queue.enqueue("exit 1", "--id", "old")
    queue.run_as_if("dead")
    queue.enqueue("exit 1", "--id", "a")
    queue.enqueue("true", "--id", "b", "--after", "a")
    look, looked = Storage.first_stuck, count()

    def exchange(storage: Storage, *args: Any) -> Any:
        found = look(storage, *args)
        if next(looked) == 0:
            queue.run_as_if("dead")
            with queue.opened() as other:
                other.retry(other.get("old"), now=utcnow())
        return found

    monkeypatch.setattr(Storage, "first_stuck", exchange)
    done = queue.run("wait", "--timeout", "20", *words)

    assert done.code == 125
    assert done.err.splitlines()[-1] == (
        "queuectl wait: b can never finish: it waits for a, which is dead"
    )


def test_a_chain_is_searched_only_after_a_job_died(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: each change searched the needs of every blocked job."""
    jobs: list[dict[str, Any]] = [
        {"id": "0", "command": "until [ -e looked ]; do sleep 0.01; done"}
    ]
    jobs += [{"id": str(n), "command": "true", "after": [str(n - 1)]} for n in range(1, 30)]
    queue.ok("enqueue", "-q", "-", stdin="\n".join(map(json.dumps, jobs)))
    states_of, needs, asked = Storage.states_of, Storage.needs, queue.work / "asked"

    def looking(storage: Storage, seqs: Any) -> Any:
        states = states_of(storage, seqs)
        (queue.work / "looked").touch()
        return states

    def asking(storage: Storage, job: Job) -> Any:
        with asked.open("a") as file:
            print(job.id, file=file)
        return needs(storage, job)

    monkeypatch.setattr(Storage, "states_of", looking)
    monkeypatch.setattr(Storage, "needs", asking)
    queue.start()
    done = queue.run("wait", *(job["id"] for job in jobs))

    assert (done.code, done.err) == (0, "")
    assert not asked.exists()


@linux_only
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["wait", "running"], 125),
        (["wait", "later"], 125),
        (["wait", "--all"], 125),
        (["logs", "-f", "running"], 1),
        (["logs", "-f", "later"], 1),
    ],
)
def test_wait_ends_when_the_queue_is_removed(queue: Queue, words: list, code: int) -> None:
    """Regression: it polled a file that had been deleted, for ever."""
    queue.enqueue("echo begun; " + UNTIL_GO, "--id", "running")
    queue.enqueue("true", "--id", "later", "--delay", "1h")
    queue.start("--max-jobs", "1")
    queue.until("running", "processing")
    waiter = queue.spawn(*words)
    wait_until(lambda: _has_open(waiter.pid, f"{queue.database}-shm"), what="it to read")
    for path in filter(Path.is_file, queue.folder.glob("queue.db*")):
        path.unlink()

    _, said = waiter.communicate(timeout=30)
    queue.let_go()
    assert (waiter.returncode, said) == (
        code,
        f"queuectl {words[0]}: {queue.database} was removed or replaced\n",
    )


def _has_open(pid: int, path: str) -> bool:
    try:
        return any(os.readlink(link) == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # it was closed meanwhile
        return False


def test_cancelling_the_job_ends_the_wait(queue: Queue) -> None:
    """The code is 143, and the line has the reason. No worker is needed."""
    queue.enqueue("true", "--id", "a")
    waiting = queue.spawn("wait", "a")
    queue.ok("cancel", "--reason", "no need", "a")
    err = waiting.communicate(timeout=30)[1]

    assert waiting.returncode == 143
    assert err.splitlines()[-1] == "queuectl wait: a was cancelled: no need"


def test_the_timeout_holds_while_the_jobs_are_read(queue: Queue) -> None:
    """Prevents a bug: with 200,000 jobs `wait --timeout 2` took 10 s, all before its first look."""
    queue.add_many(*["true"] * 1000)
    done = queue.run("wait", "--timeout", "0", "--state", "pending", "--json")

    assert done.code == 124
    assert len(json.loads(done.out)) < 1000  # those that were read until then
    assert done.err == "queuectl wait: time ran out while the jobs were read from the queue\n"


@pytest.mark.parametrize("everything", [[], ["--all"]])
def test_jobs_with_a_label(queue: Queue, everything: list[str]) -> None:
    """Only those are waited for."""
    queue.enqueue("true", "--label", "nightly 1")
    other = queue.enqueue("sleep 60", "--label", "other")
    waiting = queue.spawn("wait", "--label", "nightly*", *everything)
    queue.start(workers=2)

    assert waiting.wait(30) == 0
    assert queue.state(other) in ("pending", "processing")
