"""What every command shares: how it is parsed, which queue it means, and how it fails."""

from __future__ import annotations

import os
from contextlib import suppress
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Mapping,
    NoReturn,
    Sequence,
    TypeVar,
)

import click

from queuectl.cli import output
from queuectl.core.errors import QueueError
from queuectl.core.specs import suggestion
from queuectl.host import files
from queuectl.storage.base import Base

if TYPE_CHECKING:
    from queuectl.storage import Storage

_Part = TypeVar("_Part", bound=Base)


class Failure(click.ClickException):
    """An error with the command it belongs to and its exit code."""

    def __init__(self, command: str, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.command = command
        self.exit_code = exit_code  # type: ignore[misc]


def line_of(error: click.ClickException) -> str:
    """Return an error's message as one line; click's own are put into the form that ours have."""
    message = error.format_message()
    if isinstance(error, Failure):  # it may begin or end with what a user named
        return message
    # click lists choices on lines of their own, each after a tab.
    text = message.replace("\n\t", " ").strip().rstrip(".")
    return text[:1].lower() + text[1:]


class _Command(click.Command):
    """What commands and groups share: a fast start, and errors that become failures."""

    _own_help_option: click.Option | None = None

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return --help. That of click asks gettext for its text, which imports locale: 1 ms."""
        names = self.get_help_option_names(ctx)
        if names and self._own_help_option is None:
            # Made once: click finds parameters by identity.
            self._own_help_option = eager_text_option(
                *names, text=lambda ctx: ctx.get_help(), help="Show this message and exit."
            )
        return self._own_help_option

    def make_parser(self, ctx: click.Context) -> Any:
        """Return a parser that knows short options at once.

        That of click looks for `-q` among the long ones first and imports difflib, so as to
        suggest one that is like it: 10 ms.
        """
        parser: Any = super().make_parser(ctx)
        known, short = (getattr(parser, name, {}) for name in ("_long_opt", "_short_opt"))
        for name, option in short.items():
            known.setdefault(name, option)
        return parser

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the arguments; what a parameter refuses becomes a failure."""
        path = f"{parent.command_path} {info_name}" if parent else str(info_name)
        try:
            return super().make_context(info_name, args, parent=parent, **extra)
        except QueueError as error:
            raise Failure(path, str(error), error.exit_code) from error
        except click.UsageError as error:
            if error.ctx is not None:
                raise
            # click's parser does not say whose option it is that lacks its argument.
            raise Failure(path, line_of(error), error.exit_code) from error


class QueueCommand(_Command):
    """A command: it knows --db, and turns the errors of the floors below into failures."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(queue_options(hidden=True))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the floors below or the system refuse becomes a failure."""
        try:
            return super().invoke(ctx)
        except QueueError as error:
            raise Failure(ctx.command_path, str(error), error.exit_code) from error
        except OSError as error:
            raise Failure(ctx.command_path, str(error), 1) from error


class QueueGroup(_Command, click.Group):
    """A group that suggests, knows foreign words, and answers a bare call with help and exit 2."""

    command_class = QueueCommand
    foreign_words: Mapping[str, str] = MappingProxyType({})
    """What other tools call things, and our command for each."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not any(param.name == "db" for param in self.params):
            self.params.extend(queue_options(hidden=True))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; without any argument the help goes to stderr."""
        if not args and not ctx.resilient_parsing:
            with suppress(OSError):  # as of every message
                click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the subcommand, or say which one may be meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            if name.startswith("-"):
                raise click.NoSuchOption(name, ctx=ctx)
            if name in self.foreign_words:
                hint = f" (here it is: {ctx.command_path} {self.foreign_words[name]})"
            else:
                hint = suggestion(name, self.list_commands(ctx))
            raise Failure(ctx.command_path, f"no such command: {name}{hint}", 2)
        return super().resolve_command(ctx, args)


QueueGroup.group_class = QueueGroup


def eager_text_option(
    *names: str, text: Callable[[click.Context], str], **settings: Any
) -> click.Option:
    """Return a flag that prints a text and ends the command, whatever else was given."""

    def tell(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            output.print_data(text(ctx))
            ctx.exit()

    return click.Option(
        list(names), is_flag=True, is_eager=True, expose_value=False, callback=tell, **settings
    )


def queue_options(*, hidden: bool) -> list[click.Parameter]:
    """Return --db and --allow-shared, which stand before or after a command's name."""

    def remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value not in (None, False) and param.name is not None:
            ctx.find_root().params[param.name] = value
        return value

    return [
        click.Option(
            ["--db"],
            metavar="PATH",
            expose_value=False,
            callback=remember,
            hidden=hidden,
            help="The queue's file (else QUEUECTL_DB, else ~/.local/state/queuectl/queue.db).",
        ),
        click.Option(
            ["--allow-shared"],
            is_flag=True,
            expose_value=False,
            callback=remember,
            hidden=hidden,
            help="Use a queue that others can write, and so run commands as you.",
        ),
    ]


def queue_files(ctx: click.Context | None = None) -> files.QueueFiles:
    """Return the files of the queue that this call means."""
    given = (ctx or click.get_current_context()).find_root().params
    return files.find(
        given.get("db"), os.environ.get("QUEUECTL_DB"), bool(given.get("allow_shared"))
    )


def open_storage(*, create: bool = False, write: bool = False) -> Storage:
    """Open the queue that this call means, until the command ends."""
    from queuectl.storage import Storage  # 8 ms that a command with one part does not need

    return open_part(Storage, create=create, write=write)


def open_part(part: type[_Part], *, create: bool = False, write: bool = False) -> _Part:
    """Open one part of the queue's storage, as `open_storage` does all of it.

    With -q the command says nothing of an upgrade of its file.
    """
    ctx = click.get_current_context()
    notice = None if ctx.params.get("quiet") else output.message
    storage = part.open(queue_files(), create=create, write=write, notice=notice)
    ctx.call_on_close(storage.close)
    return storage


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing unless it fails.")


def fail(message: str, exit_code: int) -> NoReturn:
    """End the command with a message and an exit code."""
    raise Failure(click.get_current_context().command_path, message, exit_code)


def usage_error(message: str) -> NoReturn:
    """End the command for wrong usage: exit 2."""
    fail(message, 2)


def each(names: Sequence[str], act: Callable[[str], None]) -> int:
    """Do something to each of several jobs, with a line for each that cannot.

    Returns the exit code: 1 if one could not. Of one job its own error is raised; when the queue
    is busy nothing more is tried.
    """
    code = 0
    for name in names:
        try:
            act(name)
        except QueueError as error:
            if len(names) == 1 or error.exit_code == 75:
                raise
            output.error(click.get_current_context().command_path, str(error))
            code = 1
    return code
