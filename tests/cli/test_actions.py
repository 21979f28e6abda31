"""The commands `cancel`, `retry` and `edit`, and how they select jobs."""

from __future__ import annotations

import os
from typing import Any

import pytest

from queuectl.host import wakeup
from support.queue import Queue
from support.states import every_state
from support.terminal import on_terminal

_WAITING = ["blocked", "scheduled", "pending", "failed"]


@pytest.fixture
def states(queue: Queue) -> Queue:
    """A queue with one job in each state; its id is the name of the state."""
    every_state(queue)
    return queue


@pytest.mark.parametrize("state", _WAITING)
def test_cancel_ends_a_waiting_job_at_once(states: Queue, state: str) -> None:
    """The record of the job is kept, with the reason."""
    assert states.ok("cancel", "--reason", "wrong input", state) == f"{state} is cancelled"
    job = states.show(state)

    assert (job["state"], job["cancel_reason"], job["last_error"]) == (
        "cancelled", "wrong input", "cancelled: wrong input",
    )  # fmt: skip


def test_cancel_survives_a_worker_that_is_just_leaving(
    states: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: waking a worker that just left ended the command by SIGPIPE after one job."""

    def wake_too_late(_path: str) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"!")
        os.close(writer)

    os.mkfifo(os.path.join(states.files.workers, "leaves-1.bell"))
    monkeypatch.setattr(wakeup, "_wake", wake_too_late)

    assert states.ok("retry", "dead", "completed", "cancelled").count("\n") == 2


def test_cancelling_a_cancelled_job_succeeds(states: Queue) -> None:
    """The first reason is kept."""
    states.ok("cancel", "--reason", "first", "pending")

    assert states.ok("cancel", "-q", "--reason", "second", "pending") == ""
    assert states.show("pending")["cancel_reason"] == "first"


@pytest.mark.parametrize("state", ["completed", "dead"])
def test_a_finished_job_cannot_be_cancelled(states: Queue, state: str) -> None:
    """The exit code is 1, and the job is not changed."""
    assert states.fails(1, "cancel", state) == (
        f"queuectl cancel: cannot cancel {state}: it is {state}"
    )


@pytest.mark.parametrize("state", ["completed", "dead", "cancelled", "failed"])
def test_retry_makes_a_failed_or_finished_job_pending(states: Queue, state: str) -> None:
    """A failed job keeps the number of its attempts, a finished one starts at 0."""
    attempts = states.show(state)["attempts"]
    history = states.show(state)["executions"]

    assert states.ok("retry", state) == f"{state} is pending again"
    job = states.show(state)
    assert (job["state"], job["attempts"]) == ("pending", attempts if state == "failed" else 0)
    assert job["executions"] == history


@pytest.mark.parametrize("state", ["blocked", "scheduled", "pending", "processing"])
def test_a_waiting_or_running_job_cannot_be_retried(states: Queue, state: str) -> None:
    """The exit code is 1, and the message names the state."""
    assert states.fails(1, "retry", state) == (
        f"queuectl retry: cannot retry {state}: it is {state}"
    )


@pytest.mark.parametrize(
    ("args", "changed"),
    [
        (["cancel", "--all"], [*_WAITING, "processing"]),
        (["cancel", "--label", "a*"], []),
        (["retry", "--label", "a*", "--state", "completed"], ["completed"]),
        (["retry", "--label", "b*", "--state", "completed"], []),
        (["cancel", "--state", "pending"], ["pending"]),
        (["cancel", "--state", "pending,failed", "--state", "blocked"],
         ["pending", "failed", "blocked"]),
        (["cancel", "--state", "completed"], []),
        (["cancel", "--queue", "q"], []),
        (["cancel", "--queue", "default", "--state", "scheduled"], ["scheduled"]),
        (["retry", "--all"], ["failed", "dead"]),
        (["retry", "--state", "cancelled,completed"], ["cancelled", "completed"]),
        (["retry", "--queue", "q", "--state", "completed"], ["completed"]),
        (["retry", "--queue", "q"], []),
        (["cancel", "-"], ["pending", "failed"]),
    ],
)  # fmt: skip
def test_jobs_are_selected_by_queue_state_all_or_from_stdin(
    states: Queue, args: list[str], changed: list[str]
) -> None:
    """Only jobs that the command can act on are selected; to select none is a success."""
    out = states.ok(*args, stdin="pending failed\n" if args[-1] == "-" else "")

    assert sorted(line.split()[0] for line in out.splitlines()) == sorted(changed)


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_jobs_have_to_be_named_or_selected(states: Queue, verb: str) -> None:
    """To act on all jobs takes `--all`; without it the exit code is 2."""
    assert states.fails(2, verb) == (
        f"queuectl {verb}: no jobs given (give their ids, --queue, --state or --all)"
    )
    assert states.fails(2, verb, "dead", "--all").endswith(
        "job ids and --queue, --state or --all cannot be used together"
    )


@pytest.fixture
def chain(queue: Queue) -> Queue:
    """A queue with the jobs a, b that waits for a, c for b, d for the end of c, and another."""
    queue.add("true", id="a")
    queue.add("true", id="b", after=("a",))
    queue.add("true", id="c", after=("b",), queue="q")
    queue.add("true", id="d", after_any=("c",))
    queue.add("true", id="other")
    return queue


@pytest.mark.parametrize(
    ("words", "cancelled"),
    [
        ("a", "d c b a"),
        ("b", "d c b"),
        ("c a", "d c b a"),
        ("a other", "d c b a other"),
        ("--state pending", "d c b a other"),
        ("--queue q", "d c"),
        ("--all", "d c b a other"),
    ],
)
def test_cancel_with_all_that_waits(chain: Queue, words: str, cancelled: str) -> None:
    """Regression: nothing withdrew a job with the jobs that wait for it, which stayed blocked."""
    done = chain.ok("cancel", "--cascade", "--reason", "no", *words.split())
    left = [job for job in ["a", "b", "c", "d", "other"] if job not in cancelled.split()]

    assert done.splitlines() == [f"{job} is cancelled" for job in cancelled.split()]
    assert {chain.show(job)["cancel_reason"] for job in cancelled.split()} == {"no"}
    assert chain.ids("--state", "pending,blocked") == left


def test_cancel_with_all_that_waits_for_a_job_that_is_gone_or_has_ended(chain: Queue) -> None:
    """A line for each that cannot be cancelled; the others that wait are cancelled."""
    chain.run_as_if("dead")
    done = chain.run("cancel", "--cascade", "zz", "a")

    assert (done.code, done.out) == (1, "d is cancelled\nc is cancelled\nb is cancelled\n")
    assert done.err == (
        "queuectl cancel: no such job: zz\nqueuectl cancel: cannot cancel a: it is dead\n"
    )
    assert chain.ok("cancel", "--cascade", "b") == "b is cancelled"


def test_cancel_alone_leaves_what_waits(chain: Queue) -> None:
    """Without --cascade only the job itself is cancelled."""
    assert chain.ok("cancel", "a") == "a is cancelled"
    assert chain.ids("--state", "blocked") == ["b", "c", "d"]


def test_jobs_that_cannot_be_cancelled_do_not_stop_the_others(states: Queue) -> None:
    """There is one line for each job that cannot be cancelled, and the exit code is 1."""
    done = states.run("cancel", "pending", "zz", "dead", "failed")

    assert (done.code, done.out) == (1, "pending is cancelled\nfailed is cancelled\n")
    assert done.err.splitlines() == [
        "queuectl cancel: no such job: zz",
        "queuectl cancel: cannot cancel dead: it is dead",
    ]


@pytest.mark.parametrize("args", [["cancel"], ["queue", "pause"]])
@pytest.mark.parametrize("reason", [b"\xff", b"x" * 1025])
def test_a_reason_is_limited_and_must_be_utf_8(
    states: Queue, args: list[str], reason: bytes
) -> None:
    """Regression: bytes that are not UTF-8 ended in a traceback. The exit code is 2."""
    line = states.fails(2, *args, "--reason", reason, "pending")

    assert line.startswith(f"queuectl {' '.join(args)}: --reason ")
    assert states.state("pending") == "pending"


@pytest.mark.parametrize("state", _WAITING)
def test_a_waiting_job_is_edited(states: Queue, state: str) -> None:
    """The command or the settings that options name change; the rest stays."""
    before = states.show(state)
    out = states.ok("edit", "--priority", "4", state, "make", "a report")
    after = states.show(state)
    changed = {key for key in before if before[key] != after[key]}

    assert out == f"{state} is changed; it is {state}"
    assert changed == {"command", "priority", "updated_at"}
    assert (after["command"], after["priority"]) == ("make 'a report'", 4)


def test_the_help_of_edit_names_no_defaults(queue: Queue) -> None:
    """Regression: it named those of enqueue, but edit leaves settings without an option alone."""
    assert "(default: default)" in queue.ok("enqueue", "--help")
    assert "(default" not in queue.ok("edit", "--help")


def test_a_dead_job_is_edited_and_retried(states: Queue) -> None:
    """Regression: that was refused, so the id, the label and what waits for the job were lost."""
    assert states.ok("edit", "dead", "echo fixed") == (
        "dead is changed; it is dead: queuectl retry dead runs it"
    )
    assert states.fails(1, "edit", "--delay", "1h", "dead") == (
        "queuectl edit: cannot edit when dead starts: it is dead "
        "(give the option to queuectl retry)"
    )
    states.ok("retry", "dead")
    assert (states.show("dead")["command"], states.state("dead")) == ("echo fixed", "pending")


@pytest.mark.parametrize("command", [["retry"], ["dlq", "retry"]])
def test_a_retry_can_change_the_job(states: Queue, command: list[str]) -> None:
    """Regression: that took a pause of the queue, a loop with `edit`, and another command."""
    before = states.show("dead")
    settings = ["--timeout", "0", "--max-retries", "5", "--env", "A=b", "--priority", "3"]
    said = states.ok(*command, "dead", *settings, "--retry-delay", "9", "--command", "echo $A; ls")
    after = states.json("show", "--show-env", "dead")

    assert said == "dead is pending again"
    assert (after["command"], after["timeout"], after["max_retries"]) == ("echo $A; ls", 0, 5)
    assert (after["priority"], after["retry_delay"]) == (3, 9)
    assert after["env"]["A"] == "b"
    assert (after["queue"], after["label"]) == (before["queue"], before["label"])


def test_all_dead_jobs_are_retried_with_other_settings(states: Queue) -> None:
    """--queue and --label choose the jobs, also beside options that change them."""
    assert states.ok("dlq", "retry", "--all", "--timeout", "0") == "dead is pending again"
    assert states.ok("retry", "--label", "a*", "--state", "completed", "--delay", "1h") == (
        "completed is scheduled"
    )
    assert (states.show("dead")["timeout"], states.state("completed")) == (0, "scheduled")


def test_a_retry_can_wait_for_other_jobs(states: Queue) -> None:
    """It warns of one that will not complete by itself, as edit does."""
    done = states.run("retry", "completed", "--after", "dead")

    assert (done.code, done.out) == (0, "completed is blocked\n")
    assert done.err == (
        "completed waits for dead, which will not complete unless retried (queuectl retry)\n"
    )
    assert states.fails(2, "retry", "dead", "--after", "dead") == (
        "queuectl retry: dead waits for itself"
    )
    assert states.state("dead") == "dead"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--command", " "], "the command is empty"),
        (["--timeout", "soon"], "--timeout: …"),
        (["--delay", "5", "--at", "18:00"], "--delay and --at cannot be used together"),
        (["--retry-delay", "5", "--backoff", "2"], "--retry-delay and --backoff cannot be used …"),
        (["--cwd", "/none"], "--cwd is not a folder: /none"),
    ],
)
def test_wrong_changes_of_a_retry_are_refused(states: Queue, args: list[str], line: str) -> None:
    """The exit code is 2, and nothing changes."""
    before = states.show("dead")

    assert states.fails(2, "retry", "dead", *args).startswith(f"queuectl retry: {line.rstrip('…')}")
    assert states.show("dead") == before


@pytest.mark.parametrize("state", ["processing", "completed", "cancelled"])
def test_a_running_completed_or_cancelled_job_cannot_be_edited(states: Queue, state: str) -> None:
    """The exit code is 1, and nothing changes. For a finished job it says what to do instead."""
    before = states.show(state)
    hint = f" (queuectl retry {state} takes the options of edit, and runs it again)"

    assert states.fails(1, "edit", state, "true") == (
        f"queuectl edit: cannot edit {state}: it is {state}{hint if state != 'processing' else ''}"
    )
    assert states.show(state) == before


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["a", "--priority", "5"], ("old", 5)),
        (["--priority", "5", "a"], ("old", 5)),
        (["--priority", "5", "a", "--label", "x", "ls -l"], ("ls -l", 5)),
        (["a", "ls", "-l", "--colour", "5"], ("ls -l --colour 5", 0)),
        (["a", "--", "ls", "-l", "--priority", "5"], ("ls -l --priority 5", 0)),
        (["a", "--", "{ ls; }"], ("{ ls; }", 0)),
        (["a", "--priority", "5", "--", "--odd", "-x"], ("--odd -x", 5)),
        (["a", "--", "ls -l | wc"], ("ls -l | wc", 0)),
        (["--", "a", "ls"], ("ls", 0)),
        (["a", "FOO=b c", "env"], ("'FOO=b c' env", 0)),
    ],
)
def test_options_of_edit_may_come_before_or_after_the_id(
    queue: Queue, args: list[str], expected: Any
) -> None:
    """Everything after the first word of the command belongs to the command."""
    queue.enqueue("old", "--id", "a")
    queue.ok("edit", *args)
    job = queue.show("a")

    assert (job["command"].replace("FOO='b c'", "'FOO=b c'"), job["priority"]) == expected


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["a"], "nothing to change (give a command or an option)"),
        (["a", " "], "the command is empty"),
        (["a", "--queue", "x y"], "--queue must be printable, without white space, comma or slash"),
        (["a", "--delay", "5", "--at", "18:00"], "--delay and --at cannot be used together"),
        (["a", "--timeout", "\u00b2"], "--timeout must be a number of seconds …"),
        (["a", "--cwd", "/none"], "--cwd is not a folder: /none"),
        (["a", "--id", "b"], "no such option…"),
        (["a", "b", "--priority", "3"], "--priority goes before the command (put -- before …"),
        (["a", "b", "--queue=q"], "--queue goes before the command (put -- before the command …"),
        (["a", "ls -l", "-x"], "options go before the command (or quote the whole command as …"),
        (["a", '{"command":"echo j","priority":5}'], "edit takes no json object: use options …"),
    ],
)
def test_a_wrong_edit_is_refused(queue: Queue, args: list[str], line: str) -> None:
    """The exit code is 2, and nothing changes."""
    queue.enqueue("old", "--id", "a")
    before = queue.show("a")
    said = queue.fails(2, "edit", *args).lower()

    assert said.startswith("queuectl edit: " + line.rstrip("…"))
    assert queue.show("a") == before


def test_edit_changes_the_time_the_queue_and_variables(queue: Queue) -> None:
    """A later time makes a job scheduled, no delay makes it pending; variables are added."""
    queue.enqueue("true", "--id", "a", "--env", "A=1", "--env", "B=2")

    assert queue.ok("edit", "a", "--delay", "1h", "--queue", "q", "--env", "B=3") == (
        "a is changed; it is scheduled"
    )
    assert queue.ok("edit", "a", "--delay", "0") == "a is changed; it is pending"
    job = queue.json("show", "a", "--show-env")
    assert (job["queue"], job["env"]["A"], job["env"]["B"]) == ("q", "1", "3")


def test_edit_changes_when_a_job_is_retried(queue: Queue) -> None:
    """A delay replaces a base and the other way round; '' stands for the configuration."""
    queue.enqueue("true", "--id", "a", "--retry-delay", "1h")

    def edited(*options: str) -> tuple[float | None, float | None]:
        queue.ok("edit", "-q", *options, "a")
        job = queue.get("a")
        return job.retry_delay, job.backoff

    assert edited("--priority", "1") == (3600.0, None)
    assert edited("--backoff", "60") == (None, 60.0)
    assert edited("--retry-delay", "2m") == (120.0, None)
    assert edited("--retry-delay", "") == (None, None)
    assert edited("--backoff", "3") == (None, 3.0)
    assert edited("--backoff", "") == (None, None)


def test_edit_changes_the_shell(queue: Queue) -> None:
    """Of a job that waits; `show` names it unless it is the usual one."""
    queue.enqueue("true", "--id", "a", "--shell", "/bin/zsh")
    assert "Shell:    /bin/zsh\n" in queue.run("show", "a").out

    queue.ok("edit", "a", "--shell", "/bin/bash")
    assert queue.show("a")["shell"] == "/bin/bash"


def test_edit_changes_what_a_job_waits_for(chain: Queue) -> None:
    """Regression: nothing could change that. '' stands for no job; a dead one is warned of."""
    chain.run_as_if("dead")

    assert chain.ok("edit", "--after", "other", "--after-any", "c,a", "d") == (
        "d is changed; it is blocked"
    )
    assert (chain.show("d")["after"], chain.show("d")["after_any"]) == (["other"], ["c"])
    assert chain.ok("edit", "--after", "", "--after-any", "", "d") == "d is changed; it is pending"
    assert (chain.show("d")["after"], chain.show("d")["after_any"]) == ([], [])
    done = chain.run("edit", "d", "--after", "a", "--after", "other")
    assert done.out == "d is changed; it is blocked\n"
    assert done.err == "d waits for a, which will not complete unless retried (queuectl retry)\n"


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("--after d a", 2, "the dependencies form a cycle through a"),
        ("--after a a", 2, "a waits for itself"),
        ("--after zz a", 1, "no such job: zz"),
        ("--after b, a", 2, "--after is empty"),
        ("--after-any x/y a", 2, "--after-any must be printable, without white space, comma …"),
    ],
)
def test_a_job_cannot_wait_for_anything(chain: Queue, words: str, code: int, line: str) -> None:
    """What cannot be is refused, and nothing changes."""
    said = chain.fails(code, "edit", *words.split())

    assert said.startswith("queuectl edit: " + line.rstrip("…"))
    assert chain.ids("--state", "pending") == ["a", "other"]


def test_edit_cannot_allow_fewer_attempts_than_there_were(states: Queue) -> None:
    """A job has at most max-retries attempts; the message says how many it has had."""
    assert states.fails(1, "edit", "failed", "--max-retries", "1") == (
        "queuectl edit: cannot edit failed: it has had 1 attempt already (allow more)"
    )
    states.ok("edit", "-q", "failed", "--max-retries", "2")
    assert states.show("failed")["max_retries"] == 2


def test_each_job_of_a_batch_is_done_or_refused_by_itself(queue: Queue) -> None:
    """Some hundred jobs share a transaction; a refused one changes none of the others."""
    ids = queue.add_many(*["true"] * 1200)
    queue.run_as_if("completed")
    done, *others = ids
    given = [*others[:700], done, "nobody", *others[700:]]
    result = queue.run("cancel", "-", stdin="\n".join(given))

    assert (result.code, result.out.count("is cancelled")) == (1, 1199)
    assert result.err.splitlines() == [
        f"queuectl cancel: cannot cancel {done}: it is completed",
        "queuectl cancel: no such job: nobody",
    ]
    assert queue.counts()["cancelled"] == 1199


def test_a_terminal_calls_jobs_by_number(queue: Queue) -> None:
    """As lists do, in errors as well; an id that a person gave stays. Elsewhere there are ids."""
    queue.run("enqueue", "true")
    queue.enqueue("true", "--id", "mine")
    queue.enqueue("true", "--id", "next", "--after", "@1")

    def say(*words: str) -> str:
        return on_terminal(queue, *words, streams="stdout stderr").screen

    assert say("cancel", "@1", "mine").splitlines() == ["@1 is cancelled", "mine is cancelled"]
    assert say("cancel", "@1").splitlines() == ["@1 is cancelled"]
    assert say("dlq", "retry", "@1").startswith("queuectl dlq retry: cannot retry @1: it is canc")
    assert "Waits for: @1 (cancelled, must complete)" in say("show", "next")
    assert "Needed by:  next" in say("show", "@1")


def test_stdin_is_read_for_one_thing_only(queue: Queue) -> None:
    """Ids and an input cannot both come from it."""
    queue.enqueue("true", "--id", "a")

    assert queue.fails(2, "retry", "-", "--input", "-", stdin="a\n") == (
        "queuectl retry: stdin is read for the ids already (--input needs a file)"
    )
