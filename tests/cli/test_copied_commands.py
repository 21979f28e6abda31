"""Commands in messages can be copied into a shell: in them each name is one word of plain text."""

from __future__ import annotations

import pytest

from queuectl.core.batches import start_command
from queuectl.core.naming import quoted
from support.queue import Queue
from support.terminal import on_terminal

ODD = "a;b$(c)"
WORD = "'a;b$(c)'"


def test_a_name_becomes_one_word() -> None:
    """A plain name stays as it is."""
    assert [quoted(name) for name in ("a-1", "mail/hooks", "@17", ODD, "é", "")] == [
        "a-1", "mail/hooks", "@17", WORD, "'é'", "''",
    ]  # fmt: skip
    assert start_command([f"@{ODD}", "@a.1"]) == "queuectl worker start --queue '@a.1,@a;b$(c)'"


@pytest.mark.parametrize(
    ("before", "call", "command"),
    [
        (["queue", "pause", ODD], ["why", ODD], f"queuectl queue resume {WORD}"),
        (["pause", ODD], ["why", ODD], f"queuectl resume {WORD}"),
        (["pause", ODD], ["show", ODD], f"queuectl resume {WORD}"),
    ],
)
def test_what_is_told_of_a_job(
    queue: Queue, before: list[str], call: list[str], command: str
) -> None:
    """These are its own name and that of its queue."""
    queue.enqueue("true", "--id", ODD, "--queue", ODD)
    queue.ok(*before)

    assert command in queue.ok(*call)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            ["edit", "done;", "--priority", "1"],
            "queuectl edit: cannot edit done;: it is cancelled "
            "(queuectl retry 'done;' takes the options of edit, and runs it again)",
        ),
        (
            ["pause", "q;"],
            "queuectl pause: no such job: q;, but a queue has this name "
            "(queuectl queue pause 'q;')",
        ),
    ],
)
def test_errors(queue: Queue, call: list[str], error: str) -> None:
    """What to do about an error is a command."""
    queue.enqueue("true", "--id", ODD)
    queue.enqueue("true", "--id", "done;", "--queue", "q;")
    queue.ok("cancel", "done;")

    assert queue.fails(1, *call) == error


def test_notes_of_enqueue(queue: Queue) -> None:
    """On a terminal it says what keeps the job from running."""
    queue.ok("queue", "pause", ODD)

    done = on_terminal(queue, "enqueue", "--queue", ODD, "true", streams="stderr")

    assert f"{ODD} is paused (queuectl queue resume {WORD})" in done.screen


def test_notes_of_logs(queue: Queue) -> None:
    """`why` says why a job has not run yet."""
    queue.enqueue("true", "--id", ODD)

    screen = on_terminal(queue, "logs", ODD, streams="stdout stderr").screen

    assert screen == f"{ODD} has not run yet (queuectl why {WORD})\n"
