"""The command `check`: is the queue's state acceptable? For monitoring, in Nagios' manner."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, NoReturn

import click

from queuectl.cli import output
from queuectl.cli.command import Failure, QueueCommand, line_of, queue_files
from queuectl.cli.selection import queue_names, queue_option
from queuectl.core.errors import InvalidInput, QueueError
from queuectl.core.escaping import escape
from queuectl.core.models import Selection
from queuectl.core.states import JobState
from queuectl.core.times import parse_duration, utcnow
from queuectl.storage import Storage

_OK, _WARNING, _CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_BUSY_SECONDS = 5.0

# https://nagios-plugins.org/doc/guidelines.html: exit codes, one line, perfdata after a bar.


class Limits(NamedTuple):
    """What is still acceptable; None never warns."""

    warning: float | None
    critical: float


class _LimitType(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """CRIT or WARN:CRIT."""

    name = "limit"

    def __init__(self, read: Callable[[str], float]) -> None:
        self._read = read

    def convert(self, value: Any, param: Any, ctx: Any) -> Limits:
        """Return the limits."""
        if isinstance(value, Limits):
            return value
        warning, colon, critical = str(value).rpartition(":")
        return Limits(self._read(warning) if colon else None, self._read(critical))


def _count(text: str) -> float:
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise InvalidInput(f"a limit is CRIT or WARN:CRIT, whole numbers, not {text!r}")
    return int(text)


class _CheckCommand(QueueCommand):
    """Every failure, of usage too, is UNKNOWN: 3."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments."""
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            raise Failure("queuectl check", line_of(error), UNKNOWN) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise Failure(ctx.command_path, line_of(error), UNKNOWN) from error


@click.command("check", cls=_CheckCommand)
@click.option("--max-dlq", type=_LimitType(_count), metavar="[W:]C", help="Dead jobs (default: 0).")
@click.option("--max-pending", type=_LimitType(_count), metavar="[W:]C", help="Pending jobs.")
@click.option(
    "--max-failed", type=_LimitType(_count), metavar="[W:]C", help="Jobs that wait for a retry."
)
@click.option("--max-wait", type=_LimitType(parse_duration), metavar="[W:]C",
              help="Time since the oldest waiting job could run: 10m, 5m:1h.")  # fmt: skip
@click.option("--min-workers", type=_LimitType(_count), metavar="[W:]C", help="Living workers.")
@queue_option
def check(queues: tuple[str, ...], **limits: Limits | None) -> None:
    """Say whether the queue is as it should be, for monitoring.

    Exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. A limit is CRIT, or WARN:CRIT.

    Example: queuectl check --max-dlq 0 --max-wait 5m:1h --min-workers 1
    """
    ctx = click.get_current_context()
    names = queue_names(queues)
    files = queue_files(ctx)
    try:
        if not files.exists():
            raise QueueError(f"no queue at {files.database} yet")
        storage = Storage.open(files, wait_seconds=_BUSY_SECONDS)
    except QueueError as error:
        _unknown(ctx, error)
    ctx.call_on_close(storage.close)
    if all(limit is None for limit in limits.values()):
        limits["max_dlq"] = Limits(None, 0)
    try:
        measured = _measure(storage, names)
    except QueueError as error:
        _unknown(ctx, error)
    worst, problems, figures = _OK, [], []
    for name, (value, unit) in measured.items():
        limit = limits.get(name)
        at_least = name == "min_workers"
        level = _OK if limit is None else _level(value, limit, at_least=at_least)
        label = name.split("_", 1)[1]
        worst = max(worst, level)
        if level and limit is not None:
            bound = limit.critical if level == _CRITICAL else limit.warning
            problems.append(
                f"{label} is {_plain(value)}{unit}, "
                f"{'under' if at_least else 'over'} {_plain(bound)}{unit}"
            )
        figures.append(_perfdata(label, value, unit, limit, at_least=at_least))
    summary = "; ".join(problems) or (
        f"{_plain(measured['max_pending'][0])} pending, {_plain(measured['max_dlq'][0])} dead, "
        f"{_plain(measured['min_workers'][0])} workers"
    )
    output.print_data(f"QUEUECTL {_WORDS[worst]} - {summary} | {' '.join(figures)}")
    ctx.exit(worst)


def _measure(storage: Storage, queues: tuple[str, ...]) -> dict[str, tuple[float, str]]:
    def count(state: JobState) -> float:
        return storage.count(Selection(queues=queues, states=(state,)))

    workers = [
        worker
        for worker in storage.living_workers()
        if not queues or not worker.queues or set(worker.queues) & set(queues)
    ]
    now = utcnow()
    oldest = storage.oldest_ready(queues, now=now)
    waited = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return {
        "max_dlq": (count(JobState.DEAD), ""),
        "max_pending": (count(JobState.PENDING), ""),
        "max_failed": (count(JobState.FAILED), ""),
        "max_wait": (round(waited, 3), "s"),
        "min_workers": (len(workers), ""),
    }


def _level(value: float, limit: Limits, *, at_least: bool) -> int:
    def passed(bound: float) -> bool:
        return value < bound if at_least else value > bound

    if passed(limit.critical):
        return _CRITICAL
    return _WARNING if limit.warning is not None and passed(limit.warning) else _OK


def _perfdata(label: str, value: float, unit: str, limit: Limits | None, *, at_least: bool) -> str:
    bounds: list[str] = ["", ""]
    if limit is not None:
        # A range "N:" alerts below N, "N" above it.
        end = ":" if at_least else ""
        bounds = ["" if bound is None else f"{_plain(bound)}{end}"
                  for bound in limit]  # fmt: skip
    return f"{label}={_plain(value)}{unit};{bounds[0]};{bounds[1]};0"


def _plain(value: float | None) -> str:
    """Write a number without an exponent: graphs are drawn from it."""
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _unknown(ctx: click.Context, error: QueueError) -> NoReturn:
    output.print_data(f"QUEUECTL UNKNOWN - {escape(str(error))}")
    ctx.exit(UNKNOWN)
