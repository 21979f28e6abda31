"""The command `completion`: the scripts that shells load."""

from __future__ import annotations

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand


@click.command("completion", cls=QueueCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    eval "$(queuectl completion bash)"                                   in ~/.bashrc
    eval "$(queuectl completion zsh)"                                    in ~/.zshrc
    queuectl completion fish > ~/.config/fish/completions/queuectl.fish
    """
    from click.shell_completion import get_completion_class  # only here

    found = get_completion_class(shell)
    assert found is not None
    made = found(ctx.find_root().command, {}, "queuectl", "_QUEUECTL_COMPLETE")
    # Not source(): for bash that runs bash to ask for its version, which may not be installed.
    output.print_data(made.source_template % made.source_vars())
