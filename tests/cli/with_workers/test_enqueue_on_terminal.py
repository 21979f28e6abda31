"""What `enqueue` says to a person: what was stored, when it runs, and why nothing would run."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import timedelta
from typing import Any

import pytest

from queuectl.cli.commands.enqueue import enqueue
from queuectl.cli.commands.enqueue_notes import swallowed_options
from queuectl.core.times import utcnow
from support.queue import Queue
from support.terminal import on_terminal

_NO_WORKER = "no worker is running (queuectl worker start)\n"
_QUEUED = "queued in default; timeout 5m; up to 3 attempts\n"


def _shown(queue: Queue, *args: str, piped: bytes = b"", **kwargs: Any) -> str:
    """Return what `enqueue ARGS` shows on a terminal of 80 columns; its ids are not shown there.

    Its stdin is a pipe with the bytes `piped`.
    """
    reader, writer = os.pipe()
    os.write(writer, piped)
    os.close(writer)
    words = ("enqueue", *args)
    try:
        done = on_terminal(queue, *words, streams="stderr", size=(80, 24), stdin=reader, **kwargs)
    finally:
        os.close(reader)
    assert done.code == 0, done
    assert all(len(line) <= 80 for line in done.screen.splitlines())
    return done.screen


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ([], "@1 queued in default; timeout 5m; up to 3 attempts\n"),
        (
            ["--queue", "q", "--timeout", "0", "--max-retries", "1"],
            "@1 queued in q; no timeout; up to 1 attempt\n",
        ),
        (
            ["--timeout", "1h30m", "--max-retries", "2"],
            "@1 queued in default; timeout 1h30m; up to 2 attempts\n",
        ),
    ],
)
def test_one_job(queue: Queue, options: list[str], first: str) -> None:
    """stdout has only the id; stderr names queue, timeout, attempts and missing workers."""
    done = on_terminal(
        queue, "enqueue", "--id", "mine", *options, "true", streams="stderr", size=(80, 24)
    )

    assert (done.code, done.out, done.screen) == (0, "mine\n", first + _NO_WORKER)
    assert queue.run("enqueue", "true").err == ""
    assert _shown(queue, "-q", "true") == ""


def test_one_line_if_there_is_room(queue: Queue) -> None:
    """The parts are on one line in a wide terminal, and each on its own in a narrow one."""
    wide = on_terminal(queue, "enqueue", "true", streams="stderr", size=(120, 40))
    queue.ok("cancel", "--all")
    narrow = on_terminal(queue, "enqueue", "true", streams="stderr", size=(30, 20))

    assert wide.screen == f"@1 {_QUEUED[:-1]}; {_NO_WORKER}"
    assert narrow.screen == ("@2 queued in default\ntimeout 5m; up to 3 attempts\n" + _NO_WORKER)


def test_workers_are_mentioned_only_if_none_serves_the_queue(queue: Queue) -> None:
    """A worker that serves another queue would not run the job."""
    queue.start("--queue", "served")

    assert _shown(queue, "--queue", "served", "true") == (
        "@1 queued in served; timeout 5m; up to 3 attempts\n"
    )
    assert _shown(queue, "--queue", "other", "true") == (
        "@2 queued in other; timeout 5m; up to 3 attempts\n"
        "no worker serves other (queuectl worker start --queue other)\n"
    )


def test_a_loop_of_calls_says_once_that_no_worker_is_running(queue: Queue) -> None:
    """A later call says it again if something has changed: a job has run, or time has passed."""
    shown = [_shown(queue, "true") for _ in range(3)]
    assert shown == [f"@1 {_QUEUED}{_NO_WORKER}", f"@2 {_QUEUED}", f"@3 {_QUEUED}"]

    queue.drain("-q")
    assert _shown(queue, "true") == f"@4 {_QUEUED}{_NO_WORKER}"
    assert _shown(queue, "--queue", "q", "true").endswith(_NO_WORKER)


def test_after_a_minute_it_is_said_again(queue: Queue) -> None:
    """A person who comes back next morning is told."""
    queue.add("true")
    long_ago = (utcnow() - timedelta(seconds=61)).isoformat().replace("+00:00", "Z")
    with queue.opened() as storage:
        storage._database.connection.execute("UPDATE jobs SET created_at = ?", (long_ago,))
        storage._database.connection.commit()

    assert _shown(queue, "true") == f"@2 {_QUEUED}{_NO_WORKER}"


def test_a_pause_is_said_once_as_well(queue: Queue) -> None:
    """Also a pause that comes between two calls of a loop."""
    queue.ok("queue", "pause", "default")
    pause = "default is paused (queuectl queue resume default)\n"
    assert _shown(queue, "true") == f"@1 {_QUEUED}{pause}{_NO_WORKER}"
    assert _shown(queue, "true") == f"@2 {_QUEUED}"

    queue.ok("queue", "pause")
    every = "all queues are paused (queuectl queue resume)\n"
    assert _shown(queue, "true") == f"@3 {_QUEUED}{every}"


def test_a_time_is_said_with_its_date(queue: Queue) -> None:
    """In local time, and how long it takes until then."""
    at = "2099-12-31T23:59"
    shown = _shown(queue, "--at", at, "true", env={"TZ": "America/New_York"})

    assert shown.splitlines()[1].startswith("starts at 2099-12-31 23:59:00 (in ")


def test_dependencies_are_named(queue: Queue) -> None:
    """The first three by their numbers."""
    ids = queue.add_many(*["true"] * 5)

    assert _shown(queue, "--after", ids[0], "true") == f"@6 {_QUEUED[:-1]}; waits for @1\n"
    assert _shown(queue, "--after", ",".join(ids), "true").endswith(
        "\nwaits for @1, @2, @3 and others\n"
    )


def test_many_jobs_are_summed_up(queue: Queue) -> None:
    """One summary per call: how many, the timeout, the attempts, and missing workers."""
    lines = b"true\ntrue\n"
    shown = _shown(queue, "--lines", "--timeout", "2h", "-", piped=lines)

    assert shown == (
        "2 jobs queued in default (@1 to @2); timeout 2h each; up to 3 attempts\n" + _NO_WORKER
    )
    assert _shown(queue, "true", ":::", "a", "b") == (
        "2 jobs queued in default (@3 to @4); timeout 5m each; up to 3 attempts\n"
    )
    assert _shown(queue, "--lines", "-q", "-", piped=lines) == ""


def test_no_jobs_at_all(queue: Queue) -> None:
    """A pattern or a file that turns out to be empty is not passed over in silence."""
    assert _shown(queue, "true", ":::") == "no jobs were given: nothing is queued\n"
    assert _shown(queue, "--lines", "-", piped=b"# none\n") == (
        "no jobs were given: nothing is queued\n"
    )
    assert _shown(queue, "-q", "true", ":::") == ""


def test_many_jobs_that_differ(queue: Queue) -> None:
    """The summary says in which ways they differ."""
    jobs = b"""
        {"command": "a", "queue": "x", "timeout": 1, "unique_key": "k"}
        {"command": "b", "queue": "y", "max_retries": 1, "delay": "2h"}
        {"command": "c", "queue": "y", "id": "c", "after": ["d"]}
        {"command": "d", "queue": "y", "id": "d"}
        {"command": "e", "queue": "y", "unique_key": "k"}
    """
    shown = _shown(queue, "-", piped=jobs)

    assert re.sub(r"first at .* \(in .*\)", "first at TIME", shown) == (
        "4 jobs queued in 2 queues (@1 to @4); different timeouts; 1 to 3 attempts\n"
        "1 had an unfinished job with their key\n"
        "1 of them starts later, the first at TIME\n"
        "1 of them waits for other jobs; no worker is running (queuectl worker start)\n"
    )


def test_a_job_that_is_there_already(queue: Queue) -> None:
    """The line says what became of it."""
    job = queue.enqueue("true", "--unique", "k")

    assert _shown(queue, "--unique", "k", "true") == (
        f"an unfinished job has this key: {job} was left as it is\n"
    )
    assert _shown(queue, "--unique", "k", "--if-dup", "replace", "true") == (
        f"an unfinished job has this key: {job} was given this command\n"
    )


def test_options_after_the_command_are_pointed_out(queue: Queue) -> None:
    """Regression: `enqueue make --queue builds` said nothing. The job is stored as typed."""
    shown = _shown(queue, "make", "--queue", "builds")

    assert shown.splitlines()[-1] == (
        "note: --queue builds is part of the command; options of enqueue go before it"
    )
    assert queue.jobs()[0].command == "make --queue builds"
    assert "note:" not in _shown(queue, "--", "make", "--queue", "builds")
    assert queue.run("enqueue", "make", "--queue", "builds").err == ""


def test_they_are_pointed_out_in_batches_and_before_a_wait(queue: Queue) -> None:
    """Before or after `:::`, they become part of each command, or jobs of their own."""
    note = "note: --queue x is part of the command; options of enqueue go before it"
    queue.start()

    assert note in _shown(queue, "true", "--queue", "x", ":::", "a")
    assert note in _shown(queue, "true", ":::", "a", "--queue", "x")
    assert note in _shown(queue, "--wait", "true", "--queue", "x")
    assert note not in _shown(queue, "-q", "true", ":::", "a", "--queue", "x")


@pytest.mark.parametrize(
    ("words", "swallowed"),
    [
        ("make --queue builds", "--queue builds"),
        ("make --queue=builds", "--queue=builds"),
        ("false --max-retries 1 --timeout 2h", "--max-retries 1 --timeout 2h"),
        ("make all --wait", "--wait"),
        ("make --env A=b", "--env A=b"),
        ("make --at 18:00", "--at 18:00"),
        ("rsync --timeout 30 a b", ""),
        ("curl --output page url", ""),
        ("curl url --output page", ""),
        ("tail --lines 3", ""),
        ("apt-get update --quiet", ""),
        ("make --max-retries many", ""),
        ("make --timeout soon", ""),
        ("make --queue", ""),
        ("make --queue -j", ""),
        ("make --colour red", ""),
        ("grep -q --queue file -w", ""),
        ("make", ""),
    ],
)
def test_only_what_enqueue_would_take_is_pointed_out(words: str, swallowed: str) -> None:
    """A note is for words at the end that are options of `enqueue`, with values of their form."""
    assert " ".join(swallowed_options(enqueue, words.split())) == swallowed


def test_many_arguments_are_looked_at_in_no_time() -> None:
    """Regression: `enqueue true ::: $(seq 60000)` took 10 s more on a terminal than elsewhere."""
    assert swallowed_options(enqueue, ["true", ":::", *["1"] * 500_000, "--queue", "q"]) == [
        "--queue", "q",
    ]  # fmt: skip


_NOT_READ = "note: stdin is not read (--input - stores it, :::: - makes a job per line)\n"


@pytest.mark.skipif(not os.path.exists("/proc/self/fd/0"), reason="known from /proc only")
@pytest.mark.parametrize(("given", "is_said"), [(b"data\n", True), (b"", False)])
def test_data_on_stdin_that_is_not_read(queue: Queue, given: bytes, is_said: bool) -> None:
    """Regression: `echo data | queuectl enqueue sort` silently dropped the data."""
    assert _shown(queue, "sort", piped=given).endswith(_NOT_READ) is is_said


def test_the_stdin_of_a_loop_is_not_meant_for_us(queue: Queue) -> None:
    """In `ls | while read name; do queuectl enqueue …; done` it holds the next names."""
    loop = "printf 'a\\nb\\nc\\n' | while read name; do queuectl enqueue echo $name; done"
    env = {**queue.env, "COLUMNS": "80"}
    script = queue.work / "loop"
    script.write_text(loop)
    shown = subprocess.run(
        ["script", "-qec", f"sh {script}", "/dev/null"],
        env=env, cwd=queue.work, stdin=subprocess.DEVNULL, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip

    assert queue.counts() == {"pending": 3}
    assert shown.count("queued in default") == 3
    assert "note:" not in shown


@pytest.mark.parametrize(
    ("args", "what"), [(["-"], "JSON object"), (["--lines", "-"], "shell command")]
)
def test_reading_from_a_terminal_is_announced(queue: Queue, args: list[str], what: str) -> None:
    """Regression: `enqueue -` on a terminal waited in silence."""
    done = on_terminal(queue, "enqueue", *args, streams="stdin stderr", typed="\x04", size=(80, 24))

    assert done.code == 0
    assert done.screen.replace("^D\b\b", "") == (
        f"reading one {what} per line; Ctrl+D ends the input\n"
        "no jobs were given: nothing is queued\n"
    )


def test_plain_lines_point_to_the_option_for_them(queue: Queue) -> None:
    """Off a terminal as well."""
    assert queue.fails(2, "enqueue", "-", stdin="echo hi\n") == (
        "queuectl enqueue: line 1: not a JSON object (use --lines if each line is a shell command)"
    )
    assert queue.fails(2, "import", "-", stdin="echo hi\n").endswith("(char 0)")
