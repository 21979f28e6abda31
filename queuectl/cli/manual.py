"""The manual pages, made from the help of the commands and the topics at build time."""

from __future__ import annotations

from typing import Iterator

import click

from queuectl import __version__
from queuectl.cli import topics
from queuectl.cli.app import SECTIONS, root
from queuectl.cli.command import QueueCommand
from queuectl.cli.help_layout import option_rows
from queuectl.cli.markdown import Heading
from queuectl.cli.roff import blocks, escaped, line, literal, pairs, title
from queuectl.core.settings import KEYS

_EXIT_CODES = (
    ("0", "Success, also when there was nothing to do."),
    ("1", "Refused or failed; of several jobs, at least one. check: WARNING. doctor: a failure was "
          "found."),
    ("2", "Wrong usage or input; nothing was changed. check: CRITICAL."),
    ("3", "check: UNKNOWN, also for wrong usage."),
    ("75", "The queue was locked for too long; nothing was changed, try again."),
    ("124", "The time of --timeout ran out. wait: also if the job was killed by its own timeout."),
    ("125", "wait and enqueue --wait: queuectl could not wait, or the job can never end."),
    ("126", "wait: the job could not be started."),
    ("137", "wait: the job was lost with its worker."),
    ("143", "wait: the job was cancelled."),
    ("130, 141, 143", "queuectl was ended by Ctrl+C, a closed pipe or TERM: by the signal itself."),
    ("others", "wait: the exit code of the job; 128+n if signal n killed it. Of several jobs: 0 if "
               "all completed, else 1."),
)  # fmt: skip
_ENVIRONMENT = (
    ("QUEUECTL_DB", "The queue's file, unless --db is given."),
    ("NO_COLOR, FORCE_COLOR, TERM, COLUMNS, HOME", "Have their usual meanings."),
    ("NOTIFY_SOCKET", "worker start reports to this socket that its workers are ready."),
    ("QUEUECTL_JOB_ID, QUEUECTL_ATTEMPT, QUEUECTL_QUEUE, QUEUECTL_SLOT, QUEUECTL_DB",
     "Set for each job: its id, the number of the attempt from 1, its queue, the number of the "
     "worker from 0, and the queue's file."),
)  # fmt: skip
_FILES = (
    ("~/.local/state/queuectl/queue.db", "The queue, unless another one is named."),
    ("queue.db.d/", "Private folder beside each queue: locks, FIFOs that wake workers, and logs."),
)


def pages(*, date: str) -> dict[str, str]:
    """Return all pages by the paths below `man/`. `date` is printed at their bottom."""
    found = {"man1/queuectl.1": page(date=date)}
    for topic in topics.topics().values():
        found[f"man7/queuectl-{topic.name}.7"] = topic_page(topic, date=date)
    return found


def page(*, date: str) -> str:
    """Return the page queuectl(1)."""
    lines = [
        *title("queuectl", 1, date=date, version=__version__),
        ".SH NAME",
        r"queuectl \- run shell commands from a durable queue on this host",
        ".SH SYNOPSIS",
        ".B queuectl",
        r"[\-\-db \fIPATH\fR] \fICOMMAND\fR [\fIARG\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(root.help or ""),
    ]
    with click.Context(root, info_name="queuectl") as context:
        lines += [".SH OPTIONS", *_options(root, context)]
        for section, names in SECTIONS.items():
            lines.append(f".SH {escaped(section.upper())}")
            for name in names:
                command = root.get_command(context, name)
                if command is not None:
                    lines += _command(command, context, name)
    lines += [".SH CONFIGURATION", *pairs((key, f"{known.help} ({known.default})")
                                          for key, known in KEYS.items())]  # fmt: skip
    lines += [".SH EXIT STATUS", *pairs(_EXIT_CODES)]
    lines += [".SH ENVIRONMENT", *pairs(_ENVIRONMENT)]
    lines += [".SH FILES", *pairs(_FILES)]
    lines += [".SH SEE ALSO", *_see_also()]
    return "\n".join(lines) + "\n"


def topic_page(topic: topics.Topic, *, date: str) -> str:
    """Return the page queuectl-TOPIC(7)."""
    name = f"queuectl-{topic.name}"
    content = topics.page(topic.name)
    lines = [
        *title(name, 7, date=date, version=__version__),
        ".SH NAME",
        rf"{escaped(name)} \- {escaped(topic.summary)}",
    ]
    below_title = content[1:]
    if not isinstance(below_title[0], Heading):
        lines.append(".SH DESCRIPTION")
    lines += [*blocks(below_title), ".SH SEE ALSO", r"\fBqueuectl\fR(1)"]
    return "\n".join(lines) + "\n"


def _see_also() -> Iterator[str]:
    names = [rf"\fB{escaped(f'queuectl-{name}')}\fR(7)" for name in topics.topics()]
    yield ",\n".join(names)


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from _command(found, context, below)
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {escaped(context.command_path)} {escaped(usage)}"
    yield from _paragraphs(command.help or "")
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, QueueCommand):
        records = [row for _, rows in option_rows(command, context) for row in rows]
    else:
        found = (param.get_help_record(context) for param in command.params)
        records = [record for record in found if record is not None]
    yield from pairs(record for record in records if record[1] and not record[0].startswith("-h,"))


def _paragraphs(text: str) -> Iterator[str]:
    """Return a help text. Paragraphs are filled; those marked by \b keep their lines."""
    for paragraph in text.strip().split("\n\n"):
        rows = paragraph.split("\n")
        yield ".PP"
        if rows[0] == "\b":
            yield from literal(rows[1:])
        else:
            yield line(escaped(" ".join(row.strip() for row in rows)))
