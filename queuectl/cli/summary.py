"""The output of a command on many jobs: one line for each job, or on a terminal one for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterable, TypeVar

from queuectl.cli import output
from queuectl.cli.command import each, option
from queuectl.cli.selection import Choice
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
    none: str,
    on_terminal_only: bool = True,
    keys: Iterable[JobKey | str] | None = None,
) -> int:
    """Do something to each chosen job, or to `keys`; return the exit code.

    Prints the lines that `act` returns, or on a terminal their summary. `none` is the message if
    options choose no job.
    """
    summary = _Summary(choice, verbose=verbose)
    keys = choice.keys(storage) if keys is None else keys
    code = each(keys, act, storage.batch, summary.add)
    if not quiet:
        summary.show(storage, none=none, on_terminal_only=on_terminal_only)
    return code


class _Summary:
    """Prints the lines of jobs as they come; on a terminal it counts those that options choose."""

    def __init__(self, choice: Choice, *, verbose: bool) -> None:
        self._choice = choice
        self._sums_up = choice.selection is not None and not verbose and output.on_terminal()
        self._counts: dict[str, int] = {}

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
