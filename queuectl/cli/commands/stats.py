"""The command `stats`: how many attempts there were, how they ended, and what they took."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage, option
from queuectl.cli.parameters import SINCE, WholeNumber
from queuectl.cli.selection import queue_names, queue_option
from queuectl.cli.tables import Cell, Column, only, print_table
from queuectl.core.cells import cut_middle
from queuectl.core.moments import local
from queuectl.core.run_figures import Figures, Grouping, Spread, Summary
from queuectl.core.sizes import size
from queuectl.core.sparkline import sparkline
from queuectl.core.times import format_duration, parse_iso, to_text, utcnow

_NONE = "-"
_ROOM_FOR_COMMANDS = 110
"""On a narrower terminal commands take the place of some other columns."""


@click.command(
    "stats",
    cls=QueueCommand,
    sections={"Which attempts": "--since --queue --batch", "What is printed": "--by --last --json"},
)
@option(
    "--since",
    type=SINCE,
    default="24h",
    metavar="WHEN",
    help="Only attempts that started since then (default: 24h).",
)
@option(
    "--by",
    type=click.Choice([grouping.value for grouping in Grouping]),
    default=Grouping.QUEUE.value,
    help="Sum up the attempts by this, one line for each (default: queue).",
)
@queue_option
@option(
    "-n",
    "--last",
    "most",
    type=WholeNumber(1, 1000),
    default=20,
    metavar="N",
    help="Print at most N groups: the largest ones, or the last hours or days (default: 20).",
)
@json_option
def stats(since: datetime, by: str, queues: Sequence[str], most: int, as_json: bool) -> None:
    """Sum up attempts: how they ended, waited and ran.

    WAIT and RUN are medians; 95 % of the attempts took at most the time below 95%, and none took
    longer than MAX. WAIT is the time from when an attempt could start to its start. CPU is the time
    of all together, MEM the most that one process had. OVER TIME shows when they started.
    `queuectl help statistics` explains all columns.

    \b
    Examples:
      queuectl stats
      queuectl stats --by program --since 7d
      queuectl stats --by day --since 30d --queue photos
      queuectl stats --json | jq '.groups[] | {key, p95: .run.p95}'
    """
    grouping = Grouping(by)
    summary = open_storage().summary(
        grouping, since=since, now=utcnow(), queues=queue_names(queues), most=most
    )
    if as_json:
        output.print_json(_json(summary))
    elif not summary.total.runs:
        output.message(f"no attempt has ended that started since {local(since)}")
    else:
        _print_table(summary, grouping)


def _print_table(summary: Summary, grouping: Grouping) -> None:
    rows = [_row(_shown(group.key, grouping), group.figures) for group in summary.groups]
    if len(rows) > 1 or summary.left_out:
        rows.append(_row("total", summary.total))
    columns = [
        _key_column(grouping),
        Column("RUNS", right=True),
        Column("OK", right=True),
        Column("WAIT", right=True, says_nothing=only(_NONE)),
        Column("95%", right=True, says_nothing=only(_NONE)),
        Column("RUN", right=True, says_nothing=only(_NONE)),
        Column("95%", right=True, says_nothing=only(_NONE)),
        Column("MAX", right=True, says_nothing=only(_NONE)),
        Column("CPU", right=True, says_nothing=only(_NONE), optional=True),
        Column("MEM", right=True, says_nothing=only(_NONE), optional=True),
    ]
    if not grouping.is_time:
        columns.append(Column("OVER TIME", optional=True))
    room = output.line_width()
    if grouping is Grouping.COMMAND and room is not None and room < _ROOM_FOR_COMMANDS:
        columns = [column for column in columns if not column.optional]
    print_table(columns, [row[: len(columns)] for row in rows])
    about = "about, from kept counters: " if summary.is_about else ""
    more = ""
    if summary.left_out:
        more = f"; {summary.left_out:,} more (queuectl stats --last N)"
    output.message(f"{about}since {local(summary.since)}{more}")


def _key_column(grouping: Grouping) -> Column:
    header = grouping.value.upper()
    if grouping.is_time:
        return Column(header)
    is_command = grouping is Grouping.COMMAND
    return Column(header, least=20 if is_command else 12, shorten=cut_middle, alike=is_command)


def _row(name: str, figures: Figures) -> list[Cell]:
    wait, run = figures.wait, figures.run
    share = figures.ok_share
    return [
        name,
        f"{figures.runs:,}",
        _NONE if share is None else _percent(share),
        _NONE if wait is None else short_span(wait.p50),
        _NONE if wait is None else short_span(wait.p95),
        _NONE if run is None else short_span(run.p50),
        _NONE if run is None else short_span(run.p95),
        _NONE if run is None or run.max is None else short_span(run.max),
        short_span(figures.cpu_seconds) if figures.cpu_seconds else _NONE,
        _NONE if figures.max_rss_bytes is None else size(figures.max_rss_bytes),
        sparkline(figures.series, ascii_only=output.needs_ascii()),
    ]


def _shown(key: str | None, grouping: Grouping) -> str:
    """Return the name of a group as people see it; hours are those of the local clock."""
    if key is None:
        return _NONE
    return local(parse_iso(key))[: len("2026-11-28 12:00")] if grouping is Grouping.HOUR else key


def _percent(share: float) -> str:
    """Return a share in percent; 100 % only if it is all of them."""
    percent = share * 100
    if 0 < percent < 100:
        percent = min(99.9, max(0.1, percent))
    return f"{percent:.1f}%" if percent not in (0, 100) else f"{percent:.0f}%"


def short_span(seconds: float) -> str:
    """Return a measured time in at most six cells: `12ms`, `4.2s`, `42s`, `9m2s`, `2h11m`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 59.5:
        return f"{seconds:.0f}s"
    return format_duration(round(seconds))


def _json(summary: Summary) -> dict[str, Any]:
    return {
        "since": to_text(summary.since),
        "until": to_text(summary.until),
        "about": summary.is_about,
        "groups": [{"key": group.key, **_figures_json(group.figures)} for group in summary.groups],
        "left_out": summary.left_out,
        "total": _figures_json(summary.total),
    }


def _figures_json(figures: Figures) -> dict[str, Any]:
    return {
        "runs": figures.runs,
        "ok": figures.ok,
        "failed": figures.failed,
        "dead": figures.dead,
        "wait": _spread_json(figures.wait),
        "run": _spread_json(figures.run),
        "cpu_seconds": figures.cpu_seconds,
        "max_rss_bytes": figures.max_rss_bytes,
        "series": list(figures.series),
    }


def _spread_json(spread: Spread | None) -> dict[str, float | None]:
    return {"p50": None, "p95": None, "max": None} if spread is None else spread._asdict()
