"""The manual pages, made from the help of the commands and from the topics at build time."""

from __future__ import annotations

from inspect import cleandoc
from typing import Iterator, Sequence

import click

from queuectl import __version__
from queuectl.cli import topics
from queuectl.cli.app import SECTIONS, root
from queuectl.cli.command import QueueCommand
from queuectl.cli.help_layout import option_rows, value_rows
from queuectl.cli.markdown import Block, Heading, parse, plain, texts_of
from queuectl.cli.roff import blocks, escaped, line, literal, marked, pairs, title

_EXAMPLES = """\
Convert files four at a time, and wait until all of them are done:

```sh
queuectl run --jobs 4 ffmpeg -nostdin -i {} {.}.mp4 ::: *.mkv
```

Convert them overnight in the background, without a limit of time:

```sh
queuectl enqueue -q --timeout 0 ffmpeg -nostdin -i {} {.}.mp4 ::: *.mkv
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
    """Return all pages by their paths below `man/`. `date` is printed at the bottom of each."""
    found = {"man1/queuectl.1": page(date=date)}
    with click.Context(root, info_name="queuectl") as context:
        for command, below in _leaves(root, context):
            name = below.command_path.replace(" ", "-")
            found[f"man1/{name}.1"] = _command_page(command, below, name, date=date)
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


def _command_page(command: click.Command, context: click.Context, name: str, *, date: str) -> str:
    """Return the page queuectl-COMMAND(1); man(1) also finds it as `man queuectl enqueue`."""
    summary, *texts = cleandoc(command.help or "").split("\n\n")
    usage = command.collect_usage_pieces(context)
    lines = [
        *title(name, 1, date=date, version=__version__),
        ".SH NAME",
        rf"{escaped(name)} \- {marked(summary[0].lower() + summary[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        rf"\fB{escaped(context.command_path)}\fR {escaped(' '.join(usage))}",
        ".SH DESCRIPTION",
        *_paragraphs("\n\n".join([summary, *texts])),
        ".SH OPTIONS",
        *_options(command, context),
    ]
    values = value_rows(command)
    if values:
        lines += [".SH VALUES", *pairs(values)]
    lines += [".SH SEE ALSO", *_references(["queuectl(1)"])]
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
            for command, below in _leaves(root, context, only=name):
                usage = " ".join(command.collect_usage_pieces(below))
                yield f".SS {escaped(below.command_path)} {escaped(usage)}"
                yield from _paragraphs(command.help or "")
                yield from _options(command, below)


def _leaves(
    group: click.Group, context: click.Context, *, only: str | None = None
) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield the commands of a group and of the groups in it, each with its context."""
    for name in group.list_commands(context) if only is None else [only]:
        command = group.get_command(context, name)
        assert command is not None
        if command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _leaves(command, below)
        else:
            yield command, below


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
