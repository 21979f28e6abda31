"""`enqueue --wait`: the output and the exit code of a job, as if it ran in the foreground."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from itertools import count
from typing import Iterator, Sequence

import pytest

from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.host import processes
from queuectl.storage import Storage
from support.calls import COMMAND
from support.held import UNTIL_GO
from support.queue import Queue
from support.terminal import on_terminal
from support.waiting import wait_until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A queue with two workers."""
    queue = Queue(tmp_path_factory.mktemp("served"))
    queue.ok("config", "set", "backoff-max", "0")
    queue.start(workers=2)
    yield queue
    assert queue.close() == []


@pytest.mark.parametrize(
    ("shown", "end", "out"),
    [
        ("always", "exit 0", "1\n"),
        ("always", "exit 3", "1\n2\n"),
        ("on-failure", "exit 0", ""),
        ("on-failure", "exit 3", "2\n"),
        ("none", "exit 0", ""),
        ("none", "exit 3", ""),
    ],
)
def test_stdout_has_only_the_output_of_the_job(
    served: Queue, shown: str, end: str, out: str
) -> None:
    """--output chooses: all of it, that of the last attempt if the job failed, or none."""
    command = f"echo $QUEUECTL_ATTEMPT; {end}"
    done = served.run("enqueue", "--wait", "--output", shown, "--max-retries", "2", command)

    assert done.out == out
    assert done.code == int(end[-1])
    assert done.err.count("\n") == (1 if done.code else 0)


def test_output_is_printed_unchanged(served: Queue) -> None:
    """Also bytes that are not text, both streams, and an end without a line break."""
    done = subprocess.run(
        [COMMAND, "enqueue", "-w", r"printf 'a\000\377'; printf 'b\r' >&2; printf '\033'"],
        env=served.env, cwd=served.work, stdout=subprocess.PIPE, timeout=60, check=True,
    )  # fmt: skip

    assert done.stdout == b"a\0\xffb\r\x1b"


@pytest.mark.parametrize(
    ("options", "command", "code", "why"),
    [
        ([], "exit 75", 75, "is dead: exit 75"),
        ([], "kill -9 $$", 137, "was killed by signal KILL"),
        (["--timeout", "0.2"], "exec sleep 60", 124, "is dead: killed after 0.20 s by its timeout"),
    ],
)
def test_the_exit_code_is_that_of_wait(
    served: Queue, options: list, command: str, code: int, why: str
) -> None:
    """It is that of the job, or stands for how it ended; one line on stderr says why."""
    done = served.run(
        "enqueue", "--wait", "--id", f"c{code}", "--max-retries", "1", *options, command
    )

    assert (done.code, done.out) == (code, "")
    where = f"c{code} on {processes.host_name()}"
    assert done.err == f"queuectl enqueue: {where} {why}; attempt 1 of 1: {command}\n"


def test_a_failure_names_the_label_and_the_attempts(served: Queue) -> None:
    """In a mail from cron, an id alone says nothing. A long command is cut in its middle."""
    told = served.run("enqueue", "-q", "--wait", "--label", "nightly backup", "exit 3")
    long = served.run("enqueue", "-q", "--wait", "--max-retries", "1", f"exit 3 # {'x' * 200}")
    host = processes.host_name()

    assert re.fullmatch(
        rf"queuectl enqueue: \w{{12}} on {host} is dead: exit 3; attempt 3 of 3: nightly backup\n",
        told.err,
    )
    assert long.err.endswith(f"attempt 1 of 1: exit 3 # {'x' * 40}…{'x' * 50}\n")


def test_a_failure_on_a_terminal_has_the_number_of_the_job(served: Queue) -> None:
    """It had the generated id, which lists do not show there, and the name of this machine."""
    words = ("--wait", "--max-retries", "1", "exit 3")
    shown = on_terminal(served, "enqueue", *words, streams="stdout stderr")

    number = f"@{served.get('@last').seq}"
    assert shown.screen == f"queuectl enqueue: {number} is dead: exit 3; attempt 1 of 1: exit 3\n"


def test_between_attempts_a_terminal_says_when_the_next_begins(queue: Queue) -> None:
    """Regression: the outputs of three attempts followed each other without a word."""
    queue.configure(backoff_base="600", backoff_jitter="0", backoff_max="1h")
    queue.start(workers=2)
    words = ("--wait", "--max-retries", "2", "printf one; exit 3")

    def go_on(screen: str) -> None:
        job = queue.get("@last")
        if "attempt 2" in screen and job.state is JobState.FAILED:
            queue.storage.edit(job, {"run_at": utcnow()}, now=utcnow())

    shown = on_terminal(queue, "enqueue", *words, streams="stdout stderr", seen=go_on)
    queue.configure(backoff_max="0")
    quiet = on_terminal(queue, "enqueue", "-q", *words, streams="stdout stderr")
    piped = queue.run("enqueue", *words)

    first, second = shown.screen.splitlines()[:2]
    assert first == "one"
    assert re.fullmatch(r"attempt 2 of 2 in (10|9) min", second)
    assert shown.screen.count("attempt 2 of 2 in") == 1
    assert quiet.screen.startswith("oneone")
    assert piped.err.count("\n") == 1


def test_it_does_not_wait_for_a_job_that_can_never_end(queue: Queue) -> None:
    """The exit code is 125 at once, with the reason; the job is stored."""
    queue.enqueue("exit 1", "--id", "a")
    queue.run_as_if("dead")
    done = queue.run("enqueue", "--wait", "--id", "b", "--after", "a", "true")

    assert (done.code, done.out) == (125, "")
    assert done.err.splitlines()[-1] == (
        "queuectl enqueue: b can never finish: it waits for a, which is dead"
    )
    assert queue.state("b") == "blocked"


def test_a_job_does_not_wait_for_itself(queue: Queue) -> None:
    """If the caller holds the key, the exit code is 1 at once."""
    queue.enqueue(
        "queuectl enqueue --wait --unique k --if-dup join true 2> said; echo $? >> said",
        "--id", "me", "--unique", "k",
    )  # fmt: skip
    queue.drain()

    assert queue.text("said") == "queuectl enqueue: me cannot wait for itself\n1"


def test_ctrl_c_detaches_and_the_job_goes_on(served: Queue) -> None:
    """One line names wait and cancel; the process is ended by SIGINT itself."""
    waiting = served.spawn("enqueue", "-w", "--id", "d", "echo up; " + UNTIL_GO)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "up\n"
    waiting.send_signal(signal.SIGINT)
    err = waiting.communicate(timeout=30)[1]
    (served.work / "go").touch()

    assert waiting.returncode == -signal.SIGINT
    assert err == "d goes on: queuectl wait d, or queuectl cancel d\n"
    assert served.ok("wait", "d") == ""


def test_ctrl_c_on_a_terminal_names_the_job_by_its_number(served: Queue) -> None:
    """Regression: with the generated id, the line was too long, so it could not be copied."""
    command = "echo up; until [ -e seen ]; do sleep 0.02; done"
    ours, theirs = pty.openpty()
    try:
        waiting = served.spawn("enqueue", "-w", command, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        while b"up" not in shown:
            shown += os.read(ours, 65536)
        waiting.send_signal(signal.SIGINT)
        while not re.search(rb"cancel .*\n", shown):
            shown += os.read(ours, 65536)
    finally:
        os.close(ours)
    (served.work / "seen").touch()
    number = f"@{served.get('@last').seq}"

    assert waiting.wait(30) == -signal.SIGINT
    assert shown.decode().splitlines()[-1] == (
        f"{number} goes on: queuectl wait {number}, or queuectl cancel {number}"
    )
    assert served.ok("wait", number) == ""


def test_ctrl_c_stops_a_loop_around_it(served: Queue) -> None:
    """The shell sees that SIGINT killed its child, and stops."""
    until = "until [ -e interrupted ]; do sleep 0.02; done"
    loop = "for i in 1 2 3; do echo turn >> turns; queuectl enqueue -w --id l$i '{}'; done"
    bash = subprocess.Popen(
        ["bash", "-c", loop.format(until) + "; echo after >> turns"],
        env=served.env, cwd=served.work, start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: served.run("show", "l1").code == 0, what="the job")
    served.until("l1", "processing")
    os.killpg(bash.pid, signal.SIGINT)

    assert bash.wait(30) == -signal.SIGINT
    (served.work / "interrupted").touch()
    assert (served.work / "turns").read_text() == "turn\n"


def test_missing_workers_are_reported_once(queue: Queue) -> None:
    """Also if workers come and leave again before it sees the end of the job."""
    waiting = queue.spawn("enqueue", "--wait", "--id", "a", "echo done")
    wait_until(lambda: queue.run("show", "a").code == 0, what="the job")
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == "no worker is running (queuectl worker start)\n"
    queue.drain()
    out, err = waiting.communicate(timeout=30)

    assert (waiting.returncode, out, err) == (0, "done\n", "")


def test_it_waits_for_a_job_that_is_retried_just_then(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a completed job that was retried between two looks gave exit code 124."""
    queue.enqueue("true", "--id", "a")
    queue.run_as_if("completed")
    look = Storage.states_of
    looks = count()

    def looked(storage: Storage, seqs: Sequence[int]) -> dict[int, JobState]:
        found = look(storage, seqs)
        if next(looks) == 0:
            with queue.opened() as another:
                another.retry(another.get("a"), now=utcnow())
        elif found[seqs[0]] is JobState.PENDING:
            queue.run_as_if("dead", code=3)
        return found

    monkeypatch.setattr(Storage, "states_of", looked)

    assert queue.run("wait", "a").code == 3


def test_enqueue_wait_ends_by_sigpipe(queue: Queue) -> None:
    """In `enqueue --wait COMMAND | head` it is the output of the job that nobody reads."""
    queue.start()

    reader, writer = os.pipe()
    os.close(reader)
    process = queue.spawn("enqueue", "--wait", "echo x; sleep 60", stdout=writer)
    os.close(writer)
    err = process.communicate(timeout=60)[1]

    assert (process.returncode, err) == (-signal.SIGPIPE, "")
