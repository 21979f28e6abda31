"""`show`: jobs and their attempts; and which job is meant without an argument."""

from __future__ import annotations

import json
import re

import pytest

from queuectl.core.models import Outcome, OutcomeKind, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from support.clock import noon
from support.queue import Queue
from support.screens import SIZES, compare, widest
from support.states import every_state
from support.terminal import on_terminal

_COMPLETED = """\
ID:       completed
Number:   @1
Label:    a label
Command:  run completed
State:    completed
Queue:    q
Priority: 7
Attempts: 1 of 3
Timeout:  5m per attempt
Enqueued: 2026-01-31 12:00:00
Finished: 2026-01-31 12:00:11
Folder:   /tmp
Env:      TOKEN=***

RUN  STARTED              OUTCOME    TIME     CPU  MEMORY  OUTPUT  WORKER
1    2026-01-31 12:00:10  ok       0.25 s  0.01 s  10 MiB     3 B  5a5a5a5a-1

Output: queuectl logs completed
"""

_PROCESSING = """\
ID:       processing
Number:   @4
Command:  run processing
State:    processing
Queue:    default
Priority: 0
Attempts: 1 of 3
Timeout:  5m per attempt
Enqueued: 2026-01-31 12:00:03
Started:  2026-01-31 12:00:40
Worker:   5a5a5a5a-2
Folder:   /tmp

RUN  STARTED              OUTCOME  TIME  CPU  MEMORY  OUTPUT  WORKER
1    2026-01-31 12:00:40  running     -    -       -       -  5a5a5a5a-2

Output: queuectl logs --follow processing
"""

_DEAD = """\
ID:         dead
Number:     @3
Command:    run dead
State:      dead
Queue:      default
Priority:   0
Attempts:   1 of 1
Timeout:    5m per attempt
Enqueued:   2026-01-31 12:00:02
Finished:   2026-01-31 12:00:31
Folder:     /tmp
Last error: killed by SIGKILL

RUN  STARTED              OUTCOME      TIME  CPU  MEMORY  OUTPUT  WORKER
1    2026-01-31 12:00:30  signal KILL   3 s    -       -     0 B  5a5a5a5a-1
"""

_SCHEDULED = """\
ID:         scheduled
Number:     @6
Command:    run scheduled
State:      scheduled
Queue:      default
Priority:   0
Attempts:   0 of 3
Timeout:    5m per attempt
Enqueued:   2026-01-31 12:00:05
Not before: 2057-10-09 13:46:40
Folder:     /tmp
"""


@pytest.mark.parametrize(
    ("job", "text"),
    [
        ("completed", _COMPLETED),
        ("processing", _PROCESSING),
        ("dead", _DEAD),
        ("scheduled", _SCHEDULED),
    ],
)
def test_a_job_as_text(queue: Queue, job: str, text: str) -> None:
    """One line per field of the job, then a table of its attempts."""
    every_state(queue)

    assert queue.run("show", job) == (0, text, "")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("job", ["completed", "dead", "processing"])
def test_a_job_on_a_terminal(queue: Queue, job: str, size: tuple[int, int]) -> None:
    """Times are shown with their distance; the worker of each attempt only where there is room."""
    every_state(queue)

    shown = on_terminal(queue, "show", job, size=size)

    assert (shown.code, shown.err) == (0, "")
    assert widest(shown.screen) <= size[0]
    compare(re.sub(r"\(\d+ \w+ ago\)", "(3 min ago)", shown.screen), f"show-{job}", size)


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome(OutcomeKind.EXIT, exit_code=3, reason="exit 3"), None),
        (
            Outcome(OutcomeKind.EXIT, exit_code=127, reason="exit 127"),
            "Last error: exit 127 (command not found, see PATH)",
        ),
        (
            Outcome(OutcomeKind.EXIT, exit_code=126, reason="exit 126"),
            "Last error: exit 126 (it cannot be executed)",
        ),
        (Outcome(OutcomeKind.SIGNAL, signal=9, reason="killed by signal 9 (KILL)"), None),
        (
            Outcome(OutcomeKind.TIMEOUT, signal=15, reason="killed after 5m by its timeout"),
            "Last error: killed after 5m by its timeout",
        ),
    ],
)
def test_the_last_error_is_shown_if_it_says_more_than_the_table(
    queue: Queue, outcome: Outcome, line: str | None
) -> None:
    """Prevents a bug: `show` printed `exit 3` twice, in a line of its own and in the table."""
    queue.add("x", id="a")
    with queue.opened() as storage:
        claim = storage.claim("w-1", now=noon(0))
        assert claim is not None
        storage.record(claim, outcome, Verdict(JobState.DEAD, None, outcome.reason), now=noon(1))

    found = [text for text in queue.ok("show", "a").splitlines() if text.startswith("Last error")]

    assert found == ([] if line is None else [line])


def test_every_state_can_be_shown(queue: Queue) -> None:
    """A job can be shown in each of the eight states."""
    every_state(queue)

    for state in queue.run("list", "--ids").out.split():
        called = queue.run("show", state)
        assert (called.code, called.err) == (0, "")
        assert (
            f"\nState:{'':{called.out.index('run') - called.out.index('Command:') - 6}}{state}\n"
            in (called.out)
        )


def test_a_job_and_its_attempts_as_json(queue: Queue) -> None:
    """An attempt has the keys that programs rely on; its output is given as a size."""
    every_state(queue)

    shown = json.loads(queue.run("show", "completed", "--json").out)

    [attempt] = shown.pop("executions")
    [listed] = json.loads(queue.run("list", "--queue", "q", "--json").out)
    assert shown == {**listed, "after": [], "after_any": [], "needed_by": []}
    expected = {
        "attempt": 1, "worker": "5a5a5a5a-1", "pid": 9,
        "started_at": "2026-01-31T12:00:10.000000Z", "finished_at": "2026-01-31T12:00:11.000000Z",
        "outcome": "ok", "exit_code": 0, "signal": None, "seconds": 0.25, "cpu_seconds": 0.01,
        "max_rss_bytes": 10485760, "output_bytes": 3, "output_truncated": False,
    }  # fmt: skip
    assert isinstance(attempt["id"], int)
    assert {key: attempt[key] for key in expected} == expected


def test_a_running_attempt_as_json(queue: Queue) -> None:
    """Facts that are not known before the end of an attempt are null."""
    every_state(queue)

    [attempt] = json.loads(queue.run("show", "processing", "--json").out)["executions"]

    unknown = ["finished_at", "outcome", "exit_code", "signal", "seconds", "cpu_seconds",
               "max_rss_bytes"]  # fmt: skip
    assert {key: attempt[key] for key in unknown} == dict.fromkeys(unknown)


def test_a_job_that_never_ran_as_json(queue: Queue) -> None:
    """The array of attempts is empty."""
    every_state(queue)

    assert json.loads(queue.run("show", "pending", "--json").out)["executions"] == []


def test_a_cancelled_job_shows_the_reason(queue: Queue) -> None:
    """The reason that `cancel --reason` gave is stored and shown."""
    every_state(queue)
    queue.run("cancel", "--reason", "wrong\ninput", "pending")

    assert "\nCancel reason: wrong\\ninput\n" in queue.run("show", "pending").out
    assert json.loads(queue.run("show", "pending", "--json").out)["cancel_reason"] == "wrong\ninput"


def test_a_blocked_job_shows_what_it_waits_for(queue: Queue) -> None:
    """It shows those jobs with their states, and whether each must complete or only finish."""
    every_state(queue)
    queue.run("enqueue", "--id", "b", "--after", "pending,dead", "--after-any", "scheduled", "true")

    shown = json.loads(queue.run("show", "b", "--json").out)

    assert (
        "\nWaits for: dead (dead, must complete), pending (pending, must complete), "
        "scheduled (scheduled, must finish)\n"
    ) in queue.run("show", "b").out
    assert (shown["after"], shown["after_any"]) == (["dead", "pending"], ["scheduled"])


def test_a_job_shows_what_waits_for_it(queue: Queue) -> None:
    """JSON has the ids of all jobs that wait for it; the text names the first ten."""
    every_state(queue)
    for number in range(12):
        queue.run("enqueue", "--id", f"b{number}", "--after", "scheduled", "true")

    text = queue.run("show", "scheduled").out
    shown = json.loads(queue.run("show", "scheduled", "--json").out)

    assert text.endswith("\nNeeded by:  b0, b1, b2, b3, b4, b5, b6, b7, b8, b9 and 2 more\n")
    assert shown["needed_by"] == [f"b{number}" for number in range(12)]


def test_attempts_are_listed_oldest_first(queue: Queue) -> None:
    """Every attempt of a job is kept, in order, with its own result."""
    queue.ok("config", "set", "backoff-max", "0")
    job = queue.enqueue("exit $QUEUECTL_ATTEMPT", "--max-retries", "3")
    queue.drain(workers=1)

    attempts = queue.show(job)["executions"]

    assert [(run["attempt"], run["outcome"], run["exit_code"]) for run in attempts] == [
        (1, "exit", 1),
        (2, "exit", 2),
        (3, "exit", 3),
    ]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--retry-delay", "90"], "Retries:    1m30s after each failure\n"),
        (["--backoff", "1.5"], "Retries:    1.5**n seconds after failure n\n"),
    ],
)
def test_a_job_shows_when_it_is_retried(queue: Queue, options: list[str], line: str) -> None:
    """Only if that is not as configured; JSON always has both keys."""
    job = queue.enqueue("true", *options, "--unique", "k")

    assert line in queue.run("show", job).out
    shown = queue.show(job)
    assert [shown["retry_delay"], shown["backoff"]].count(None) == 1


def test_path_is_not_masked(queue: Queue) -> None:
    """Prevents a bug: it was masked just where a command was not found."""
    queue.configure(capture_env="PATH")
    job = queue.enqueue("true", "--env", "PATH=/opt/bin:/bin", "--env", "TOKEN=secret")

    assert "\nEnv:      PATH=/opt/bin:/bin TOKEN=***\n" in queue.run("show", job).out
    assert queue.json("show", job)["env"] == {"PATH": "/opt/bin:/bin", "TOKEN": "***"}


def test_many_variables_are_broken_into_lines_on_a_terminal(queue: Queue) -> None:
    """Between them; elsewhere they stay on one line, for grep."""
    queue.configure(capture_env="PATH")
    given = [part for n in range(20) for part in ("--env", f"VARIABLE_{n}=x")]
    job = queue.enqueue("true", "--env", "PATH=/bin", *given)

    shown = on_terminal(queue, "show", job, size=(80, 24)).screen
    lines = shown[shown.index("Env:") :].splitlines()

    assert lines[0] == "Env:      PATH=/bin VARIABLE_0=*** VARIABLE_1=*** VARIABLE_10=***"
    assert lines[1].startswith("          VARIABLE_11=*** ")
    assert widest("\n".join(lines)) <= 80
    assert queue.ok("show", job).count("=***") == 20
    assert "VARIABLE_0=*** VARIABLE_1=***" in queue.ok("show", job).splitlines()[-1]


def test_env_is_masked(queue: Queue) -> None:
    """The values of variables may be secret, so they are printed only with --show-env."""
    every_state(queue)

    assert "Env:      TOKEN=***\n" in queue.run("show", "completed").out
    assert "Env:      TOKEN=secret\n" in queue.run("show", "completed", "--show-env").out
    assert json.loads(queue.run("show", "completed", "--json").out)["env"] == {"TOKEN": "***"}
    assert json.loads(queue.run("show", "completed", "--json", "--show-env").out)["env"] == {
        "TOKEN": "secret"
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("job-1", "job-1"),
        ("job-10", "job-10"),
        ("abcd", "abcd"),
        ("job-", None),
        ("abc", None),
        ("abcde", None),
        ("JOB-1", None),
        ("job-1 ", None),
        ("%", None),
        ("", None),
    ],
)
def test_ids_given_by_users_cannot_be_abbreviated(queue: Queue, name: str, found: str) -> None:
    """An id that a user chose must be given in full, so that job-1 never means job-10."""
    with queue.opened() as storage:
        for job in ("job-1", "job-10", "abcd", "abcdef012345"):
            storage.enqueue([JobSpec(command="true", id=job)], now=noon(0))

    called = queue.run("show", name)

    if found is None:
        assert (called.code, called.out) == (1, "")
    else:
        assert called.out.splitlines()[0] == f"ID:       {found}"


@pytest.mark.parametrize("length", [4, 8, 11, 12])
def test_a_generated_id_can_be_abbreviated(queue: Queue, length: int) -> None:
    """The first 4 to 11 digits of a generated id are enough if no other one begins so."""
    job = queue.enqueue("true")
    short = job[:3]
    hint = f" (a number is written @{short})" if short.isdecimal() else ""

    assert queue.run("show", job[:length]).out.splitlines()[0] == f"ID:       {job}"
    assert queue.run("show", short) == (1, "", f"queuectl show: no such job: {short}{hint}\n")


class TestWithoutAJob:
    """On a terminal a command without a job means the job that was enqueued last."""

    def test_show_means_the_job_enqueued_last(self, queue: Queue) -> None:
        """`show` shows it even if other jobs ran later."""
        every_state(queue)

        shown = on_terminal(queue, "show")

        assert (shown.code, shown.err) == (0, "")
        assert shown.screen.startswith("ID:         cancelled\n")

    @pytest.mark.parametrize("verb", ["show", "logs", "why"])
    def test_an_empty_queue(self, queue: Queue, verb: str) -> None:
        """Without any job the command fails."""
        with queue.opened():
            pass

        shown = on_terminal(queue, verb)

        assert (shown.code, shown.screen) == (1, "")
        assert shown.err == f"queuectl {verb}: there are no jobs yet\n"

    @pytest.mark.parametrize("verb", ["show", "logs", "why"])
    def test_a_script_must_name_a_job(self, queue: Queue, verb: str) -> None:
        """In a script the last job may be somebody else's, so a job must be named."""
        queue.enqueue("true")

        assert queue.fails(2, verb) == f"queuectl {verb}: no job given (give its id)"
