"""The notes of `enqueue` and `run` on a terminal: what was stored, and what may be a mistake."""

from __future__ import annotations

import os
import select
import stat
import sys
from datetime import datetime, timedelta
from typing import Iterator, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import open_part, queue_files
from queuectl.core.arguments import SEPARATORS
from queuectl.core.counts import counted
from queuectl.core.errors import QueueError
from queuectl.core.moments import local_with_distance
from queuectl.core.naming import quoted
from queuectl.core.states import JobState
from queuectl.core.times import format_duration
from queuectl.host.pools import living_pools
from queuectl.storage.enqueueing import Enqueued
from queuectl.storage.outlook import Outlook, Outlooks

_SAME_LOOP = timedelta(minutes=1)
"""If a job was enqueued that recently, the note about it told the same state of things."""

_SHOWN_NEEDS = 3

_FLAGS = ("--wait", "--resume", "--keep-order")
"""The flags that a person may have meant for us; others, like --quiet, are too common."""


class Notes:
    """Gathers what one call has stored, and says it in a line or two."""

    def __init__(self) -> None:
        self._count = self._existing = self._replaced = 0
        self._first = self._last = 0
        self._only: Enqueued | None = None
        self._queues: set[str] = set()
        self._timeouts: set[float] = set()
        self._attempts: set[int] = set()

    def add(self, enqueued: Enqueued) -> None:
        """Take in one job."""
        self._only = enqueued
        if enqueued.existing:
            self._existing += 1
            self._replaced += enqueued.replaced
            return
        self._count += 1
        self._first = self._first or enqueued.seq
        self._last = enqueued.seq
        self._queues.add(enqueued.queue)
        self._timeouts.add(enqueued.timeout)
        self._attempts.add(enqueued.max_retries)

    def say(self, *, now: datetime) -> None:
        """Say what was stored, when it starts, and what keeps it from starting."""
        if not self._count:
            self._say_existing()
            return
        parts = [self._what(), self._limits(), self._number_of_attempts()]
        if self._existing:
            parts.append(f"{self._existing} had an unfinished job with their key")
        try:
            outlook = open_part(Outlooks).outlook(self._first, self._last)
            time_left = self._time_left(now)
        except QueueError:  # the jobs are stored: this must not look like an error
            output.hint(*parts)
            return
        parts += self._starts(outlook, now)
        parts += self._obstacles(outlook, now)
        if time_left is not None:
            parts.append(f"done in {time_left}")
        output.hint(*parts)

    def _time_left(self, now: datetime) -> str | None:
        """Return about how long several jobs take, as far as those before them tell it."""
        if self._count < 2 or len(self._queues) > 1:
            return None
        from queuectl.cli.progress import time_left  # only for several jobs
        from queuectl.storage import Storage

        return time_left(open_part(Storage), *self._queues, now=now)

    def _say_existing(self) -> None:
        if self._existing == 1 and self._only is not None:
            done = "was given this command" if self._replaced else "was left as it is"
            output.hint(f"an unfinished job has this key: {self._only.id} {done}")
        elif self._existing:
            output.hint("nothing is new: there are unfinished jobs with all these keys")

    def _what(self) -> str:
        where = self._in_queue()
        if self._count == 1:
            return f"@{self._first} queued {where}"
        return f"{self._count} jobs queued {where} (@{self._first} to @{self._last})"

    def _in_queue(self) -> str:
        names = sorted(self._queues)
        return f"in {names[0]}" if len(names) == 1 else f"in {len(names)} queues"

    def _limits(self) -> str:
        if len(self._timeouts) > 1:
            return "different timeouts"
        (timeout,) = self._timeouts
        each = " each" if self._count > 1 else ""
        return f"timeout {format_duration(timeout)}{each}" if timeout else "no timeout"

    def _number_of_attempts(self) -> str:
        least, most = min(self._attempts), max(self._attempts)
        if least != most:
            return f"{least} to {most} attempts"
        return f"up to {counted(most, 'attempt')}"

    def _starts(self, outlook: Outlook, now: datetime) -> Iterator[str]:
        scheduled = outlook.states.get(JobState.SCHEDULED, 0)
        blocked = outlook.states.get(JobState.BLOCKED, 0)
        if outlook.earliest is not None:
            at = local_with_distance(outlook.earliest, now=now)
            if scheduled < self._count:
                plural = "s" if scheduled == 1 else ""
                yield f"{scheduled} of them start{plural} later, the first at {at}"
            elif self._count == 1:
                yield f"starts at {at}"
            else:
                first = "" if outlook.earliest == outlook.latest else "the first "
                yield f"{first}start{'s' if first else ''} at {at}"
        if blocked and self._count == 1:
            needs = [f"@{seq}" for seq in outlook.needs]
            more = " and others" if len(needs) > _SHOWN_NEEDS else ""
            yield f"waits for {', '.join(needs[:_SHOWN_NEEDS])}{more}"
        elif blocked:
            yield f"{blocked} of them wait{'s' if blocked == 1 else ''} for other jobs"

    def _obstacles(self, outlook: Outlook, now: datetime) -> Iterator[str]:
        """Yield why nothing would run, unless the call before has just said that.

        In a loop of calls only the first one says it. That is known without a file of our own: the
        job before is in the same queue, was enqueued within the last minute, and still waits.
        """
        known_since = None
        before = outlook.before
        if (
            before is not None
            and before.has_waited
            and self._queues == {before.queue}
            and now - before.created_at < _SAME_LOOP
        ):
            known_since = before.created_at
        for name, since in outlook.pauses.items():
            if (not name or name in self._queues) and (known_since is None or since > known_since):
                yield _paused(name)
        if known_since is None:
            yield from _unserved(self._queues)


def _paused(name: str) -> str:
    if not name:
        return "all queues are paused (queuectl queue resume)"
    return f"{name} is paused (queuectl queue resume {quoted(name)})"


def _unserved(queues: set[str]) -> Iterator[str]:
    pools = living_pools(queue_files())
    unserved = [name for name in sorted(queues) if not any(p.serves([name]) for p in pools)]
    if unserved and not pools:
        yield "no worker is running (queuectl worker start)"
    elif unserved:
        names = quoted(",".join(unserved))
        yield f"no worker serves {', '.join(unserved)} (queuectl worker start --queue {names})"


def point_out_mistakes(words: Sequence[str]) -> None:
    """Point out on a terminal what may be a mistake; jobs are stored as they were given."""
    _say_swallowed_options(words)
    _say_stdin_is_not_read(words)


def _say_swallowed_options(words: Sequence[str]) -> None:
    """Say that the command ends with options of ours, which were stored as part of it."""
    command = click.get_current_context().command
    # A template ends before `:::`, and the last argument may be followed by options as well.
    ends = [at for at, word in enumerate(words) if word in SEPARATORS] + [len(words)]
    for end in ends:
        swallowed = swallowed_options(command, words[:end])
        if swallowed:
            output.hint(
                f"note: {' '.join(swallowed)} is part of the command",
                f"options of {command.name} go before it",
            )
            return


def swallowed_options(command: click.Command, words: Sequence[str]) -> Sequence[str]:
    """Return the last words of a command if they are options of ours with right values.

    Most options of other programs are not found: they stand before an argument, or their values
    have another form (`curl --output FILE`). Nothing is refused in any case.
    """
    options = {name: param for param in command.params for name in param.opts}
    for start in range(1, len(words)):
        # Only then copy the words: there may be as many as a command line can hold.
        if words[start].startswith("--") and _are_options(words[start:], options):
            return words[start:]
    return ()


def _are_options(words: Sequence[str], options: dict[str, click.Parameter]) -> bool:
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        option = options.get(name) if name.startswith("--") else None
        if not isinstance(option, click.Option) or option.hidden:
            return False
        if option.is_flag:
            if equals or name not in _FLAGS:
                return False
            continue
        if not equals:
            if not rest:
                return False
            value = rest.pop(0)
        if not _is_value(option, value):
            return False
    return True


def _is_value(option: click.Option, value: str) -> bool:
    """Whether an option takes a value of this form."""
    from queuectl.cli.job_options import check_options, option_fields
    from queuectl.core.times import utcnow

    if not value or value.startswith("-"):
        return False
    try:
        converted = option.type.convert(value, option, None)
        checked = dict.fromkeys(("at", "timeout", "delay"))
        env = (value,) if option.name == "env" else ()
        if option.name not in ("env", "after", "after_any", "shown", "path", "input"):
            checked[str(option.name)] = converted
        check_options(option_fields(checked, env), now=utcnow())
    except (click.UsageError, QueueError):
        return False
    return True


def _say_stdin_is_not_read(words: Sequence[str]) -> None:
    """Say that data on stdin is lost, if somebody piped it to this command.

    In `ls | while read name; do queuectl enqueue …; done` stdin is the loop's, and its data is not
    for us. So this looks whether the process that called us has the same stdin (Linux only).
    """
    if any(word in SEPARATORS for word in words) or not _has_pipe_of_its_own():
        return  # arguments may come from stdin
    if select.select([0], [], [], 0)[0] and not _is_at_end():
        output.hint("note: stdin is not read (--input - stores it, :::: - makes a job per line)")


def _has_pipe_of_its_own() -> bool:
    try:
        if not stat.S_ISFIFO(os.fstat(0).st_mode):
            return False
        return os.readlink("/proc/self/fd/0") != os.readlink(f"/proc/{os.getppid()}/fd/0")
    except OSError:
        return False


def _is_at_end() -> bool:
    """Whether a pipe is readable only because nobody will write into it any more."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return not any(events & select.POLLIN for _, events in poll.poll(0))


def say_what_is_read(*, as_commands: bool) -> None:
    """Say what is read from a terminal, which would otherwise seem to hang."""
    if sys.stdin.isatty():
        what = "one shell command per line" if as_commands else "one JSON object per line"
        output.hint(f"reading {what}; Ctrl+D ends the input")
