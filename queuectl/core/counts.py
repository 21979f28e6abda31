"""Numbers of things in sentences: `1 job`, `1,204 jobs`, `and 3 more`."""

from __future__ import annotations


def counted(number: int, noun: str, one: str = "", many: str = "") -> str:
    """Return `1 job` or `1,204 jobs`; also with what follows: `1 job waits` or `2 jobs wait`."""
    text, rest = (noun, one) if number == 1 else (f"{noun}s", many)
    return f"{number:,} {text} {rest}" if rest else f"{number:,} {text}"


def and_more(number: int) -> str:
    """Return ` and 3 more`, to be added to what is named; nothing if there are no more."""
    return f" and {number:,} more" if number > 0 else ""
