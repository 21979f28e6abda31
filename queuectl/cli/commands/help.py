"""The commands `help` and `version`."""

from __future__ import annotations

from typing import Any, Sequence

import click

from queuectl import __version__
from queuectl.cli import output
from queuectl.cli.command import QueueCommand, QueueGroup, usage_error
from queuectl.cli.pager import print_page
from queuectl.cli.topic_text import to_text
from queuectl.cli.topics import page, topics
from queuectl.core.specs import suggestion


def _complete(ctx: click.Context, _param: Any, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem  # only for completion

    command, context, unknown = _resolve(ctx, ctx.params.get("names") or ())
    offered: list[tuple[str, str | None]] = []
    if unknown:
        return []
    if isinstance(command, QueueGroup):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            offered.append((name, found.get_short_help_str(80) if found else None))
    if context.parent is None:
        offered += [(topic.name, topic.summary) for topic in topics().values()]
    return [
        CompletionItem(name, help=text) for name, text in offered if name.startswith(incomplete)
    ]


@click.command("help", cls=QueueCommand)
@click.argument("names", nargs=-1, metavar="[COMMAND|TOPIC]", shell_complete=_complete)
@click.pass_context
def help_(ctx: click.Context, names: Sequence[str]) -> None:
    """Show the help of a command, or a page about a topic.

    Without an argument, list the commands and the topics. A long text is shown through $PAGER on a
    terminal.

    \b
    Examples:
      queuectl help
      queuectl help worker start                     as worker start -h
      queuectl help states
    """
    listed = topics()
    if names and names[0] in listed:
        if len(names) > 1:
            usage_error(f"{names[0]} is a topic; nothing can follow it")
        width = ctx.make_formatter().width
        print_page(to_text(page(names[0]), width=width, styled=_styled(ctx)))
        return
    command, context, rest = _resolve(ctx, names)
    if rest:
        _refuse(command, context, rest)
    text = context.get_help() + "\n"
    if not names:
        text += _list_of_topics(ctx)
    print_page(text)


def _styled(ctx: click.Context) -> bool:
    return output.on_terminal() if ctx.color is None else ctx.color


def _resolve(
    ctx: click.Context, names: Sequence[str]
) -> tuple[click.Command, click.Context, Sequence[str]]:
    """Return the command with these names, its context, and the names that no command has."""
    context = ctx.find_root()
    command = context.command
    for number, name in enumerate(names):
        found = command.get_command(context, name) if isinstance(command, click.Group) else None
        if found is None:
            return command, context, names[number:]
        command = found
        context = click.Context(command, info_name=name, parent=context)
    return command, context, ()


def _refuse(command: click.Command, context: click.Context, rest: Sequence[str]) -> None:
    name = rest[0]
    before = context.command_path.partition(" ")[2]
    if not isinstance(command, QueueGroup):
        usage_error(f"{before} has no commands (queuectl help {before})")
    known = command.list_commands(context)
    if before:
        usage_error(f"{before} has no command {name}{suggestion(name, known)}")
    for topic in topics():
        if topic in name:  # "webhooks", "crontab"
            usage_error(f"no such command or topic: {name} (use: queuectl help {topic})")
    ours = command.foreign_word(name)
    if ours is not None:
        words = ours.partition(" -")[0]
        usage_error(f"no such command or topic: {name} (use: queuectl help {words})")
    hint = suggestion(name, [*known, *topics()])
    if hint.startswith(" (known"):
        hint = " (queuectl help lists all)"
    usage_error(f"no such command or topic: {name}{hint}")


def _list_of_topics(ctx: click.Context) -> str:
    listed = topics().values()
    formatter = ctx.make_formatter()
    widest = max(len(topic.name) for topic in listed)
    for section in dict.fromkeys(topic.section for topic in listed):
        with formatter.section(section):
            here = [topic for topic in listed if topic.section == section]
            formatter.write_dl([(topic.name.ljust(widest), topic.summary) for topic in here])
    formatter.write("\nShow one with: queuectl help COMMAND, queuectl help TOPIC\n")
    return "\n" + formatter.getvalue()


@click.command("version", cls=QueueCommand)
def version() -> None:
    """Show the version.

    \b
    Examples:
      queuectl version
    """
    output.print_data(f"queuectl {__version__}")
