"""The command `completion`: scripts for the completion of shells."""

from __future__ import annotations

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand


@click.command("completion", cls=QueueCommand)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    It completes commands, options, jobs, queues, workers, labels, keys, files, and the commands of
    jobs. bash looks for it in the folder ~/.local/share/bash-completion/completions (as queuectl),
    zsh in the folders of its fpath (as _queuectl). A wheel that is installed for the whole system
    brings the scripts along.

    \b
    Examples:
      eval "$(queuectl completion bash)"    (in ~/.bashrc)
      eval "$(queuectl completion zsh)"     (in ~/.zshrc)
      queuectl completion fish > ~/.config/fish/completions/queuectl.fish
    """
    from queuectl.cli.shells import script  # it imports what only completion needs

    output.print_data(script(shell))
