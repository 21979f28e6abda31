"""Long lists, which pages show in parts."""

from __future__ import annotations

from queuectl.core.named_tuples import NamedTuple

_LONGEST = 50


class Part(NamedTuple):
    """The part of a list that a page shows."""

    start: int
    """The index of its first row."""
    end: int
    """The index after its last row."""
    rows: int
    """How many rows the list has."""

    @classmethod
    def of(cls, rows: int, start: int) -> Part:
        """Return the part of a list of so many rows that begins at `start`, or within the list."""
        first = min(max(0, start), max(0, rows - 1))
        return cls(first, min(first + _LONGEST, rows), rows)

    @property
    def before(self) -> int | None:
        """Where the part before it begins; None if it is the first."""
        return max(0, self.start - _LONGEST) if self.start else None

    @property
    def after(self) -> int | None:
        """Where the part after it begins; None if it is the last."""
        return self.end if self.end < self.rows else None
