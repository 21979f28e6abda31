"""How a job is called when people read of it: by a short number, and by a title."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl.core.cells import cut_middle
from queuectl.core.escaping import escape

if TYPE_CHECKING:
    from queuectl.core.models import Job, JobKey


def number(job: Job | JobKey) -> str:
    """Return the short number of a job, which is never used twice: `@17`."""
    return f"@{job.seq}"


def title(job: Job, *, cells: int | None = None) -> str:
    """Return the label of a job, or its command if it has none, escaped, on one line.

    With `cells`, the middle is cut out of a title that takes more than so many cells.
    """
    whole = escape(job.label or job.command)
    return whole if cells is None else cut_middle(whole, cells)
