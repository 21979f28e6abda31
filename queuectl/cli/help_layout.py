"""The layout of a command's help: options by purpose, and what the words in it stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Sequence

import click

from queuectl.cli.parameters import States
from queuectl.core.settings import KEYS

if TYPE_CHECKING:
    from queuectl.cli.command import QueueCommand

JOB = (
    "An id, or the first 4 characters of a generated id; the number that lists show, as in @17; "
    "or @last, @running, @failed"
)
_FROM_STDIN = "; - means jobs from stdin"
VALUES = {
    "DURATION": "Seconds, or 500ms, 90s, 10m, 1h30m, 2d, '2\u00a0hours'.",
    "TIME": (
        "18:00 (the next one), 'tomorrow\u00a09:00', 'monday\u00a06pm', 'in\u00a020m', "
        "2026-12-24T18:00."
    ),
    "WHEN": (
        "How long ago: 90s, 2h, 1d; or a time: 18:00 (the last one), today, yesterday, "
        "2026-12-24T18:00."
    ),
    "EXPRESSION": (
        "Five cron fields ('0\u00a02\u00a0*\u00a0*\u00a0*'), @hourly, @daily, @weekly, @monthly, "
        "@yearly, or 'every\u00a010m'."
    ),
    "GLOB": "A pattern as in a shell: * is any text, ? one character, [a-z] one of these.",
    "WORDS": (
        "Parts of the id, label, command or error, and fields: state:dead, queue:mail, "
        "label:'sync*', schedule:NAME, worker:ID, exit:12, signal:KILL, runs:'>1', after:1h, "
        "before:yesterday."
    ),
    "SHELL": "bash, zsh or fish.",
    "CRIT": "A number, for --max-wait a duration: CRITICAL beyond it; beyond WARN it is a WARNING.",
}
"""The meanings of some words in usage lines and options."""
_WIDEST_TERM = 26
_HYPHEN = "\ue000"
"""Stands for a hyphen while lines are filled."""

Rows = Sequence["tuple[str, str]"]


class Formatter(click.HelpFormatter):
    """Breaks no line at a hyphen or a no-break space: an option or a value would be torn apart."""

    def write_text(self, text: str) -> None:
        """Write a paragraph."""
        super().write_text(text.replace("-", _HYPHEN))

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        """Write terms with their meanings."""
        super().write_dl(
            [(term, text.replace("-", _HYPHEN)) for term, text in rows], *args, **kwargs
        )

    def getvalue(self) -> str:
        """Return what was written."""
        return super().getvalue().replace(_HYPHEN, "-").replace("\u00a0", " ")


def option_rows(command: QueueCommand, ctx: click.Context) -> Iterator[tuple[str, Rows]]:
    """Yield the sections of the options, each with its rows; options of no section come last."""
    rows = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None:
            rows[param.opts[-1]] = record
    for section, names in command.sections.items():
        found = [rows.pop(name) for name in names.split() if name in rows]
        if found:
            yield section, found
    yield "Other options" if command.sections else "Options", list(rows.values())


def value_rows(command: click.Command) -> Rows:
    """Return what the words stand for that the help of this command uses."""
    rows = [("JOB", text) for text in _job_text(command)]
    rows += [("STATE", text) for text in _state_text(command)]
    metavars = " ".join(param.metavar or "" for param in command.params)
    rows += [(word, text) for word, text in VALUES.items() if re.search(rf"\b{word}\b", metavars)]
    if any(isinstance(param, click.Argument) and param.name == "key" for param in command.params):
        rows.append(("KEY", f"{', '.join(KEYS)}."))
    return rows


def _job_text(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if re.search(r"\bJOB\b", param.metavar or ""):
            many = isinstance(param, click.Argument) and param.nargs == -1
            yield f"{JOB}{_FROM_STDIN if many else ''}."
            return


def _state_text(command: click.Command) -> Iterator[str]:
    for param in command.params:
        if isinstance(param.type, States):
            yield f"{', '.join(state.value for state in param.type.among)}."


def write(command: QueueCommand, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options and the words; all explanations begin in one column."""
    sections = [*option_rows(command, ctx), ("Values", value_rows(command))]
    terms = [len(term) for _, rows in sections for term, _ in rows]
    widest = max(size for size in terms if size <= _WIDEST_TERM)
    for title, rows in sections:
        if rows:
            with formatter.section(title):
                rows = [(term.ljust(widest), text) for term, text in rows]
                formatter.write_dl(rows, col_max=widest)
