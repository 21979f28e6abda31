"""The commands `hook deliver`, `test` and `rotate`, and the options of `hook add` for webhooks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any, Callable, Sequence, TypeVar

import click

from queuectl.cli import offers, output
from queuectl.cli.command import (
    QueueCommand,
    all_of,
    fail,
    open_storage,
    option,
    quiet_option,
    usage_error,
)
from queuectl.cli.inside_job import own_job
from queuectl.cli.parameters import DURATION, SIZE
from queuectl.core import webhooks
from queuectl.core.errors import InvalidInput, NoSuchHook, QueueError
from queuectl.core.hooks import Hook
from queuectl.core.models import Job
from queuectl.core.settings import Settings
from queuectl.core.times import format_duration, utcnow
from queuectl.runner import process_tree
from queuectl.storage import Storage
from queuectl.worker import sending

_Function = TypeVar("_Function", bound=Callable[..., object])

MAX_RETRIES = 30
"""How often a webhook is tried unless the user says so: a receiver may be down for a night."""
_PING_OUTPUT_BYTES = 10_000
_MOST_OUTPUT_BYTES = 10_000
"""With more, the payload would grow beyond the 20 kB that receivers can be expected to take."""
_LONGEST_PAUSE = 30.0
"""The longest time, in seconds, that a delivery waits because its receiver asks for it."""
_TOO_BUSY = (429, 502, 503, 504)
_GONE = 410
_ROTATION = 24 * 3600.0
_TOOK_TOO_LONG = 124


webhook_options = all_of(
    option(
        "--url",
        metavar="URL",
        help="Send the event there with POST, instead of running a command.",
    ),
    option(
        "--format",
        "url_format",
        type=click.Choice(webhooks.FORMATS),
        help="What to send: signed JSON (standard), a healthchecks.io ping, a message for "
        "Slack, or one line of text, as for ntfy (default: standard).",
    ),
    option(
        "--output",
        "output_bytes",
        type=SIZE,
        metavar="SIZE",
        help="Also send this much of the end of the job's output (default: none; 10000 bytes "
        "to healthchecks.io).",
    ),
    option(
        "--header",
        "headers",
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Also send this header (repeatable).",
    ),
    option(
        "--secret-file",
        metavar="FILE",
        shell_complete=offers.path("file"),
        help="Sign with the secret in this file (default: a new secret, which is printed).",
    ),
    option("--no-secret", is_flag=True, help="Do not sign."),
    option("--allow-http", is_flag=True, help="Allow http://, which others can read."),
)


def webhook_fields(
    *,
    url: str | None,
    url_format: str | None,
    output_bytes: int | None,
    headers: Sequence[str],
    secret_file: str | None,
    no_secret: bool,
    allow_http: bool,
) -> dict[str, Any]:
    """Check the options of a webhook; return fields of NewHook. Empty without --url."""
    if url is None:
        given = {
            "--format": url_format,
            "--output": output_bytes,
            "--header": headers,
            "--secret-file": secret_file,
            "--no-secret": no_secret,
            "--allow-http": allow_http,
        }
        for name, value in given.items():
            if value:
                usage_error(f"{name} needs --url")
        return {}
    form = url_format or "standard"
    signs = form == "standard" and not no_secret
    if secret_file is not None and not signs:
        usage_error("--secret-file: only --format standard is signed, and not with --no-secret")
    if output_bytes is not None and output_bytes > _MOST_OUTPUT_BYTES:
        usage_error(f"--output must be at most {_MOST_OUTPUT_BYTES} bytes")
    try:
        webhooks.check_url(url, allow_http=allow_http)
    except InvalidInput as error:
        hint = " (--allow-http sends it all the same)" if "plain http" in str(error) else ""
        raise InvalidInput(f"--url: {error}{hint}") from None
    default_bytes = _PING_OUTPUT_BYTES if form == "healthchecks" else 0
    return {
        "url": url,
        "format": form,
        "output_bytes": default_bytes if output_bytes is None else output_bytes,
        "header": json.dumps(dict(map(_header, headers))),
        "secret_file": None if secret_file is None else _checked_file(secret_file),
        "secret": _new_secret() if signs and secret_file is None else None,
    }


def _new_secret() -> str:
    return webhooks.new_secret(os.urandom(32))


def stored_secret(storage: Storage, found: Hook) -> str:
    """Return the secret of a webhook. Raises QueueError if none is stored in the queue."""
    own = storage.credentials(found.name)
    if own.secret is not None:
        return own.secret
    if found.url is None:
        raise QueueError(f"the hook {found.name} has no secret: it runs a command")
    if own.secret_file is not None:
        raise QueueError(f"the secret of the hook {found.name} is in {own.secret_file}")
    raise QueueError(f"the hook {found.name} has no secret")


def _header(text: str) -> tuple[str, str]:
    try:
        return webhooks.check_header(text)
    except InvalidInput as error:
        raise InvalidInput(f"--header: {error}") from None


def _checked_file(path: str) -> str:
    path = os.path.abspath(path)
    try:
        sending.secret_of_file(path)
    except QueueError as error:
        raise InvalidInput(f"--secret-file: {error}") from None
    return path


@click.command("deliver", cls=QueueCommand, hidden=True)
def hook_deliver() -> int:
    """Send the event that this job reports. This is what the job of a webhook runs."""
    name, event_id = (os.environ.get(f"QUEUECTL_{word}") for word in ("HOOK", "EVENT_ID"))
    if name is None or event_id is None:
        usage_error("only the job of a webhook can run this (to try one: queuectl hook test)")
    storage = open_storage(write=True)
    job = own_job(storage)
    if job is None:
        usage_error("only the job of a webhook can run this (to try one: queuectl hook test)")
    payload = sys.stdin.buffer.read()
    try:
        found = storage.hook(name)
    except NoSuchHook:
        return _withdraw(storage, job, f"the hook {name} was removed")
    if found.url is None:
        return _withdraw(storage, job, f"the hook {name} is no webhook any more")
    if found.disabled_at is not None:
        return _withdraw(storage, job, f"the hook {name} is disabled: {found.disabled_reason}")
    if found.paused_at is not None:
        return _withdraw(storage, job, f"the hook {name} is paused")
    end = time.monotonic() + (found.timeout or _LONGEST_PAUSE)
    return _deliver(storage, job, found, payload, event_id, end)


def _deliver(
    storage: Storage, job: Job, found: Hook, payload: bytes, event_id: str, end: float
) -> int:
    """Send an event, perhaps twice; return the exit code."""
    from queuectl.host import delivery  # it loads ssl, 30 ms

    for is_last in (False, True):
        try:
            answer = delivery.post(sending.request_for(storage, found, payload, event_id))
        except delivery.NoAnswer as error:
            _note(storage, found, str(error))
            output.message(str(error))
            return 1
        _show(answer)
        said = f"{answer.status} {answer.reason}".strip()
        if answer.status == _GONE:
            storage.disable_hook(found.name, said, now=utcnow())
            return _withdraw(storage, job, f"the receiver wants no more events: {said}")
        pause = webhooks.retry_after(answer.retry_after, now=utcnow())
        waits = answer.status in _TOO_BUSY and pause is not None and pause <= _LONGEST_PAUSE
        if is_last or not waits or time.monotonic() + (pause or 0) >= end:
            break
        time.sleep(pause or 0)
    _note(storage, found, said)
    output.message(said if answer.is_good else f"not delivered: {said}")
    return 0 if answer.is_good else 1


def _note(storage: Storage, found: Hook, said: str) -> None:
    """Note the answer at the hook, for people. If that fails, the event is not sent once more."""
    try:
        storage.note_answer(found.name, said)
    except QueueError as error:
        output.message(f"the answer was not noted: {error}")


def _withdraw(storage: Storage, job: Job, why: str) -> int:
    """Request the cancel of a webhook's job that can never deliver; return the exit code.

    A job that fails after its cancel was requested is cancelled: it is neither retried nor dead.
    """
    storage.cancel(job, reason=why, now=utcnow())
    output.message(why)
    return 1


def _show(answer: Any) -> None:
    """Print the answer of the receiver, which is kept as the output of the job."""
    output.print_line(f"HTTP {answer.status} {answer.reason}".rstrip())
    for name, value in answer.headers:
        output.print_line(f"{name}: {value}")
    if answer.body:
        output.print_line("")
    for line in answer.body.decode("utf-8", "replace").splitlines():
        output.print_line(line)


@click.command("test", cls=QueueCommand)
@click.argument("name", metavar="NAME", shell_complete=offers.hooks)
def hook_test(name: str) -> int:
    """Send a test event now, and print the answer of the receiver.

    The command of a hook gets as much time as a job of it would have (`hook add --timeout`).

    \b
    Exit codes:
      0    delivered, or the command of the hook succeeded
      1    not delivered, or the command failed
      124  the command took too long, and was ended

    \b
    Examples:
      queuectl hook test ops
    """
    storage = open_storage(write=True)
    found = storage.hook(name)
    event_id, payload = sending.test_event(name)
    if found.url is None:
        return _test_command(found, storage.settings(), payload, event_id)
    # A proxy, or where certificates are: as in its jobs.
    os.environ.update(sending.own_variables(found))
    answer = sending.send_test(storage, found, payload, event_id)
    _show(answer)
    return 0 if answer.is_good else 1


def _test_command(found: Hook, settings: Settings, payload: bytes, event_id: str) -> int:
    """Run the command of a hook here, with a test event, as long as a job of it might run."""
    variables = sending.test_variables(found, event_id)
    command = [settings.shell, "-c", found.command or ""]
    limit = found.timeout or None
    try:
        ended = subprocess.run(
            command, input=payload, env=variables, cwd=found.cwd, timeout=limit, check=False
        )
    except OSError as error:
        where = os.fsdecode(error.filename or "")
        raise QueueError(f"the command cannot be started: {where}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        # Only the shell has been killed. It shares our process group, so that Ctrl+C reaches all
        # that it started; the mark in the environment tells those processes from others.
        attempt = process_tree.AttemptProcesses(frozenset([variables[sending.MARK]]))
        process_tree.end(attempt, settings.kill_grace, time.sleep)
        given = format_duration(found.timeout)
        fail(f"the command was killed after {given} (hook add --timeout)", _TOOK_TOO_LONG)
    code = ended.returncode
    output.hint(f"killed by signal {-code}" if code < 0 else f"exit {code}")
    return 0 if code == 0 else 1


@click.command("rotate", cls=QueueCommand)
@click.argument("name", metavar="NAME", shell_complete=offers.hooks)
@option(
    "--keep-old",
    type=DURATION,
    default=_ROTATION,
    metavar="DURATION",
    help="Sign with the old secret, too, for this long (default: 1d).",
)
@quiet_option
def hook_rotate(name: str, keep_old: float, quiet: bool) -> None:
    """Give a webhook a new secret, and print it.

    Until the old one ends, each event has both signatures, so its receiver accepts it before and
    after you have told it the new secret.

    \b
    Examples:
      queuectl hook rotate ops
      queuectl hook rotate --keep-old 0 ops    # others know the old secret
    """
    storage = open_storage(write=True)
    present, secret = stored_secret(storage, storage.hook(name)), _new_secret()
    keep_until = utcnow() + timedelta(seconds=keep_old)
    storage.rotate_secret(name, secret, present=present, keep_until=keep_until)
    output.print_line(secret)
    if not quiet and keep_old:
        output.hint("events have both signatures until the old secret ends")
