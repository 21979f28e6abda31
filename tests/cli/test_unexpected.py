"""Errors that no code expected: one line, an exit code that means nothing else, no traceback."""

from __future__ import annotations

import pytest

from queuectl.storage import Storage
from support.calls import Called
from support.queue import Queue
from support.rows import sql

_BIG = "9" * 20
"""More than SQLite can hold."""


@pytest.fixture
def broken(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A queue with the job `here`, in which each look at a job meets a bug."""
    queue.enqueue("true", "--id", "here")

    def meet_a_bug(*_args: object, **_kwargs: object) -> None:
        raise LookupError("two\nlines")

    for name in ("get", "jobs", "keys", "counts", "bad_ends"):
        monkeypatch.setattr(Storage, name, meet_a_bug)
    return queue


def _line(called: Called, command: str, code: int) -> None:
    assert called == Called(
        code,
        "",
        f"queuectl {command}: unexpected error: LookupError: two\\nlines "
        "(QUEUECTL_TRACEBACK=1 shows where)\n",
    )


@pytest.mark.parametrize("words", ["show here", "list", "cancel here", "dlq list", "retry --all"])
def test_a_bug_is_one_line(broken: Queue, words: str) -> None:
    """Regression: it was a traceback."""
    _line(broken.run(*words.split()), " ".join(words.split()[: 2 if "dlq" in words else 1]), 1)


@pytest.mark.parametrize(("words", "code"), [("check", 3), ("wait here", 125), ("wait --all", 125)])
def test_a_bug_has_the_code_of_the_command_for_its_own_failures(
    broken: Queue, words: str, code: int
) -> None:
    """Regression: a bug in `check` was WARNING, and in `wait` it was taken for the job's exit 1."""
    _line(broken.run(*words.split()), words.split(maxsplit=1)[0], code)


def test_a_bug_while_enqueue_waits(broken: Queue) -> None:
    """The job is enqueued; that nothing is known of its end is 125."""
    _line(broken.run("enqueue", "--wait", "true"), "enqueue", 125)


@pytest.mark.parametrize("words", ["wait here", "enqueue --wait true"])
def test_a_failure_of_the_system_is_none_of_the_job(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Regression: an OSError while waiting ended with 1, as if the job had."""
    queue.enqueue("true", "--id", "here")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Storage, "get", fail)

    assert queue.fails(125, *words.split()) == (
        f"queuectl {words.split(maxsplit=1)[0]}: [Errno 5] Input/output error"
    )


def test_the_traceback_is_there_when_it_is_asked_for(broken: Queue) -> None:
    """`QUEUECTL_TRACEBACK=1` prints it before the line."""
    lines = broken.run("show", "here", env={"QUEUECTL_TRACEBACK": "1"}).err.splitlines()

    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("queuectl show: unexpected error: LookupError")


@pytest.mark.parametrize(
    "env", [{}, {"COMP_WORDS": "queuectl li"}, {"COMP_WORDS": "queuectl '", "COMP_CWORD": "x"}]
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_no_traceback(queue: Queue, shell: str, env: dict[str, str]) -> None:
    """Regression: without the variables of the shell it printed one into the line being typed."""
    called = queue.run(env={"_QUEUECTL_COMPLETE": f"{shell}_complete", **env})

    assert (called.out.strip(), called.err) == ("", "")


@pytest.mark.parametrize(
    ("words", "option", "low"),
    [
        ("list -n", "--last", 1),
        ("dlq list -n", "--last", 1),
        ("logs here --tail", "--tail", 0),
        ("logs here --attempt", "--attempt", 1),
        ("worker start --drain --max-jobs", "--max-jobs", 1),
    ],
)
def test_a_number_too_large_for_the_queue_is_refused(
    queue: Queue, words: str, option: str, low: int
) -> None:
    """Regression: an OverflowError with its traceback."""
    queue.enqueue("true", "--id", "here")
    command = " ".join(words.split(" -", maxsplit=1)[0].split()).replace(" here", "")

    assert queue.fails(2, *words.split(), _BIG) == (
        f"queuectl {command}: {option} must be a whole number from {low} to 1000000000, "
        f"not '{_BIG}'"
    )
    assert queue.run(*words.split(), "1000000000").code == int("--attempt" in words)


@pytest.mark.parametrize(
    "words",
    [
        f"enqueue --priority {_BIG} true",
        f"enqueue --priority -{_BIG} true",
        f"enqueue --max-retries {_BIG} true",
        f"enqueue --timeout {_BIG} true",
        f"enqueue --delay {_BIG}d true",
        f"edit --priority {_BIG} here",
        f"queue limit default {_BIG}",
        f"worker start --count {_BIG}",
        f"worker start --max-runtime {_BIG}",
        f"wait --timeout {_BIG}w here",
        f"prune --older-than {_BIG}",
        f"worker stop --timeout {_BIG}",
        f"config set max-retries {_BIG}",
        f"config set output-limit {_BIG}",
        f"config set backoff-base {_BIG}",
        f"config set retention {_BIG}",
    ],
)
def test_no_number_of_the_command_line_is_without_a_limit(queue: Queue, words: str) -> None:
    """Every other number is wrong usage as well, in one line."""
    queue.enqueue("true", "--id", "here")

    queue.fails(2, *words.split())


@pytest.mark.parametrize("option", ["--max-dlq", "--max-pending", "--max-wait", "--min-workers"])
def test_no_limit_of_check_is_without_a_limit(queue: Queue, option: str) -> None:
    """Wrong usage of `check` is UNKNOWN."""
    queue.enqueue("true", "--id", "here")

    queue.fails(3, "check", option, _BIG)


@pytest.mark.parametrize("code", [256, 2**40, -1])
def test_an_exit_code_that_cannot_be_is_no_success(queue: Queue, code: int) -> None:
    """Regression: `wait` for a job whose row says 256 ended with 0."""
    queue.add("exit 1", id="a", max_retries=1)
    queue.run_as_if("dead")
    sql(queue.storage, "UPDATE jobs SET exit_code = ?", code)

    assert queue.run("wait", "a").code not in (0, 2)
