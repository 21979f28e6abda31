"""`run`: a batch of jobs, stored and run at once; stopped, killed, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from queuectl.core.cells import width
from support.calls import Called
from support.held import UNTIL_GO
from support.processes import linux_only, status_field
from support.queue import Queue
from support.terminal import on_terminal
from support.waiting import wait_until


def _run(queue: Queue, *args: str, **kwargs: Any) -> Called:
    return queue.run("run", *args, as_process=True, **kwargs)


def _commands(queue: Queue, *states: str) -> list[str]:
    return [job.command for job in queue.jobs() if job.state.value in states]


def test_all_jobs_complete(queue: Queue) -> None:
    """Nothing is printed, and the exit code is 0."""
    done = _run(queue, "-j", "2", "touch", "{}.done", ":::", "a", "b c", "it's")

    assert done == Called(0, "", "")
    assert sorted(path.name for path in queue.work.iterdir()) == [
        "a.done", "b c.done", "it's.done"
    ]  # fmt: skip


def test_failures_are_shown_with_their_output(queue: Queue) -> None:
    """The output of a job that failed goes to stdout, the rest to stderr; the exit code is 1."""
    done = _run(queue, "-j", "1", "echo {}; exit {}", ":::", "0", "3")

    assert done.code == 1
    assert done.out == "3\n"
    name = queue.get("@1").queue
    assert done.err.splitlines() == [
        "@2 dead: exit 3: echo 3; exit 3",
        f"{name}: 1 completed, 1 dead",
        "the same command with --resume goes on",
    ]


@pytest.mark.parametrize(
    ("shown", "out", "err"),
    [
        ("always", "0\n3\n", ["@2 dead: exit 3: echo 3; exit 3"]),
        ("none", "", ["@2 dead: exit 3: echo 3; exit 3", "  3"]),
    ],
)
def test_which_outputs_are_printed(queue: Queue, shown: str, out: str, err: list[str]) -> None:
    """Where the output is not printed, the last line of a failure is."""
    done = _run(queue, "-j", "1", "--output", shown, "echo {}; exit {}", ":::", "0", "3")

    assert (done.code, done.out, done.err.splitlines()[:-2]) == (1, out, err)


def test_the_order_of_the_arguments_can_be_kept(queue: Queue) -> None:
    """The second job ends first, and its output is printed second."""
    done = _run(
        queue, "-j", "2", "--keep-order", "--output", "always",
        "if [ {} = first ]; then until [ -e second ]; do sleep 0.02; done; fi; echo {}; touch {}",
        ":::", "first", "second",
    )  # fmt: skip

    assert done == Called(0, "first\nsecond\n", "")


def test_lines_of_stdin_are_commands(queue: Queue) -> None:
    """A blank line and a comment are none."""
    done = _run(queue, "-j", "1", "--output", "always", "-", stdin="echo a\n\n# no\necho b | cat\n")

    assert done == Called(0, "a\nb\n", "")


def test_a_batch_has_one_attempt_and_no_timeout(queue: Queue) -> None:
    """Options change that."""
    queue.configure(**{"job-timeout": "7", "max-retries": "9"})
    _run(queue, "true", ":::", "a")
    _run(queue, "--timeout", "5", "--max-retries", "2", "true", ":::", "b")

    first, second = queue.jobs()
    assert (first.timeout, first.max_retries) == (0, 1)
    assert (second.timeout, second.max_retries) == (5, 2)


def test_json_counts_the_jobs_and_names_them(queue: Queue) -> None:
    """The document is the only thing on stdout."""
    done = _run(queue, "--json", "test {} != 2", ":::", "1", "2")

    assert done.code == 1
    document = json.loads(done.out)
    assert document["batch"] == queue.get("@1").queue
    assert document["ids"] == queue.ids()
    assert {state: n for state, n in document["jobs"].items() if n} == {"completed": 1, "dead": 1}


def test_other_workers_leave_the_batch_alone(queue: Queue) -> None:
    """So exactly as many jobs run at the same time as -j says."""
    queue.start(workers=2)
    done = _run(queue, "-j", "1", "mkdir busy && sleep 0.05 && rmdir busy && : {}", ":::", *"abcd")

    assert done == Called(0, "", "")


def test_resume_runs_what_has_not_completed(queue: Queue) -> None:
    """A dead job runs again, a completed job does not, and a new argument becomes a new job."""
    words = ["echo {} >> ran; test -e ok || test {} != b", ":::"]
    assert _run(queue, "-j", "1", *words, "a", "b").code == 1
    (queue.work / "ok").touch()
    done = _run(queue, "-j", "1", "--resume", *words, "a", "b", "c")

    assert done == Called(0, "", "")
    assert (queue.work / "ran").read_text().split() == ["a", "b", "b", "c"]
    assert len({job.queue for job in queue.jobs()}) == 1


def test_without_resume_a_batch_is_a_new_one(queue: Queue) -> None:
    """All arguments run again, and the batch after it can be gone on with."""
    for expected in (1, 2):
        _run(queue, "echo {} >> ran", ":::", "a")
        assert len({job.queue for job in queue.jobs()}) == expected
    _run(queue, "--resume", "echo {} >> ran", ":::", "a")

    assert (queue.work / "ran").read_text() == "a\na\n"
    assert [job.queue[-2:] for job in queue.jobs()] == [".1", ".2"]


def test_resume_without_an_earlier_batch_begins_one(queue: Queue) -> None:
    """So a script can always say --resume."""
    assert _run(queue, "--resume", "true", ":::", "a") == Called(0, "", "")


def test_a_batch_of_another_folder_is_another_one(queue: Queue) -> None:
    """The same command elsewhere works on other files."""
    other = queue.folder / "other"
    other.mkdir()
    _run(queue, "touch", ":::", "a")
    _run(queue, "--resume", "touch", ":::", "a", cwd=other)

    assert (other / "a").exists()


def test_a_named_batch_is_used_once(queue: Queue) -> None:
    """A second run with its name must say --resume."""
    assert _run(queue, "--batch", "night", "true", ":::", "a") == Called(0, "", "")
    again = _run(queue, "--batch", "night", "true", ":::", "a")

    assert again == Called(
        1, "", "queuectl run: there is a batch night already (use --resume, or another name)\n"
    )
    assert _run(queue, "--batch", "night", "--resume", "true", ":::", "a", "b").code == 0
    assert [job.queue for job in queue.jobs()] == ["@night", "@night"]


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ([], "no command given (example: queuectl run gzip ::: *.log)"),
        (['{"command": "true"}'], "run takes no JSON object (put -- before it if it is a command)"),
        (["-0", "true"], "--null requires arguments from a file (::::)"),
        (["--output", "always", "--json", "true"],
         "--output always and --json cannot be used together"),
        (["--batch", "a b", "true"],
         "--batch must be printable, without white space, comma or slash"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(queue: Queue, args: list[str], problem: str) -> None:
    """The exit code is 2, and no job is stored."""
    done = _run(queue, *args)

    assert done == Called(2, "", f"queuectl run: {problem}\n")
    assert not queue.database.exists() or queue.ids() == []


def _started(queue: Queue, *args: str) -> subprocess.Popen[str]:
    process = queue.spawn("run", *args)
    wait_until(queue.exists, what="the queue")
    return process


def _said(process: subprocess.Popen[str], line: str) -> None:
    """Wait for the next line on stderr, which must be this one."""
    assert process.stderr is not None
    assert process.stderr.readline() == line + "\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_after_the_running_jobs(queue: Queue, number: signal.Signals) -> None:
    """The others stay in the queue, the process ends by the signal, and --resume goes on."""
    arguments = [str(number) for number in range(60)]
    words = [f"echo {{}} >> ran; {UNTIL_GO}; sleep 0.05", ":::", *arguments]
    process = _started(queue, "-j", "1", *words)
    queue.text("ran")
    process.send_signal(number)
    _said(process, "stopping after the running jobs (Ctrl+C again puts them back)")
    queue.let_go()
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (-number, "")
    completed = len(_commands(queue, "completed"))
    assert err.splitlines() == [
        f"{queue.get('@1').queue}: {completed} completed, {60 - completed} left",
        "the same command with --resume goes on",
    ]
    assert _run(queue, "-j", "2", "--resume", *words) == Called(0, "", "")
    assert sorted(_lines(queue.work / "ran"), key=int) == arguments


def test_a_second_signal_puts_the_running_jobs_back(queue: Queue) -> None:
    """The attempt does not count, and no process of it is left."""
    words = ["echo $$ > pid; echo {} >> ran; " + UNTIL_GO, ":::", "a", "b"]
    process = _started(queue, "-j", "1", *words)
    pid = queue.pid("pid")
    process.send_signal(signal.SIGINT)
    _said(process, "stopping after the running jobs (Ctrl+C again puts them back)")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    assert [(job.state.value, job.attempts) for job in queue.jobs()] == [("pending", 0)] * 2
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@linux_only
def test_nothing_is_lost_or_repeated_when_all_is_killed(queue: Queue) -> None:
    """The run and its pool are killed by SIGKILL in the middle, then gone on with.

    What had completed does not run again, and what ran goes on.
    """
    arguments = [str(number) for number in range(40)]
    words = ["echo {} >> began; sleep 0.02; echo {} >> ran", ":::", *arguments]
    process = _started(queue, "-j", "2", *words)
    wait_until(lambda: len(_lines(queue.work / "ran")) >= 10, what="some jobs")
    process.kill()
    for pid in queue.pids():
        with suppress(OSError):  # a job may end meanwhile
            if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)
    before = len(_commands(queue, "completed"))
    done = _run(queue, "-j", "2", "--resume", *words)

    assert (done.code, done.out) == (0, "")
    assert before
    assert _commands(queue, "completed") == [job.command for job in queue.jobs()]
    attempts = [len(queue.attempts(job.id)) for job in queue.jobs()]
    assert [attempts.count(1) >= before, len(attempts)] == [True, 40]
    assert set(_lines(queue.work / "ran")) == set(arguments)
    # A worker may have been killed before the command of its job began.
    assert 0 <= sum(attempts) - len(_lines(queue.work / "began")) <= 2


@linux_only
def test_a_job_that_was_lost_with_its_run_is_resumed_at_once(queue: Queue) -> None:
    """Regression: it was dead at first, and only a second --resume ran it again."""
    words = ["echo {} >> began; " + UNTIL_GO, ":::", "a", "b"]
    process = _started(queue, "-j", "1", *words)
    queue.text("began")
    process.kill()
    for pid in queue.pids():
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)
    queue.let_go()

    assert _run(queue, "-j", "1", "--resume", *words) == Called(0, "", "")
    assert sorted(_lines(queue.work / "began")) == ["a", "a", "b"]
    assert queue.outcomes("@1") == ["lost", "ok"]


def test_a_run_whose_command_was_killed_is_followed(queue: Queue) -> None:
    """Its workers go on, so --resume starts no others, and waits for them."""
    words = ["echo {} >> ran; " + UNTIL_GO, ":::", "a", "b"]
    process = _started(queue, "-j", "1", *words)
    queue.text("ran")
    process.kill()
    process.wait(timeout=60)
    again = queue.spawn("run", "-j", "5", "--resume", *words)
    queue.let_go()
    out, err = again.communicate(timeout=60)

    assert (again.returncode, out, err) == (0, "", "")
    assert (queue.work / "ran").read_text().split() == ["a", "b"]


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_progress_and_summary_on_a_terminal(queue: Queue) -> None:
    """The last line says how the batch ended."""
    done = on_terminal(queue, "run", "-j", "1", "test {} != b", ":::", "a", "b", streams="stderr")

    assert done.code == 1
    assert done.screen.splitlines()[-2:] == [
        f"{queue.get('@1').queue}: 1 completed, 1 dead",
        "the same command with --resume goes on",
    ]


def test_what_the_caller_may_not_have_meant_is_pointed_out(queue: Queue) -> None:
    """Regression: `ls | queuectl run gzip` said nothing and ran `gzip` once, without arguments."""
    reader, writer = os.pipe()
    os.write(writer, b"a\n")
    os.close(writer)
    try:
        done = on_terminal(
            queue, "run", "true", "--resume", streams="stderr", size=(80, 24), stdin=reader
        )
    finally:
        os.close(reader)

    assert done.screen.splitlines()[:2] == [
        "note: --resume is part of the command; options of run go before it",
        "note: stdin is not read (--input - stores it, :::: - makes a job per line)",
    ]


@linux_only
def test_the_workers_of_a_killed_run_are_stopped_by_the_next_one(queue: Queue) -> None:
    """Ctrl+C at the second run reaches the pool of the first."""
    words = ["echo {} >> ran; " + UNTIL_GO, ":::", "a", "b"]
    process = _started(queue, "-j", "1", *words)
    queue.text("ran")
    process.kill()
    process.wait(timeout=60)
    again = queue.spawn("run", "--resume", *words)
    bit = 1 << (signal.SIGHUP - 1)
    wait_until(
        lambda: int(status_field(again.pid, "SigCgt"), 16) & bit,
        what="the handlers of the second run",
    )
    for line in (
        "stopping after the running jobs (Ctrl+C again puts them back)",
        "putting the running jobs back",
    ):
        again.send_signal(signal.SIGINT)
        _said(again, line)
    again.communicate(timeout=60)

    assert again.returncode == -signal.SIGINT
    assert [job.state.value for job in queue.jobs()] == ["pending", "pending"]
    assert queue.workers() == []


def test_a_paused_queue_is_named(queue: Queue) -> None:
    """Otherwise the batch would end in silence, with all jobs left."""
    queue.ok("queue", "pause")
    done = _run(queue, "true", ":::", "a", "b")

    assert done.code == 1
    assert done.err.splitlines() == [
        f"{queue.get('@1').queue}: 2 left",
        "the queue is paused (queuectl queue resume)",
        "the same command with --resume goes on",
    ]


def test_two_runs_of_one_command_at_once_are_two_batches(queue: Queue) -> None:
    """Regression: both took the same name, and each waited for the jobs of the other."""
    queue.add("true")
    both = [queue.spawn("run", "-j", "1", "echo {} >> ran", ":::", *"abc") for _ in range(2)]
    for one in both:
        assert one.wait(timeout=60) == 0

    assert sorted(_lines(queue.work / "ran")) == sorted("aabbcc")
    assert sorted(job.queue[-2:] for job in queue.jobs()[1:]) == [".1"] * 3 + [".2"] * 3


def test_a_job_can_run_a_batch(queue: Queue) -> None:
    """The workers of the batch serve no other queue, so the job does not wait for itself."""
    job = queue.enqueue("queuectl run echo ::: a", "--max-retries", "1")
    queue.drain(workers=1)

    assert queue.state(job) == "completed"


@pytest.mark.timeout(600)
def test_many_jobs_that_end_in_another_order_are_all_reported(queue: Queue) -> None:
    """Thousands of jobs, of which each tenth fails; no failure is lost or told twice."""
    arguments = "".join(f"{number}\n" for number in range(2500))
    done = _run(
        queue, "-j", "4", "--output", "none",
        "test {#} != 1 || sleep 1; case {} in *7) exit 1; esac", "::::", "-", stdin=arguments,
        timeout=500,
    )  # fmt: skip
    failed = [line for line in done.err.splitlines() if " dead: exit 1: " in line]

    assert done.code == 1
    assert len(failed) == len(set(failed)) == 250
    assert f": {2500 - 250} completed, 250 dead" in done.err


def test_a_run_whose_reader_has_gone_stops(queue: Queue) -> None:
    """Regression: the command ended, and its workers went on unseen. It ends by SIGPIPE."""
    words = ["echo {} | tee -a ran; sleep 0.1", ":::", *map(str, range(100))]
    process = queue.spawn("run", "-j", "1", "--output", "always", *words)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == -signal.SIGPIPE
    wait_until(lambda: not queue.workers(), what="the end of the workers")

    completed, left = _commands(queue, "completed"), _commands(queue, "pending")
    assert left
    assert len(completed) + len(left) == 100
    assert _run(queue, "-j", "2", "--resume", *words).code == 0
    assert sorted(_lines(queue.work / "ran"), key=int) == [str(number) for number in range(100)]


@linux_only
def test_a_run_that_cannot_print_stops(queue: Queue) -> None:
    """Regression: as above, when stdout is a file on a full disk. The exit code is 1."""
    words = ["echo {}; sleep 0.1", ":::", *map(str, range(100))]
    full = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
    done = _run(queue, "-j", "1", "--output", "always", *words, before=full)
    wait_until(lambda: not queue.workers(), what="the end of the workers")

    assert done.code == 1
    assert done.err.splitlines() == [
        "stopping after the running jobs; the same command with --resume goes on",
        "queuectl run: cannot write to stdout: No space left on device",
    ]
    assert _commands(queue, "pending")


def test_no_line_of_a_failure_is_wider_than_the_terminal(queue: Queue) -> None:
    """Commands and last lines of output are cut, also where characters are two columns wide."""
    wide = "文字" * 60
    done = on_terminal(
        queue, "run", "-j", "1", "--output", "none", "echo {}; sleep 0.3; exit 3", ":::", wide,
        "x" * 200, streams="stderr", size=(80, 24),
    )  # fmt: skip
    lines = done.screen.splitlines()

    assert done.code == 1
    assert [line for line in lines if width(line) > 80] == []
    assert [line[:18] for line in lines if " dead: " in line] == [
        "@1 dead: exit 3: e", "@2 dead: exit 3: e"
    ]  # fmt: skip


def test_jobs_that_wait_for_a_retry_are_waited_for(queue: Queue) -> None:
    """The pool ends when nothing is left to retry."""
    words = ["--max-retries", "2", "--retry-delay", "0.3", "echo {} >> ran; test {} != 2"]
    done = _run(queue, "-j", "2", *words, ":::", "1", "2")

    assert (done.code, done.err.splitlines()[0]) == (
        1, "@2 dead: exit 1: echo 2 >> ran; test 2 != 2"
    )  # fmt: skip
    assert sorted(_lines(queue.work / "ran")) == ["1", "2", "2"]


def test_a_job_of_a_batch_that_is_retried_needs_a_worker_for_it(queue: Queue) -> None:
    """Regression: `why` said `queuectl worker start`, which does not serve batches."""
    _run(queue, "false", ":::", "a")
    name = queue.get("@1").queue
    start = f"(queuectl worker start --queue {name})"
    done = on_terminal(queue, "dlq", "retry", "--all", "--command", "true", streams="stderr")

    assert (done.code, done.screen) == (0, f"no worker is running {start}\n")
    assert queue.ok("why", "@1").endswith(start)
    queue.ok("worker", "start", "--drain", "-q", "--queue", name)
    assert queue.state("@1") == "completed"
