"""From words and options on the command line to the fields of a job."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any, Callable, Mapping, Sequence, TypeVar

import click

from queuectl.cli import output
from queuectl.cli.command import usage_error
from queuectl.core.errors import InvalidInput
from queuectl.core.settings import is_variable
from queuectl.core.specs import check_fields, parse_object
from queuectl.storage.enqueueing import Enqueued

_Function = TypeVar("_Function", bound=Callable[..., Any])


def job_options(*, new: bool) -> Callable[[_Function], _Function]:
    """Add the options that say how a job runs; only a new one has defaults where none is given."""

    def described(meaning: str, default: str) -> str:
        return f"{meaning} (default: {default})." if new else f"{meaning}."

    options = (
        click.option("--queue", metavar="NAME", help=described("The queue it is in", "default")),
        click.option("--priority", type=int, metavar="N", help=described("Higher runs first", "0")),
        click.option("--max-retries", type=int, metavar="N", help="Run it at most so often."),
        click.option(
            "--timeout", metavar="D", help="Kill it after so long: 90, 10m, 1h30m; 0 = never."
        ),
        click.option("--delay", metavar="D", help="Run it no sooner than after so long."),
        click.option(
            "--at", metavar="TIME", help="Run it no sooner than: 18:00, 2026-12-24T18:00."
        ),
        click.option("--cwd", metavar="DIR", help=described("The folder it runs in", "this one")),
        click.option(
            "--env",
            multiple=True,
            metavar="K=V | K | *",
            help="A variable for it; K: as it is here.",
        ),
        click.option("--label", metavar="TEXT", help="A note for people."),
    )

    def add(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_OPTION_OF = {
    "id": "--id",
    "queue": "--queue",
    "priority": "--priority",
    "max_retries": "--max-retries",
    "timeout": "--timeout",
    "delay": "--delay",
    "run_at": "--at",
    "cwd": "--cwd",
    "env": "--env",
    "unique_key": "--unique",
    "after": "--after",
    "after_any": "--after-any",
    "label": "--label",
}
"""Field of the JSON form -> the option that gives it."""


def check_options(fields: Mapping[str, object], *, now: datetime) -> dict[str, Any]:
    """Check what `option_fields` returned; return fields of JobSpec. Errors name the options."""
    return check_fields(fields, now=now, names=_OPTION_OF)


def option_fields(options: Mapping[str, Any], env: Sequence[str]) -> dict[str, object]:
    """Return what `job_options` (and --id, where there is one) gave, as fields of the JSON form."""
    fields: dict[str, object] = {"run_at": options["at"]}
    for name in ("id", "queue", "priority", "max_retries", "cwd", "label", "unique_key", "if_dup"):
        fields[name] = options.get(name)
    for name in ("timeout", "delay"):
        # A bare number of seconds is text here, but a number in JSON.
        text = options[name]
        bare = text is not None and text.isascii() and text.strip().isdigit()
        fields[name] = float(text) if bare else text
    variables = _variables(env)
    fields["env"] = variables or None
    for name in ("after", "after_any"):
        listed = options.get(name) or ()
        fields[name] = [job for item in listed for job in item.split(",")] or None
    return fields


def _variables(given: Sequence[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if item == "*":
            variables.update(
                (own, content)
                for own, content in os.environ.items()
                if not own.startswith("QUEUECTL_")
            )
        elif equals:
            variables[name] = value
        elif name in os.environ:
            variables[name] = os.environ[name]
        else:
            raise InvalidInput(f"--env {name}: it is not set here")
    return variables


def given_fields(words: Sequence[str], *, forced: bool) -> dict[str, object]:
    """Return the fields that the words make: those of a JSON object, or a command."""
    if not words:
        usage_error("there is no command (queuectl enqueue 'make report')")
    first = words[0]
    if first.startswith("{") and (len(words) == 1 or not forced):
        try:
            fields = parse_object(first)
        except ValueError as error:
            if not forced:
                raise InvalidInput(
                    f"not a JSON object: {error} (put -- before it if it is a command)"
                ) from None
        else:
            if len(words) > 1:
                usage_error(f"nothing may follow a JSON object but options: {words[1]}")
            return fields
    return {"command": command_text(words, forced=forced)}


def command_text(words: Sequence[str], *, forced: bool) -> str:
    """Return the command that words make: one as it is, several quoted as a shell must read them.

    `FOO=bar cmd` works. Unless `forced`, words that look like a quoted command before options are
    refused.
    """
    first = words[0]
    if len(words) == 1 or not first.strip():  # the latter is refused: an unset $VARIABLE
        return first
    program = next((word for word in words if not _assigns(word)), first)
    if not forced and (program.startswith("-") or any(char.isspace() for char in program)):
        usage_error(
            "options go before the command (or quote all of it as one word; -- before it takes "
            "the words as they are)"
        )
    import shlex  # only here

    texts = []
    leading = True
    for word in words:
        leading = leading and _assigns(word)
        name, _, value = word.partition("=")
        texts.append(f"{name}={shlex.quote(value)}" if leading else shlex.quote(word))
    return " ".join(texts)


def _assigns(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and is_variable(name)


def current_folder() -> str:
    """Return the current folder under the name that the shell has for it, if that is right."""
    try:
        named = os.environ.get("PWD", "")
        # With links in it, `..` is not what normpath takes it for.
        plain = os.path.isabs(named) and ".." not in named.split("/")
        if plain and os.path.samefile(named, "."):
            return os.path.normpath(named)
    except OSError:
        pass
    try:
        return os.getcwd()
    except OSError:
        raise InvalidInput("the current folder is gone (use --cwd)") from None


def warn_unsatisfiable(enqueued: Enqueued) -> None:
    """Say that a job waits for what will not complete by itself."""
    if enqueued.unsatisfiable:
        output.message(
            f"{enqueued.id} waits for {', '.join(enqueued.unsatisfiable)}, which will not complete "
            "unless retried (queuectl retry)"
        )
