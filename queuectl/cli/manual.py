"""The manual pages, made from the help of the commands and from the topics at build time."""

from __future__ import annotations

from inspect import cleandoc
from typing import Iterator, Sequence

import click

from queuectl import __version__
from queuectl.cli import topics
from queuectl.cli.app import SECTIONS, root
from queuectl.cli.command import QueueCommand
from queuectl.cli.help_layout import option_rows
from queuectl.cli.markdown import Block, Heading, parse, plain, texts_of
from queuectl.cli.roff import blocks, escaped, line, literal, marked, pairs, title

_EXAMPLES = """\
Encode 300 files overnight, four at a time, without a limit of time:

```sh
for f in *.mkv; do
    queuectl enqueue -q --timeout 0 ffmpeg -i "$f" "${f%.mkv}.mp4"
done
queuectl worker start --count 4 --detach
```

See in the morning what failed and why, and run it again:

```sh
queuectl dlq list
queuectl logs @failed
queuectl dlq retry --all
```

A nightly job in a crontab, which never runs twice at a time and mails its output only if it fails,
and the line that starts workers when there is work:

```crontab
0 2 * * * queuectl enqueue -qw --unique b --output on-failure backup
* * * * * queuectl worker start --count 2 --drain --unless-running -q
```

One job after another, and its exit code:

```sh
build=$(queuectl enqueue make)
queuectl enqueue --after "$build" make install
queuectl wait "$build" && echo built
```

At most two downloads at a time, however many workers there are:

```sh
queuectl queue limit downloads 2
queuectl enqueue --queue downloads wget https://example.org/a.iso
```
"""
_SECURITY = """\
A job runs with all the rights of the user whose worker runs it; queuectl is not a sandbox. Anyone
who can write to the file of a queue can run commands as that user. So only its owner can read and
write a queue, and one that others could change is refused without `--allow-shared`; see
[teams](teams.md).

The commands, environment variables and outputs of jobs are stored unencrypted. Do not put secrets
into a command line: let the job read them from a protected file.
"""
_OTHER_PROGRAMS = ("at(1)", "cron(8)", "flock(1)", "parallel(1)", "tsp(1)")


def pages(*, date: str) -> dict[str, str]:
    """Return all pages by the paths below `man/`. `date` is printed at their bottom."""
    found = {"man1/queuectl.1": page(date=date)}
    for topic in topics.topics().values():
        found[f"man7/queuectl-{topic.name}.7"] = topic_page(topic, date=date)
    return found


def page(*, date: str) -> str:
    """Return the page queuectl(1)."""
    with click.Context(root, info_name="queuectl") as context:
        commands = list(_commands(context))
        options = list(_options(root, context))
    lines = [
        *title("queuectl", 1, date=date, version=__version__),
        ".SH NAME",
        r"queuectl \- run shell commands from a durable queue on this host",
        ".SH SYNOPSIS",
        ".B queuectl",
        r"[\-\-db \fIPATH\fR] \fICOMMAND\fR [\fIARG\fR]...",
        ".br",
        ".B queuectl help",
        r"[\fICOMMAND\fR|\fITOPIC\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(root.help or ""),
        *_topic("concepts"),
        ".SH OPTIONS",
        *options,
        *commands,
        ".SH JOBS",
        *_topic("ids"),
        ".SH TIMES AND SIZES",
        *_topic("times"),
        ".SH FIELDS OF A JOB",
        *_topic("json", "What enqueue reads"),
        ".SH SIGNALS",
        *_topic("signals"),
        ".SH CONFIGURATION",
        *_topic("configuration"),
        ".SH EXIT STATUS",
        *_topic("exit-codes"),
        ".SH ENVIRONMENT",
        *_topic("environment"),
        ".SH FILES",
        *_topic("files"),
        ".SH EXAMPLES",
        *blocks(parse(_EXAMPLES)),
        ".SH SECURITY",
        *blocks(parse(_SECURITY)),
        ".SH BUGS",
        *_topic("promises", "Where a promise is weaker"),
        ".SH SEE ALSO",
        *_references([*_OTHER_PROGRAMS, *(f"queuectl-{name}(7)" for name in topics.topics())]),
    ]
    return "\n".join(lines) + "\n"


def topic_page(topic: topics.Topic, *, date: str) -> str:
    """Return the page queuectl-TOPIC(7)."""
    name = f"queuectl-{topic.name}"
    below_title = topics.page(topic.name)[1:]
    lines = [
        *title(name, 7, date=date, version=__version__),
        ".SH NAME",
        rf"{escaped(name)} \- {escaped(topic.summary)}",
    ]
    if not isinstance(below_title[0], Heading):
        lines.append(".SH DESCRIPTION")
    lines += [*blocks(below_title), ".SH SEE ALSO", *_references(["queuectl(1)"])]
    return "\n".join(lines) + "\n"


def _topic(name: str, section: str = "") -> Iterator[str]:
    """Return the page of a topic, or one section of it, as a part of another page."""
    content: Sequence[Block] = topics.page(name)[1:]
    if section:
        starts = [at for at, block in enumerate(content)
                  if isinstance(block, Heading) and block.level == 2]  # fmt: skip
        titles = [plain(texts_of(content[at])[0]) for at in starts]
        begin = starts[titles.index(section)]
        end = min((at for at in starts if at > begin), default=len(content))
        content = content[begin + 1 : end]
    yield from blocks(content, is_part=True)


def _references(names: Sequence[str]) -> Iterator[str]:
    """Return names such as `at(1)`."""
    shown = [rf"\fB{escaped(name[:-3])}\fR{name[-3:]}" for name in names]
    yield ",\n".join(shown)


def _commands(context: click.Context) -> Iterator[str]:
    for section, names in SECTIONS.items():
        yield f".SH {escaped(section.upper())}"
        for name in names:
            command = root.get_command(context, name)
            if command is not None:
                yield from _command(command, context, name)


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
    if not isinstance(command, QueueCommand):
        records = (param.get_help_record(context) for param in command.params)
        yield from pairs(record for record in records if record is not None)
        return
    for section, rows in option_rows(command, context):
        shown = [row for row in rows if "--help" not in row[0]]
        if command.sections and shown:
            yield from (".PP", rf"\fI{escaped(section)}\fR:")
        yield from pairs(shown)


def _paragraphs(text: str) -> Iterator[str]:
    """Return a help text. Paragraphs are filled; those marked by \b keep their lines."""
    for paragraph in cleandoc(text).split("\n\n"):
        rows = paragraph.split("\n")
        yield ".PP"
        if rows[0] == "\b":
            yield from literal(rows[1:])
        else:
            yield line(marked(" ".join(row.strip() for row in rows)))
