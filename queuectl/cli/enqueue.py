"""The command `enqueue`: from words, JSON and options to a job."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, open_storage, queue_files, quiet_option, usage_error
from queuectl.errors import InvalidInput
from queuectl.specs import JobSpec, check_fields, parse_object
from queuectl.storage import Enqueued
from queuectl.supervisor import running_pools
from queuectl.times import format_duration, utcnow

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII | re.DOTALL)


class _EnqueueCommand(QueueCommand):
    """Options come before the command; what follows its first word belongs to it.

    After a JSON object, which is one word, options may still follow.
    """

    def parse_args(self, ctx: click.Context, args: List[str]) -> List[str]:
        """Find the first word, then parse by what it is."""
        ctx.allow_interspersed_args = False
        _, words, _ = self.make_parser(ctx).parse_args(list(args))
        ctx.meta["forced"] = bool(words) and args[: -len(words)][-1:] == ["--"]
        if words and words[0].startswith("{") and not ctx.meta["forced"]:
            ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)


@click.command("enqueue", cls=_EnqueueCommand)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SPEC | COMMAND [ARG]...")
@click.option("--id", "id", metavar="ID", help="The job's id (made by itself: 12 hex digits).")
@click.option("--queue", metavar="NAME", help="The queue to put it into (default: default).")
@click.option("--priority", type=int, metavar="N", help="Higher runs first (default: 0).")
@click.option("--max-retries", type=int, metavar="N", help="Run it at most so often.")
@click.option("--timeout", metavar="D", help="Kill it after so long: 90, 10m, 1h30m; 0 = never.")
@click.option("--delay", metavar="D", help="Run it no sooner than after so long.")
@click.option("--at", metavar="TIME", help="Run it no sooner than: 18:00, 2026-12-24T18:00.")
@click.option("--cwd", metavar="DIR", help="The folder it runs in (default: this one).")
@click.option("--env", multiple=True, metavar="K=V | K | *", help="A variable for it; K: as here.")
@click.option("--label", metavar="TEXT", help="A note for people.")
@quiet_option
def enqueue(words: Tuple[str, ...], env: Sequence[str], quiet: bool, **options: Any) -> None:
    """Store a shell command as a job; prints its id.

    One word is a shell command as written, or the JSON object of a job; several words are one
    command with its arguments. Options come before the command.

    \b
    queuectl enqueue 'tar czf home.tgz ~ && echo ok'
    queuectl enqueue --timeout 1h rsync -a src/ backup:dst/
    queuectl enqueue '{"command": "make", "priority": 5}'
    """
    now = utcnow()
    defaults = check_fields(_option_fields(options, env), now=now)
    given = _given_fields(words, forced=click.get_current_context().meta["forced"])
    if "cwd" not in defaults and given.get("cwd") is None:
        defaults["cwd"] = _current_folder()
    spec = JobSpec.from_fields(given, now=now, defaults=defaults)
    storage = open_storage(create=True)
    enqueued = storage.enqueue([spec], now=now, environ=os.environ)[0]
    if quiet:
        return
    _print_id(enqueued)
    if sys.stderr.isatty():
        output.tell(_summary(enqueued))


def _option_fields(options: Mapping[str, Any], env: Sequence[str]) -> Dict[str, object]:
    fields: Dict[str, object] = {"run_at": options["at"]}
    for name in ("id", "queue", "priority", "max_retries", "cwd", "label"):
        fields[name] = options[name]
    for name in ("timeout", "delay"):
        # A bare number of seconds is text here, but a number in JSON.
        text = options[name]
        fields[name] = float(text) if text is not None and text.strip().isdigit() else text
    variables = _variables(env)
    fields["env"] = variables or None
    return fields


def _variables(given: Sequence[str]) -> Dict[str, str]:
    variables: Dict[str, str] = {}
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


def _given_fields(words: Sequence[str], *, forced: bool) -> Dict[str, object]:
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
    if len(words) == 1:
        return {"command": first}
    if any(char.isspace() for char in first) and not forced:
        usage_error("options go before the command (or quote all of it as one word)")
    return {"command": _shell_text(words)}


def _shell_text(words: Sequence[str]) -> str:
    """Return a command and its arguments as the shell must read them; `FOO=bar cmd` works."""
    import shlex  # only here

    texts = []
    leading = True
    for word in words:
        assignment = _ASSIGNMENT.fullmatch(word) if leading else None
        leading = assignment is not None
        if assignment is not None:
            texts.append(f"{assignment.group(1)}={shlex.quote(assignment.group(2))}")
        else:
            texts.append(shlex.quote(word))
    return " ".join(texts)


def _current_folder() -> str:
    """Return the current folder under the name that the shell has for it, if that is right."""
    try:
        named = os.environ.get("PWD", "")
        if os.path.isabs(named) and os.path.samefile(named, "."):
            return os.path.normpath(named) if ".." not in named.split("/") else os.getcwd()
        return os.getcwd()
    except OSError:
        pass
    try:
        return os.getcwd()
    except OSError:
        raise InvalidInput("the current folder is gone (use --cwd)") from None


def _print_id(enqueued: Enqueued) -> None:
    try:
        output.emit(enqueued.id)
        sys.stdout.flush()
    except OSError as error:
        raise click.ClickException(
            f"job {enqueued.id} is enqueued, but cannot write to stdout: {error.strerror}"
        ) from None


def _summary(enqueued: Enqueued) -> str:
    limit = f"timeout {format_duration(enqueued.timeout)}" if enqueued.timeout else "no timeout"
    runs = f"up to {enqueued.max_retries} run{'s' if enqueued.max_retries > 1 else ''}"
    parts = [f"queued in {enqueued.queue}", limit, runs]
    if not _is_served(enqueued.queue):
        parts.append("no worker is running (queuectl worker start)")
    return "; ".join(parts)


def _is_served(queue: Optional[str]) -> bool:
    return any(pool.serves([queue] if queue else []) for pool in running_pools(queue_files()))
