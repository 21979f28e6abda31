"""The output of a command on many jobs: one line for each job, or on a terminal one for all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Iterable, Sequence, TypeVar

from queuectl.cli import output
from queuectl.cli.command import each, option
from queuectl.cli.selection import Choice
from queuectl.cli.status_line import BAR_FROM
from queuectl.storage import Storage

if TYPE_CHECKING:
    from queuectl.core.models import JobKey

_Function = TypeVar("_Function", bound=Callable[..., Any])


verbose_option = option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print one line per job on a terminal as well, not only their number.",
)


def act_on(
    choice: Choice,
    storage: Storage,
    act: Callable[[JobKey | str], str | None],
    *,
    verbose: bool,
    quiet: bool,
    doing: str,
    none: str,
    on_terminal_only: bool = True,
    keys: Sequence[JobKey | str] | None = None,
) -> int:
    """Do something to each chosen job, or to `keys`; return the exit code.

    Prints the lines that `act` returns, or on a terminal their summary. For many jobs, a bar there
    tells how far it is, and what the command is `doing`: `cancelling`. `none` is the message if
    options choose no job.
    """
    summary = _Summary(choice, verbose=verbose)
    chosen = choice.keys(storage) if keys is None else keys
    if quiet or not summary.may_have_bar or (count := _count(choice, storage, keys)) < BAR_FROM:
        code = each(chosen, act, storage.batch, summary.add)
    else:
        code = _with_bar(doing, count, chosen, act, storage, summary)
    if not quiet:
        summary.show(storage, none=none, on_terminal_only=on_terminal_only)
    return code


def _count(choice: Choice, storage: Storage, keys: Sequence[JobKey | str] | None) -> int:
    if keys is not None:
        return len(keys)
    return 0 if choice.selection is None else storage.count(choice.selection)


def _with_bar(
    doing: str,
    count: int,
    keys: Iterable[JobKey | str],
    act: Callable[[JobKey | str], str | None],
    storage: Storage,
    summary: _Summary,
) -> int:
    """Do something to each of many jobs, with a bar on stderr; return the exit code."""
    from queuectl.cli.terminal import progress  # only when it is needed

    with progress(count, doing) as bar:

        def report(line: str) -> None:
            summary.add(line)
            bar.advance(1)

        def refuse(command: str, error: str) -> None:
            bar.clear()
            output.error(command, error)
            bar.advance(1)

        return each(keys, act, storage.batch, report, refuse)


class _Summary:
    """Prints the lines of jobs as they come; on a terminal it counts those that options choose."""

    def __init__(self, choice: Choice, *, verbose: bool) -> None:
        self._choice = choice
        self._sums_up = choice.selection is not None and not verbose and output.on_terminal()
        self._counts: dict[str, int] = {}

    @property
    def may_have_bar(self) -> bool:
        """Whether somebody watches, and no line of a job would be printed into the bar."""
        return sys.stderr.isatty() and (self._sums_up or not output.on_terminal())

    def add(self, line: str) -> None:
        """Take in the line of one job: `JOB is STATE`."""
        became = line.partition(" is ")[2]
        self._counts[became] = self._counts.get(became, 0) + 1
        if not self._sums_up:
            output.print_line(line)

    def show(self, storage: Storage, *, none: str, on_terminal_only: bool) -> None:
        """Print the numbers, if the lines were not printed, or that the options choose no job."""
        if not self._counts:
            # A job may be chosen that was refused.
            is_none = self._choice.selection is not None and not self._choice.finds_any(storage)
            if is_none and (self._sums_up or not on_terminal_only):
                output.message(none)
            return
        if not self._sums_up:
            return
        numbers = ", ".join(f"{count} {became}" for became, count in self._counts.items())
        hint = " (-v prints one line per job)" if sum(self._counts.values()) > 1 else ""
        output.print_line(f"{numbers}{hint}")
