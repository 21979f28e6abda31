"""The names of jobs for people: a short number, a title, and a word of a command to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl.core.cells import cut_middle
from queuectl.core.escaping import escape

OWN_HOOKS = ("on-success", "on-failure", "on-finish")
"""The names of the hooks that a job brings along."""

if TYPE_CHECKING:
    from queuectl.core.models import Job, JobKey


def number(job: Job | JobKey) -> str:
    """Return the short number of a job, which is never used twice: `@17`."""
    return f"@{job.seq}"


def quoted(name: str) -> str:
    """Return the name of a job or queue, or the like, as one word of a shell command."""
    if name.isascii() and name.replace("-", "").isalnum():
        return name
    from queuectl.core.shell_words import quote_argument  # it loads shlex: not in each worker

    return quote_argument(name)


def hook_title(job: Job) -> str | None:
    """Return the title of the job of a hook: `hook ops of @17`, `on-failure of @17`."""
    if job.hook is None:
        return None
    name = job.hook if job.hook in OWN_HOOKS else f"hook {job.hook}"
    return name if job.hook_of is None else f"{name} of @{job.hook_of}"


def title(job: Job, *, cells: int | None = None) -> str:
    """Return the label of a job, or its command if it has none, escaped, on one line.

    The job of a hook has a title of its own: its command says less.

    The middle of a title that takes more than `cells` cells is cut out.
    """
    whole = escape(job.label or hook_title(job) or job.command)
    return whole if cells is None else cut_middle(whole, cells)
