"""Command lines that end in a shell command, perhaps a template with arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence, TypeVar

import click

from queuectl.cli.command import QueueCommand, all_of, option, usage_error
from queuectl.cli.job_options import refuse_late_options, split_words
from queuectl.core.specs import is_json

if TYPE_CHECKING:
    from queuectl.core.arguments import Source

_Function = TypeVar("_Function", bound=Callable[..., Any])


template_options = all_of(
    option(
        "-0",
        "--null",
        is_flag=True,
        help="With ::::, arguments end with a NUL byte, as find -print0 writes them.",
    ),
    option("--dry-run", is_flag=True, help="Print the commands, and store nothing."),
)


class NamedCommandLine(QueueCommand):
    """A name, and then a command. Options come before the first word of the command.

    `hook add NAME --on dead mail me`, `edit JOB --priority 3 make`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse options before and after the name; `literal` tells whether `--` ended them."""
        options, words = split_words(self, ctx, args)
        literal = options[-1:] == ["--"]
        if words:
            command = words[1:]
            if not literal:
                after_name, command = split_words(self, ctx, command)
                options += after_name
                literal = options[-1:] == ["--"]
            args = [*(options[:-1] if literal else options), "--", words[0], *command]
        rest = super().parse_args(ctx, args)
        ctx.params["literal"] = literal
        return rest


class CommandLine(QueueCommand):
    """Options come before the command; everything from its first word on belongs to it.

    After a JSON object or `-`, which are one word, options may still follow.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse by what the first word is; `literal` tells whether `--` came before it."""
        options, words = split_words(self, ctx, args)
        literal = options[-1:] == ["--"]
        ctx.allow_interspersed_args = not literal and _takes_options_after(words)
        rest = super().parse_args(ctx, args)
        ctx.params["literal"] = literal
        return rest


def _takes_options_after(words: Sequence[str]) -> bool:
    if not words or is_template(words):
        return False
    return words[0] == "-" or words[0].startswith("{")


def is_template(words: Sequence[str]) -> bool:
    """Whether the words hold `:::` or one of its relatives."""
    if not any(word.startswith(":::") for word in words):
        return False
    from queuectl.core.arguments import SEPARATORS  # only when it is needed

    return any(word in SEPARATORS for word in words)


def template_of(words: Sequence[str]) -> tuple[tuple[str, ...], list[Source]]:
    """Return the words of a template and its sources; ends the command if they make no sense."""
    from queuectl.core.arguments import split  # only when it is needed

    template, sources = split(words)
    if not template:
        usage_error("no command before ::: (for a command per line, use --lines)")
    if template[0] != "{}" and is_json(template[0]):
        usage_error("::: cannot be used with a JSON object")
    if len(template) > 1:
        refuse_late_options(template)
    return template, sources
