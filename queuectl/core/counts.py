"""Numbers of things in sentences: `1 job`, `1,204 jobs`, `and 3 more`."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return `1 job` or `1,204 jobs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def and_more(number: int) -> str:
    """Return ` and 3 more`, to be added to what is named; nothing if there are no more."""
    return f" and {number:,} more" if number > 0 else ""
