"""The group `hook`: adding, listing, showing, removing, pausing and resuming hooks."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    each,
    json_option,
    open_storage,
    option,
    quiet_option,
    usage_error,
)
from queuectl.cli.command_line import NamedCommandLine
from queuectl.cli.commands.hook_webhook import (
    MAX_RETRIES,
    hook_deliver,
    hook_rotate,
    hook_test,
    stored_secret,
    webhook_fields,
    webhook_options,
)
from queuectl.cli.hook_listings import hook_json, print_hook, print_hooks, print_runs, run_json
from queuectl.cli.job_options import command_text, current_folder, env_option, variables_given
from queuectl.cli.parameters import DURATION, PATTERN, WholeNumber
from queuectl.core.errors import HookExists, InvalidInput, QueueError
from queuectl.core.hook_words import scope
from queuectl.core.hooks import EVENT_WORDS, TIMEOUT, NewHook, parse_events, show_events
from queuectl.core.naming import OWN_HOOKS
from queuectl.core.times import format_duration, utcnow
from queuectl.core.values import captured_variables, check_cwd, check_name, check_queue
from queuectl.storage import Storage

_SHOWN_RUNS = 10
_JSON_RUNS = 50
_SECTIONS = {
    "What it reports": "--on --queue --label --schedule",
    "How it runs": "--digest --timeout --max-retries --cwd --env",
    "Webhooks": "--url --format --output --header --secret-file --no-secret --allow-http",
    "If there is one": "--replace",
}

_name_argument = click.argument("name", metavar="NAME", shell_complete=offers.hooks)
_names_argument = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=offers.hooks
)


class _Event(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """The value of --on. If it is missing, click names the events, as for a choice."""

    name = "event"

    def get_missing_message(self, param: click.Parameter, ctx: Any = None) -> str:
        """Return the end of the error; older versions of click pass no context."""
        return f"Choose from: {', '.join(EVENT_WORDS)}"


@click.group("hook", cls=QueueGroup)
def hook() -> None:
    """Run commands when jobs end, fail or recover."""


@hook.command("add", cls=NamedCommandLine, sections=_SECTIONS)
@click.argument("name", metavar="NAME")
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[COMMAND [ARG]...]",
    shell_complete=offers.command,
)
@option(
    "--on",
    "events",
    type=_Event(),
    metavar="EVENT",
    multiple=True,
    required=True,
    shell_complete=offers.events,
    help="Report this event, one of those above (repeatable, or A,B).",
)
@option(
    "--queue",
    "queues",
    metavar="QUEUE",
    multiple=True,
    shell_complete=offers.queues,
    help="Report only jobs in this queue (repeatable, or A,B).",
)
@option(
    "--label",
    type=PATTERN,
    metavar="GLOB",
    shell_complete=offers.labels,
    help="Report only jobs whose label matches, for example 'nightly*'.",
)
@option(
    "--schedule",
    type=PATTERN,
    metavar="GLOB",
    help="Report only schedules whose name matches, and their jobs.",
)
@option(
    "--digest",
    type=DURATION,
    metavar="DURATION",
    help="Collect events for this long, then report them all at once.",
)
@option(
    "--timeout",
    type=DURATION,
    metavar="DURATION",
    help=f"Kill it if it takes longer; 0 = no limit (default: {format_duration(TIMEOUT)}).",
)
@option(
    "--max-retries",
    type=WholeNumber(0, 1_000_000),
    metavar="N",
    help="Run it at most N times in all (default: the key hook-max-retries).",
)
@option(
    "--cwd",
    metavar="DIR",
    shell_complete=offers.path("dir"),
    help="Run it in this folder (default: the current one).",
)
@env_option
@webhook_options
@option("--replace", is_flag=True, help="Change the hook that has this name already.")
@quiet_option
def hook_add(
    name: str,
    words: Sequence[str],
    literal: bool,
    events: Sequence[str],
    queues: Sequence[str],
    label: str | None,
    schedule: str | None,
    digest: float | None,
    timeout: float | None,
    max_retries: int | None,
    cwd: str | None,
    env: Sequence[str],
    replace: bool,
    quiet: bool,
    **webhook: Any,
) -> None:
    """Run a command or call a URL when jobs end; print the hook's name.

    The command runs as a job of its own, which is stored together with the result that it reports:
    no crash loses it, and it is tried again until it succeeds or is dead. It reads what happened
    from QUEUECTL_* variables, and as one JSON object from its stdin (see queuectl help hooks). Its
    job is in the queue QUEUE/hooks, which workers of QUEUE serve. A hook has no hooks.

    With --url the hook is a webhook: its job sends the JSON object to a URL, signed as Standard
    Webhooks describes. The secret is printed below the name.

    \b
    Events:
      completed   a job has completed
      dead        a job has used up its attempts
      cancelled   a job was cancelled
      finished    any of these three
      failed      an attempt has failed, and the job will be tried again
      recovered   a schedule's job has completed, and its last one had died
      drained     no job of a queue is pending, failed or running any more
      missed      a schedule has left planned times out

    \b
    Examples:
      queuectl hook add ops --on dead 'mail -s "$QUEUECTL_PARENT_ID died" me'
      queuectl hook add done --on drained --queue photos notify-send 'done'
      queuectl hook add storm --on dead --digest 5m ./report-deaths
      queuectl hook add web --on dead --url https://example.org/queue
    """
    to_url = webhook_fields(**webhook)
    new = NewHook(
        name=_checked_name(name),
        events=_events(events),
        queues=tuple(check_queue(one, "--queue") for item in queues for one in item.split(",")),
        labels="*" if label is None else label,
        schedules=schedule or "",
        command=_command(words, literal=literal, is_webhook=bool(to_url)),
        digest_seconds=digest or 0.0,
        timeout=TIMEOUT if timeout is None else timeout,
        cwd=current_folder() if cwd is None else check_cwd(cwd, "--cwd"),
    )
    given = variables_given(env)
    storage = open_storage(create=True)
    settings = storage.settings()
    captured = captured_variables(settings.capture_env, os.environ)
    usual_attempts = MAX_RETRIES if to_url else settings.hook_max_retries
    attempts = usual_attempts if max_retries is None else max(1, max_retries)
    new = new._replace(env=json.dumps({**captured, **given}), max_retries=attempts, **to_url)
    try:
        storage.add_hook(new, replace=replace, now=utcnow())
    except HookExists as error:
        raise QueueError(f"{error} (--replace changes it)") from None
    if not quiet:
        _print_added(storage, new)


def _print_added(storage: Storage, new: NewHook) -> None:
    """Print the name of a hook, and the secret of a webhook."""
    output.print_line(new.name)
    secret = None if new.url is None else storage.credentials(new.name).secret
    if secret is not None:
        output.print_line(secret)
    if sys.stderr.isatty():
        output.hint(f"{new.name} runs on {show_events(new.events)} of {scope(new)}")


def _checked_name(name: str) -> str:
    name = check_name(name, "NAME")
    if name in OWN_HOOKS:
        raise InvalidInput(f"NAME must not be {name}: a job's own hooks have that name")
    return name


def _events(given: Sequence[str]) -> tuple[str, ...]:
    try:
        return parse_events(",".join(given))
    except InvalidInput as error:
        raise InvalidInput(f"--on: {error}") from None


def _command(words: Sequence[str], *, literal: bool, is_webhook: bool) -> str | None:
    if is_webhook and words:
        usage_error("a hook runs a command or calls a URL, not both")
    if not words and not is_webhook:
        usage_error("no command given (example: queuectl hook add ops --on dead ./report)")
    return command_text(words, literal=literal) if words else None


@hook.command("list", cls=QueueCommand)
@json_option
def hook_list(as_json: bool) -> None:
    """List hooks: what they report, what they run, and how it went.

    \b
    Examples:
      queuectl hook list
      queuectl hook list --json | jq -r '.[] | select(.failures > 0) | .name'
    """
    found = open_storage().hooks()
    if as_json:
        output.print_json([hook_json(each) for each in found.hooks])
    elif not print_hooks(found.hooks) and not found.unreadable:
        output.message("no hooks yet (queuectl hook add)")
    for problem in found.unreadable:
        output.message(f"{problem} (queuectl hook remove, or add --replace)")


@hook.command("show", cls=QueueCommand)
@_name_argument
@json_option
@option("--secret", is_flag=True, help="Print only the secret of a webhook.")
def hook_show(name: str, as_json: bool, secret: bool) -> None:
    """Show a hook and its last jobs.

    \b
    Examples:
      queuectl hook show ops
    """
    storage = open_storage()
    found = storage.hook(name)
    if secret:
        output.print_line(stored_secret(storage, found))
        return
    if as_json:
        jobs = storage.hook_jobs(name, most=_JSON_RUNS)
        output.print_json({**hook_json(found), "jobs": [run_json(job) for job in jobs]})
        return
    print_hook(found)
    print_runs(storage.hook_jobs(name, most=_SHOWN_RUNS))


@hook.command("remove", cls=QueueCommand)
@_names_argument
@quiet_option
def hook_remove(names: Sequence[str], quiet: bool) -> int:
    """Remove hooks. Their jobs that are there already still run.

    \b
    Examples:
      queuectl hook remove ops
    """
    return _each(names, lambda storage, name: storage.remove_hook(name), "removed", quiet=quiet)


@hook.command("pause", cls=QueueCommand)
@_names_argument
@quiet_option
def hook_pause(names: Sequence[str], quiet: bool) -> int:
    """Let hooks report nothing. Events of the pause are not reported later either.

    To hold back the jobs of hooks, and let them run later: `queuectl queue pause QUEUE/hooks`.

    \b
    Examples:
      queuectl hook pause ops
    """
    return _each(
        names, lambda storage, name: storage.pause_hook(name, now=utcnow()), "paused", quiet=quiet
    )


@hook.command("resume", cls=QueueCommand)
@_names_argument
@quiet_option
def hook_resume(names: Sequence[str], quiet: bool) -> int:
    """Let hooks report again.

    They were paused, or their receiver has refused them for good.

    \b
    Examples:
      queuectl hook resume ops
    """
    return _each(names, lambda storage, name: storage.resume_hook(name), "resumed", quiet=quiet)


for _command_of_webhooks in (hook_test, hook_rotate, hook_deliver):
    hook.add_command(_command_of_webhooks)


def _each(
    names: Sequence[str], act: Callable[[Storage, str], None], done: str, *, quiet: bool
) -> int:
    """Do something to each of these hooks; return the exit code."""
    storage = open_storage(write=True)

    def act_on_one(name: str) -> str | None:
        act(storage, name)
        return None if quiet else f"{done} {name}"

    return each(list(dict.fromkeys(names)), act_on_one)
