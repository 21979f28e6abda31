"""Numbers of things in sentences."""

from __future__ import annotations

from queuectl.core.counts import and_more, counted


def test_counted() -> None:
    """Only one thing is singular."""
    assert [counted(number, "job") for number in (0, 1, 2, 1204)] == [
        "0 jobs", "1 job", "2 jobs", "1,204 jobs",
    ]  # fmt: skip
    assert [counted(number, "job", "waits", "wait") for number in (0, 1, 1204)] == [
        "0 jobs wait", "1 job waits", "1,204 jobs wait",
    ]  # fmt: skip


def test_and_more() -> None:
    """Nothing is added if all are named."""
    assert ["a" + and_more(number) for number in (-1, 0, 1, 1204)] == [
        "a", "a", "a and 1 more", "a and 1,204 more",
    ]  # fmt: skip
