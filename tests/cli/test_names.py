"""Jobs named `@17`, `@last`, `@running` and `@failed` on the command line."""

from __future__ import annotations

import json

import pytest

from support.queue import Queue
from support.states import every_state


@pytest.fixture
def numbers(queue: Queue) -> dict[str, str]:
    """A queue with a job in each state, and the number of each job."""
    every_state(queue)
    return {job.id: f"@{job.seq}" for job in queue.jobs()}


@pytest.mark.parametrize(
    ("command", "job"),
    [
        ("show", "dead"),
        ("logs", "completed"),
        ("why", "dead"),
        ("wait", "completed"),
        ("cancel", "pending"),
        ("retry", "dead"),
        ("edit --priority 3", "pending"),
        ("prune", "completed"),
        ("dlq retry", "dead"),
        ("dlq purge", "dead"),
        ("enqueue --if-dup skip --unique u --after", "pending"),
    ],
)
def test_every_command_takes_the_number_of_a_job(
    queue: Queue, numbers: dict[str, str], command: str, job: str
) -> None:
    """It succeeds as with the id."""
    rest = ["true"] if "enqueue" in command else []
    done = queue.run(*command.split(), numbers[job], *rest)

    assert (done.code, done.err) == (0, "")


def test_a_number_without_its_sign_has_a_hint(queue: Queue, numbers: dict[str, str]) -> None:
    """Other tools number their jobs 1, 2, 3; here that might be an id that a person gave."""
    for command in ("show", "logs", "wait", "cancel", "enqueue --after"):
        name = command.split()[0]
        rest = ["true"] if name == "enqueue" else []
        done = queue.run(*command.split(), "1", *rest)
        assert done.err == f"queuectl {name}: no such job: 1 (a number is written @1)\n"


def test_a_word_without_its_sign_has_a_hint(queue: Queue) -> None:
    """It might be an id that a person gave."""
    queue.enqueue("true")
    assert queue.fails(1, "logs", "last") == (
        "queuectl logs: no such job: last (did you mean @last?)"
    )


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("cancel @failed", "failed is cancelled\n"),
        ("cancel @running", "processing is being cancelled\n"),
        ("retry @failed", "failed is pending again\ndead is pending again\n"),
        ("dlq retry @failed", "dead is pending again\n"),
        ("prune @failed", "1 deleted\n"),
        ("dlq purge @failed", "1 deleted\n"),
    ],
)
def test_a_name_of_several_jobs_means_those_that_the_command_can_act_on(
    queue: Queue, command: str, out: str
) -> None:
    """`cancel @failed` means the failed jobs, `prune @failed` the dead ones, `retry` both."""
    every_state(queue)

    assert queue.run(*command.split()) == (0, out, "")


def test_a_name_for_which_there_is_no_job(queue: Queue) -> None:
    """It is an error, since somebody expects that there is one."""
    queue.ok("enqueue", "--id", "a", "true")

    assert queue.fails(1, "cancel", "@running") == "queuectl cancel: no job is running"
    assert queue.fails(125, "wait", "@running") == "queuectl wait: no job is running"
    assert queue.fails(1, "retry", "@failed") == "queuectl retry: no job is failed or dead"
    assert queue.fails(1, "retry", "@17") == "queuectl retry: no such job: @17"


def test_names_in_json_and_on_stdin(queue: Queue) -> None:
    """`after` and `after_any` take them; so does a list of ids."""
    queue.ok("enqueue", "--id", "a", "true")
    queue.ok("enqueue", "--id", "b", "true")
    queue.ok("enqueue", json.dumps({"id": "c", "command": "x", "after": ["@1", "@last"]}))

    assert json.loads(queue.ok("show", "c", "--json"))["after"] == ["a", "b"]
    assert queue.ok("cancel", "-", stdin="@1\n@last\n") == "a is cancelled\nc is cancelled"


@pytest.mark.parametrize("after", ["@", "@a b", "@first"])
def test_other_words_that_begin_with_an_at_are_wrong_input(queue: Queue, after: str) -> None:
    """Nothing is read from the queue; the error names the field or the option."""
    message = f'names no job: "{after}" (use @NUMBER, @last, @running, @failed or an id)'
    as_json = json.dumps({"command": "x", "after": [after]})

    assert queue.fails(2, "enqueue", as_json) == f"queuectl enqueue: after {message}"
    option = queue.fails(2, "enqueue", "--after", after, "true")
    assert option == f"queuectl enqueue: --after {message}"
