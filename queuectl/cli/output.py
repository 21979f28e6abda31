"""The standard streams: data and JSON go to stdout, messages to stderr."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import IO, Any, Callable, Iterable, Iterator, Mapping, NoReturn

import click

from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape, escape_json

_CHUNK = 1 << 16


def prepare_streams() -> None:
    """Make the standard streams fit for any text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # We were started with this stream closed. The first file that we open would get its
            # number, in this process and in the pool that `worker start` becomes.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
        errors = "backslashreplace" if number else "surrogateescape"
        getattr(sys, name).reconfigure(errors=errors)


def wants_color(asked: str | None = None) -> bool | None:
    """Return whether to print colours; None means on terminals only.

    What --color asked for (`auto`, `always` or `never`) comes before the environment.
    """
    if asked in ("always", "never"):
        return asked == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return True if os.environ.get("FORCE_COLOR") else None


@contextmanager
def writing_to_stdout() -> Iterator[None]:
    """Handle errors of writing to stdout. Everything that prints data does so inside of this.

    If the reader of a pipe has gone, the process ends by SIGPIPE, without a message, as other
    programs do. Any other error becomes a QueueError.
    """
    try:
        yield
    except BrokenPipeError:
        end_by_sigpipe()
    except OSError as error:
        raise QueueError(f"cannot write to stdout: {error.strerror}") from None


_before_sigpipe: list[Callable[[], object]] = []


@contextmanager
def calling_before_sigpipe(function: Callable[[], object]) -> Iterator[None]:
    """Call a function before the process ends because the reader of its stdout has gone."""
    _before_sigpipe.append(function)
    try:
        yield
    finally:
        _before_sigpipe.remove(function)


def end_by_sigpipe() -> NoReturn:
    """End the process by SIGPIPE itself, so that its exit status is the usual one.

    Python ignores SIGPIPE from its start on, and it must stay ignored up to here. Otherwise waking
    a worker that is just leaving would kill us, after the commit and before the id is printed.
    """
    from signal import SIGPIPE  # only when it is needed

    from queuectl.host.signals import die_by

    for function in _before_sigpipe:
        function()
    die_by(SIGPIPE)
    raise AssertionError


def print_data(text: str, *, line_break: bool = True) -> None:
    """Print text to stdout as it is. Raises QueueError if that fails."""
    with writing_to_stdout():
        click.echo(text, nl=line_break)


def print_line(text: str) -> None:
    """Print one line for people to stdout; what a file or a user put into it is escaped."""
    print_data(escape(text))


def print_styled(text: str) -> None:
    """Print a line that has styles; what a file or a user put into it must be escaped before."""
    print_data(text)


def for_terminal(text: str) -> str:
    """Return a text for a terminal that is redrawn: without its styles, if none are wanted.

    click would drop the control sequences that redraw as well.
    """
    context = click.get_current_context(silent=True)
    return click.unstyle(text) if context is not None and context.color is False else text


def print_bytes(chunk: bytes) -> None:
    """Print bytes to stdout as they are. Raises QueueError if that fails."""
    with writing_to_stdout():
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def print_file(source: IO[str]) -> None:
    """Print the rest of a text file to stdout. Raises QueueError if that fails."""
    with writing_to_stdout():
        while True:
            chunk = source.read(_CHUNK)
            if not chunk:
                break
            sys.stdout.write(chunk)
        sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print_data(to_json(value, indent=2))


def print_json_array(items: Iterable[Any]) -> None:
    """Print one JSON array, one item per line, without holding all items in memory."""
    _print_items("[", items, "]", indent=" ")


def print_json_object(fields: Mapping[str, Any], array: str, items: Iterable[Any]) -> None:
    """Print one JSON object with these fields, then an array, without holding all its items."""
    opened = to_json(fields, indent=2)[: -len("\n}")]
    _print_items(f'{opened},\n  "{array}": [', items, "]\n}", indent="    ")


def _print_items(before: str, items: Iterable[Any], after: str, *, indent: str) -> None:
    print_data(before, line_break=False)
    separator = f"\n{indent}"
    for item in items:
        print_data(separator + to_json(item), line_break=False)
        separator = f",\n{indent}"
    print_data(after)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON that stdout can hold and that drives no terminal."""
    import json  # not every command needs it

    return escape_json(json.dumps(value, indent=indent, ensure_ascii=needs_ascii()))


def needs_ascii() -> bool:
    """Return whether stdout lacks some characters, so that JSON must escape all but ASCII."""
    return not sys.stdout.encoding.lower().startswith("utf")


def message(text: str) -> None:
    """Print a message to stderr. One that cannot be written changes nothing about the command."""
    try:
        click.echo(escape(text), err=True)
    except OSError:
        pass


def styled_message(text: str) -> None:
    """Print a message that has styles; what a file or a user put into it must be escaped before."""
    with suppress(OSError):
        click.echo(text, err=True)


def hint(*parts: str) -> None:
    """Print what only helps a person: parts joined by semicolons, as many on one line as fit.

    Prints nothing if stderr is no terminal.
    """
    if not sys.stderr.isatty():
        return
    from queuectl.core.cells import width  # only on a terminal

    room = line_width(of_stderr=True) or 80
    line = ""
    for part in parts:
        joined = f"{line}; {part}" if line else part
        if line and width(escape(joined)) > room:
            message(line)
            joined = part
        line = joined
    if line:
        message(line)


def error(command: str, text: str) -> None:
    """Print an error as one line: `queuectl COMMAND: what (what to do)`."""
    message(f"{command}: {text}")


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def line_width(*, of_stderr: bool = False) -> int | None:
    """Return how many cells a line of stdout (or stderr) has; None if it has no limit.

    COLUMNS comes first, for example in `watch`; off a terminal there is no limit without it.
    """
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return int(given)
    stream = sys.stderr if of_stderr else sys.stdout
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def screen_lines() -> int | None:
    """Return how many lines the terminal on stdout shows; None if it does not tell."""
    given = os.environ.get("LINES", "")
    if given.isascii() and given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or None
    except OSError:
        return None


def can_animate() -> bool:
    """Return whether stdout is a terminal that can redraw."""
    return on_terminal() and os.environ.get("TERM", "dumb") != "dumb"
