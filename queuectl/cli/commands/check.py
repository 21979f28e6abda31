"""The command `check`: whether the queue is within given limits, for Nagios and its kind."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence, TypeVar

import click

from queuectl.cli import output
from queuectl.cli.command import Failure, QueueCommand, line_of, option, queue_files
from queuectl.cli.selection import queue_names, queue_option
from queuectl.core.batches import is_lane, owner_of
from queuectl.core.counts import and_more, counted
from queuectl.core.errors import InvalidInput, QueueError
from queuectl.core.facts import Facts
from queuectl.core.models import Selection
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, parse_duration, utcnow
from queuectl.storage import Storage

_Function = TypeVar("_Function", bound=Callable[..., Any])

_OK, _WARNING, _CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_BUSY_SECONDS = 5.0

# https://nagios-plugins.org/doc/guidelines.html: exit codes, one line, perfdata after a bar.


class Limits(NamedTuple):
    """Beyond which values `check` warns (None: never) and is critical."""

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
        raise InvalidInput(f"not a limit: {text!r} (use CRIT or WARN:CRIT, whole numbers)")
    return int(text)


def _limit_option(
    name: str, help_text: str, *, read: Callable[[str], float] = _count
) -> Callable[[_Function], _Function]:
    return option(name, type=_LimitType(read), metavar="[WARN:]CRIT", help=help_text)


class _CheckCommand(QueueCommand):
    """Exits with 3, UNKNOWN, for every error, wrong usage included."""

    failure_code = UNKNOWN

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
@_limit_option("--max-dlq", "Maximum number of dead jobs (default if no limit is given: 0).")
@_limit_option("--max-pending", "Maximum number of pending jobs.")
@_limit_option("--max-failed", "Maximum number of jobs that wait for a retry.")
@_limit_option(
    "--max-wait",
    "Maximum time for which a ready job has waited, e.g. 10m or 5m:1h.",
    read=parse_duration,
)
@_limit_option(
    "--max-late",
    "Maximum time by which a schedule is late, e.g. 5m.",
    read=parse_duration,
)
@_limit_option("--max-hooks-dead", "Maximum number of dead jobs of hooks.")
@_limit_option("--min-workers", "Minimum number of living workers.")
@queue_option
def check(queues: tuple[str, ...], **limits: Limits | None) -> None:
    """Check the queue against limits, for monitoring.

    A value at a limit is still OK. A worker that lives but can run nothing (see `queuectl worker
    list`) is a WARNING, and does not count for --min-workers. So is a hook that is disabled,
    because its receiver is gone.

    \b
    Exit codes, which are those of Nagios plugins:
      0  OK
      1  WARNING
      2  CRITICAL
      3  UNKNOWN: the queue cannot be read, or an option is wrong

    \b
    Examples:
      queuectl check
      queuectl check --max-dlq 0 --max-wait 5m:1h --min-workers 1
    """
    ctx = click.get_current_context()
    names = queue_names(queues)
    if all(limit is None for limit in limits.values()):
        limits["max_dlq"] = Limits(None, 0)
    try:
        storage = _open(ctx)
        facts = storage.facts(names, now=utcnow())
        figures = [*_measure(storage, names, facts), *_measure_if_asked(storage, names, limits)]
    except QueueError as error:
        output.print_line(f"QUEUECTL UNKNOWN - {error}")
        ctx.exit(UNKNOWN)
    level, summary = _judge(figures, limits, facts)
    perfdata = " ".join(_perfdata(figure, limits.get(figure.option)) for figure in figures)
    output.print_line(f"QUEUECTL {_WORDS[level]} - {summary} | {perfdata}")
    ctx.exit(level)


def _open(ctx: click.Context) -> Storage:
    files = queue_files(ctx)
    if not files.exists():
        raise QueueError(f"no queue at {files.database} yet")
    storage = Storage.open(files, wait_seconds=_BUSY_SECONDS)
    ctx.call_on_close(storage.close)
    return storage


class _Figure(NamedTuple):
    """A value that was measured, and the option that limits it.

    `problem` is what to say when the value is beyond a limit. The value is a number of what `noun`
    names, or seconds without one.
    """

    option: str
    value: float
    problem: str
    noun: str | None = None
    is_minimum: bool = False

    @property
    def label(self) -> str:
        """Its name in the performance data."""
        return self.option.partition("_")[2]


def _measure(storage: Storage, queues: tuple[str, ...], facts: Facts) -> list[_Figure]:
    def count(state: JobState) -> int:
        return storage.count(Selection(queues=queues, states=(state,)))

    oldest = min(
        (queue.ready_since for queue in facts.queues if queue.ready_since is not None),
        default=facts.now,
    )
    waited = max(0.0, (facts.now - oldest).total_seconds())
    return [
        _Figure("max_dlq", count(JobState.DEAD), "{value} (limit {limit})", "dead job"),
        _Figure("max_pending", count(JobState.PENDING), "{value} (limit {limit})", "pending job"),
        _Figure(
            "max_failed",
            count(JobState.FAILED),
            "{value} waiting for a retry (limit {limit})",
            "job",
        ),
        _Figure(
            "max_wait",
            round(waited, 3),
            "a job has waited for {value} (limit {limit})",
        ),
        _Figure(
            "min_workers",
            sum(worker.problem is None for worker in facts.workers),
            "{value} (at least {limit})",
            "worker",
            is_minimum=True,
        ),
    ]


def _measure_if_asked(
    storage: Storage, queues: tuple[str, ...], limits: Mapping[str, Limits | None]
) -> list[_Figure]:
    """Measure schedules, which belong to no queue, and the jobs of hooks, if they have a limit."""
    figures = []
    if limits.get("max_late") is not None:
        now, due = utcnow(), storage.latest_due()
        late = 0.0 if due is None else max(0.0, (now - due).total_seconds())
        figures.append(
            _Figure(
                "max_late",
                round(late, 3),
                "a schedule is {value} late (limit {limit})",
            )
        )
    if limits.get("max_hooks_dead") is not None:
        dead = sum(
            count.jobs
            for count in storage.counts()
            if count.state is JobState.DEAD
            and is_lane(count.queue)
            and (not queues or owner_of(count.queue) in queues)
        )
        message = "{value} of hooks (limit {limit})"
        figures.append(_Figure("max_hooks_dead", dead, message, "dead job"))
    return figures


def _judge(
    figures: Sequence[_Figure], limits: Mapping[str, Limits | None], facts: Facts
) -> tuple[int, str]:
    """Return the worst level, and what is beyond its limit, or else a summary.

    Workers that are held up by a problem are a warning, whatever the limits are, and so are jobs
    whose enqueue was cut short, and hooks that were disabled.
    """
    worst, problems = _OK, []
    held_up = [worker for worker in facts.workers if worker.problem is not None]
    to_come = facts.jobs_to_come
    for figure in figures:
        limit = limits.get(figure.option)
        level = _OK if limit is None else _level(figure, limit)
        worst = max(worst, level)
        if level != _OK and limit is not None:
            bound = limit.critical if level == _CRITICAL else limit.warning
            problems.append(_problem(figure, bound or 0))
    if held_up:
        worst = max(worst, _WARNING)
        others = and_more(len(held_up) - 1)
        problems.append(f"worker {held_up[0].id}: {held_up[0].problem}{others}")
    if to_come:
        worst = max(worst, _WARNING)
        problems.append(f"an enqueue was cut short, {to_come} of its jobs are not visible yet")
    disabled = [hook.name for hook in facts.hooks if hook.disabled_at is not None]
    if disabled:
        worst = max(worst, _WARNING)
        others = and_more(len(disabled) - 1)
        problems.append(f"the hook {disabled[0]} is disabled{others}")
    if problems:
        return worst, "; ".join(problems)
    value = {figure.label: int(figure.value) for figure in figures}
    counts = f"{value['pending']:,} pending, {value['dlq']:,} dead"
    return _OK, f"{counts}, {counted(value['workers'], 'worker')}"


def _problem(figure: _Figure, bound: float) -> str:
    if figure.noun is None:
        value, limit = format_duration(figure.value), format_duration(bound)
    else:
        value, limit = counted(int(figure.value), figure.noun), f"{int(bound):,}"
    return figure.problem.format(value=value, limit=limit)


def _level(figure: _Figure, limit: Limits) -> int:
    def is_beyond(bound: float) -> bool:
        return figure.value < bound if figure.is_minimum else figure.value > bound

    if is_beyond(limit.critical):
        return _CRITICAL
    return _WARNING if limit.warning is not None and is_beyond(limit.warning) else _OK


def _perfdata(figure: _Figure, limit: Limits | None) -> str:
    bounds: list[str] = ["", ""]
    if limit is not None:
        # A range "N:" alerts below N, "N" above it.
        end = ":" if figure.is_minimum else ""
        bounds = ["" if bound is None else f"{_plain(bound)}{end}" for bound in limit]
    unit = "s" if figure.noun is None else ""
    return f"{figure.label}={_plain(figure.value)}{unit};{bounds[0]};{bounds[1]};0"


def _plain(value: float) -> str:
    """Write a number without an exponent: graphs are drawn from it."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
