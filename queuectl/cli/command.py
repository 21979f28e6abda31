"""The base of all commands: parsing, opening the queue, and errors that become exit codes."""

from __future__ import annotations

import os
import sys
import time
from contextlib import nullcontext, suppress
from itertools import islice
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Iterable,
    Mapping,
    NoReturn,
    TypeVar,
)

import click

from queuectl.cli import offers, output
from queuectl.core.errors import QueueBusy, QueueError
from queuectl.core.escaping import escape
from queuectl.core.specs import suggestion
from queuectl.host import files
from queuectl.storage.base import Base

if TYPE_CHECKING:
    from queuectl.storage import Storage

_Part = TypeVar("_Part", bound=Base)
_Item = TypeVar("_Item")
_Function = TypeVar("_Function", bound=Callable[..., Any])
_MOST_PER_BATCH = 500
_BATCH_SECONDS = 0.05
"""How long a batch keeps the write lock, about; others wait for so long."""


class Failure(click.ClickException):
    """An error that ends the command; it knows the command and the exit code."""

    def __init__(self, command: str, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.command = command
        self.exit_code = exit_code  # type: ignore[misc]


class Called:
    """The command that was called, for errors that nothing below the root command expects.

    It is the `obj` of click's contexts.
    """

    path: str = "queuectl"
    """Its name, as errors begin with it."""
    failure_code: int = 1
    """The exit code when queuectl itself fails."""


def line_of(error: click.ClickException) -> str:
    """Return the message of an error as one line; click's messages get the form of ours."""
    message = error.format_message()
    if isinstance(error, Failure):  # it has our form, and may begin with a word of the user
        return message
    if isinstance(error, click.NoSuchOption):
        from queuectl.cli.hints import of_option  # only on the way to an error

        return f"no such option: {error.option_name}{of_option(error)}"
    # click prints each choice on its own line, after a tab.
    text = message.replace("\n\t", " ").strip().rstrip(".")
    hint = ""
    if isinstance(error, click.UsageError) and "unexpected extra argument (" in text:
        from queuectl.cli.hints import of_extra_argument  # only on the way to an error

        hint = of_extra_argument(error, text)
    return f"{text[:1].lower()}{text[1:]}{hint}"


def knowing_short_options(parser: Any) -> Any:
    """Let a parser of click find `-q` at once.

    It looks for `-q` among the long options first, then imports difflib to suggest one that is like
    it: 2 of the 40 ms that `enqueue -q` takes.
    """
    known, short = (getattr(parser, name, {}) for name in ("_long_opt", "_short_opt"))
    for name, option in short.items():
        known.setdefault(name, option)
    return parser


class Option(click.Option):
    """An option whose help is one line already.

    click would clean the help by `inspect`, which takes 4 of the 40 ms of `enqueue` to import.
    """

    def __init__(self, *names: Any, **settings: Any) -> None:
        text = settings.pop("help", None)
        super().__init__(*names, **settings)
        self.help = text


def option(*names: str, **settings: Any) -> Callable[[_Function], _Function]:
    """Add an option to the function of a command."""
    return click.option(*names, cls=Option, **settings)


def all_of(*added: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    """Add several options to the function of a command, in the order of its help."""

    def add(function: _Function) -> _Function:
        for one in reversed(added):
            function = one(function)
        return function

    return add


class _Command(click.Command):
    """The base of commands and groups."""

    failure_code = 1
    """The exit code when queuectl itself fails, as opposed to the jobs or the caller."""
    _own_help_option: click.Option | None = None

    def get_short_help_str(self, limit: int = 200) -> str:
        """Return the first sentence of the help whole: click would cut it for completion."""
        return super().get_short_help_str(max(limit, 200))

    def get_help(self, ctx: click.Context) -> str:
        """Return the help."""
        from queuectl.cli.help_layout import Formatter  # only when it is needed

        formatter = Formatter(width=ctx.terminal_width, max_width=ctx.max_content_width)
        self.format_help(ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return --help, which prints as all commands do: a full stdout is an error, in one line.

        The one of click would also load `locale`, for a translated text: 0.7 ms on Python 3.13.
        """
        names = self.get_help_option_names(ctx)
        made = self._own_help_option
        # Made once: click finds parameters by identity.
        if names and (made is None or sorted(made.opts) != sorted(names)):
            self._own_help_option = eager_text_option(
                *names, text=lambda ctx: ctx.get_help(), help="Show this message and exit."
            )
        return self._own_help_option

    def make_parser(self, ctx: click.Context) -> Any:
        """Return a parser that knows short options at once."""
        return knowing_short_options(super().make_parser(ctx))

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the arguments; an error of a parameter becomes a Failure."""
        path = f"{parent.command_path} {info_name}" if parent else str(info_name)
        if parent is not None and isinstance(parent.obj, Called):
            parent.obj.path, parent.obj.failure_code = path, self.failure_code
        try:
            return super().make_context(info_name, args, parent=parent, **extra)
        except QueueError as error:
            raise Failure(path, str(error), error.exit_code) from error
        except click.UsageError as error:
            if error.ctx is not None:
                raise
            # For an option without its argument, click does not know the command.
            raise Failure(path, line_of(error), error.exit_code) from error


class QueueCommand(_Command):
    """A command: it has --db, and turns errors of the storage into Failures."""

    def __init__(
        self, *args: Any, sections: Mapping[str, str] = MappingProxyType({}), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(queue_options(hidden=True))
        self.sections = sections
        """The sections of the options in the help, each with the long names of its options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their sections."""
        from queuectl.cli import help_layout  # only when it is needed

        help_layout.write(self, ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the storage or the system becomes a Failure."""
        try:
            return super().invoke(ctx)
        except QueueError as error:
            raise Failure(ctx.command_path, str(error), error.exit_code) from error
        except OSError as error:
            raise Failure(ctx.command_path, str(error), ctx.obj.failure_code) from error


class QueueGroup(_Command, click.Group):
    """A group of commands: it suggests a command for a wrong word; alone it prints its help."""

    command_class = QueueCommand

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not any(param.name == "db" for param in self.params):
            self.params.extend(queue_options(hidden=True))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of their definitions, that of use."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; without any argument print the help to stderr and end with exit code 2."""
        if not args and not ctx.resilient_parsing:
            with suppress(OSError):  # as for every message
                click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the subcommand, or suggest one in an error."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            if name.startswith("-"):
                raise click.NoSuchOption(name, ctx=ctx)
            hint = self._hint(ctx, name)
            raise Failure(ctx.command_path, f"no such command: {name}{hint}", 2)
        return super().resolve_command(ctx, args)

    def foreign_word(self, name: str) -> str | None:
        """Return our command for a word that other tools have for it; None if there is none."""
        from queuectl.cli.hints import FOREIGN_COMMANDS  # only on the way to an error

        return FOREIGN_COMMANDS.get(self.name or "", {}).get(name)

    def _hint(self, ctx: click.Context, name: str) -> str:
        """Return what to do about a word that is no command."""
        from queuectl.cli.hints import EXPLANATIONS  # only on the way to an error

        explanation = EXPLANATIONS.get(self.name or "", {}).get(name)
        if explanation is not None:
            return f" ({explanation})"
        ours = self.foreign_word(name)
        if ours is not None:
            return f" (use: {ctx.command_path} {ours})"
        return suggestion(name, self.list_commands(ctx))


QueueGroup.group_class = QueueGroup


def eager_text_option(
    *names: str, text: Callable[[click.Context], str], **settings: Any
) -> click.Option:
    """Return a flag that prints a text and ends the command before anything else is checked."""

    def show(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            output.print_data(text(ctx))
            ctx.exit()

    return Option(
        list(names), is_flag=True, is_eager=True, expose_value=False, callback=show, **settings
    )


def queue_options(*, hidden: bool) -> list[click.Parameter]:
    """Return the options that may come before or after a command's name."""

    def remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value not in (None, False) and param.name is not None:
            ctx.find_root().params[param.name] = value
        return value

    def choose_color(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is not None:
            ctx.color = output.wants_color(value)
        return remember(ctx, param, value)

    return [
        Option(
            ["--db"],
            metavar="PATH",
            shell_complete=offers.path(),
            expose_value=False,
            callback=remember,
            hidden=hidden,
            help="The queue's file (default: QUEUECTL_DB, or ~/.local/state/queuectl/queue.db).",
        ),
        Option(
            ["--allow-shared"],
            is_flag=True,
            expose_value=False,
            callback=remember,
            hidden=hidden,
            help="Use a queue that other users can write to, so they can run commands as you.",
        ),
        Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            expose_value=False,
            callback=choose_color,
            hidden=hidden,
            help="When to print colours (default: auto, on a terminal).",
        ),
    ]


def queue_files(ctx: click.Context | None = None) -> files.QueueFiles:
    """Return the files of the queue that the options and the environment name."""
    given = (ctx or click.get_current_context()).find_root().params
    return files.find(
        given.get("db"), os.environ.get("QUEUECTL_DB"), bool(given.get("allow_shared"))
    )


def open_storage(*, create: bool = False, write: bool = False) -> Storage:
    """Open the queue; it is closed when the command ends."""
    from queuectl.storage import Storage  # 8 ms that `open_part` saves

    return open_part(Storage, create=create, write=write)


def open_part(part: type[_Part], *, create: bool = False, write: bool = False) -> _Part:
    """Open the queue with only one part of its storage; it is closed when the command ends.

    With -q an upgrade of the file is not reported.
    """
    ctx = click.get_current_context()
    notice = None if ctx.params.get("quiet") else output.message
    storage = part.open(queue_files(), create=create, write=write, notice=notice)
    ctx.call_on_close(storage.close)
    return storage


json_option = option("--json", "as_json", is_flag=True, help="Print JSON (see queuectl help json).")
quiet_option = option("-q", "--quiet", is_flag=True, help="Print nothing on success.")


def fail(message: str, exit_code: int) -> NoReturn:
    """End the command with a message and an exit code."""
    raise Failure(click.get_current_context().command_path, message, exit_code)


def usage_error(message: str) -> NoReturn:
    """End the command because of wrong usage, with exit code 2."""
    fail(message, 2)


def each(
    items: Iterable[_Item],
    act: Callable[[_Item], str | None],
    batch: Callable[[], ContextManager[None]] = nullcontext,
    report: Callable[[str], None] = output.print_line,
    refuse: Callable[[str, str], None] = output.error,
) -> int:
    """Do something to each of several jobs; report what `act` returns, unless it is None.

    Prints an error for each job that is refused. Returns the exit code: 1 if one was refused. The
    error of a single job is raised instead. When the queue is busy, the remaining jobs are not
    tried. `batch` is a context in which some hundred jobs are done, for a limited time; only after
    that is anything reported, or an error given to `refuse`, with the path of the command.
    """
    code = 0
    remaining = iter(items)
    chunk = list(islice(remaining, _MOST_PER_BATCH))
    single = len(chunk) == 1
    while chunk:
        results: list[str | QueueError | None] = []
        with batch():
            end = time.monotonic() + _BATCH_SECONDS
            for item in chunk:
                try:
                    results.append(act(item))
                except QueueError as error:
                    if single or isinstance(error, QueueBusy):
                        raise
                    results.append(error)
                if time.monotonic() >= end:
                    break
        for result in results:
            if isinstance(result, QueueError):
                refuse(click.get_current_context().command_path, str(result))
                code = 1
            elif result is not None:
                report(result)
        chunk = chunk[len(results) :] or list(islice(remaining, _MOST_PER_BATCH))
    return code


def can_ask() -> bool:
    """Whether somebody can be asked: both ends of a question are on a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(consequence: str, question: str, otherwise: str) -> None:
    """Ask on a terminal. Ends the command unless the answer is yes, and where nobody can answer."""
    if not can_ask():
        usage_error(f"{consequence} (confirm with --yes)")
    # Not click.confirm: before 8.2 it prints a blank to stdout even with err=True.
    click.echo(f"{escape(question)} [y/N]: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise QueueError(otherwise)
