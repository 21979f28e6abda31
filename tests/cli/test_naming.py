"""How a job is called when people read of it."""

from __future__ import annotations

import pytest

from queuectl.core.naming import number, title
from support.queue import Queue


def test_number(queue: Queue) -> None:
    """Jobs are numbered in the order they were enqueued."""
    queue.enqueue("true")
    second = queue.enqueue("true")

    assert number(queue.get(second)) == "@2"


def test_title(queue: Queue) -> None:
    """It is the label, else the command, on one line; a long one is cut in the middle."""
    named = queue.get(queue.enqueue("make all", "--label", "nightly build"))
    unnamed = queue.get(queue.enqueue("echo one\necho\x1b[2J two"))

    assert title(named) == "nightly build"
    assert title(unnamed) == r"echo one\necho\x1b[2J two"
    assert title(unnamed, cells=10) == "echo…J two"


@pytest.mark.parametrize(
    "words",
    [
        ("schedule", "show"),
        ("schedule", "remove"),
        ("hook", "show"),
        ("hook", "pause"),
        ("list", "--find"),
    ],
)
def test_a_name_that_is_not_utf_8_is_wrong_input(queue: Queue, words: tuple[str, ...]) -> None:
    """Prevents a bug: it was called an unexpected error."""
    queue.enqueue("true")
    assert "not valid UTF-8" in queue.fails(2, *words, "\udcff")
