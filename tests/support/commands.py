"""All commands of the command line, found through the command `queuectl` itself."""

from __future__ import annotations

from typing import Iterator

import click

from queuectl.cli.app import root


def commands(*, groups: bool = False) -> dict[str, click.Command]:
    """Return every command under its full name, in the order of the help; `groups`: these, too.

    Hidden commands, which only queuectl itself calls, are not among them.
    """
    return dict(_below(root, "", groups=groups))


def _below(
    command: click.Command, name: str, *, groups: bool
) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    if groups:
        yield name, command
    context = click.Context(command)
    for word in command.list_commands(context):
        found = command.get_command(context, word)
        assert found is not None
        if found.hidden:
            continue
        yield from _below(found, f"{name} {word}".strip(), groups=groups)
