"""The command `completion`: scripts for the completion of shells."""

from __future__ import annotations

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand


@click.command("completion", cls=QueueCommand)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Examples:
      eval "$(queuectl completion bash)"             in ~/.bashrc
      eval "$(queuectl completion zsh)"              in ~/.zshrc
      queuectl completion fish > ~/.config/fish/completions/queuectl.fish
    """
    from click.shell_completion import get_completion_class  # only here

    found = get_completion_class(shell)
    assert found is not None
    made = found(ctx.find_root().command, {}, "queuectl", "_QUEUECTL_COMPLETE")
    # Not found.source(): for bash it runs bash to ask for its version, and there may be none.
    output.print_data(made.source_template % made.source_vars())
