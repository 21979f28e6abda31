"""Figures of attempts, compared with a plain implementation."""

from __future__ import annotations

import math
import random
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest

from queuectl.core.programs import program_of
from queuectl.core.run_figures import PARTS, Figures, Grouping, Spread
from queuectl.core.times import from_text, to_text
from queuectl.storage import run_history
from support.rows import sql, statements

_NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
_FAILED = ("exit", "signal", "timeout", "lost", "spawn-error")
_OUTCOMES = ("ok", "ok", "ok", "cancelled", "interrupted", *_FAILED, None)
_COMMANDS = ("make a", "make b", "env A=1 rsync x", "sh -c 'rsync y'", "sleep 1")


def _at(seconds):
    return to_text(_NOW - timedelta(seconds=seconds))


_TIMES = {"created_at": "t", "updated_at": "t"}


def _insert(storage, table, rows):
    names = list(rows[0]) if rows else []
    with closing(sqlite3.connect(storage.files.database)) as conn, conn:
        conn.executemany(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            [tuple(row.values()) for row in rows],
        )


def _fill(storage, seed, attempts, *, gaps=True):
    """Insert attempts of random jobs within the last day; return them as dictionaries."""
    chance = random.Random(seed)
    jobs = []
    for seq in range(1, max(2, attempts // 2)):
        row = {
            "seq": seq, "queue": chance.choice("abc"), "command": chance.choice(_COMMANDS),
            "label": chance.choice((None, "one", "two")),
            "schedule": chance.choice((None, None, "nightly")),
            "state": chance.choice(("completed", "dead")), "finished_at": _at(86_400),
        }  # fmt: skip
        jobs.append(row)
    found = []
    for number in range(1, attempts + 1):
        if gaps and chance.random() < 0.1:
            continue
        started = 86_400 * (attempts - number) / attempts
        outcome = chance.choice(_OUTCOMES)
        job = chance.choice(jobs)
        finished = None if outcome is None else _at(started - chance.random())
        if outcome in _FAILED and job["state"] == "dead" and chance.random() < 0.5:
            job["finished_at"] = finished
        known = outcome is not None and chance.random() < 0.9
        found.append({
            "id": number, "job_seq": job["seq"], "job": job, "queue": job["queue"],
            "attempt": 1, "worker": "w1",
            "started_at": _at(started), "finished_at": finished, "outcome": outcome,
            "seconds": round(chance.lognormvariate(0, 2), 2) if known else None,
            "waited_seconds": round(chance.random() * 9, 1) if chance.random() < 0.8 else None,
            "cpu_seconds": chance.random() if known else None,
            "max_rss_bytes": chance.randrange(1 << 30) if known else None,
        })  # fmt: skip
    _insert(storage, "jobs", [{"id": f"j{job['seq']}", **job, **_TIMES} for job in jobs])
    _insert(
        storage,
        "executions",
        [{name: one[name] for name in one if name != "job"} for one in found],
    )
    return found


def _spread(numbers):
    ordered = sorted(number for number in numbers if number is not None)
    if not ordered:
        return None
    return Spread(*(ordered[max(1, math.ceil(s * len(ordered))) - 1] for s in (0.5, 0.95, 1.0)))


def _figures(runs, since):
    part = (_NOW - since) / PARTS
    starts = [to_text(since + number * part) for number in range(PARTS)]
    series = [0] * PARTS
    for one in runs:
        series[sum(start <= one["started_at"] for start in starts) - 1] += 1
    peaks = [one["max_rss_bytes"] for one in runs if one["max_rss_bytes"] is not None]
    return Figures(
        runs=len(runs),
        ok=sum(one["outcome"] == "ok" for one in runs),
        failed=sum(one["outcome"] in _FAILED for one in runs),
        dead=sum(
            one["job"]["state"] == "dead" and one["job"]["finished_at"] == one["finished_at"]
            for one in runs
        ),
        wait=_spread(one["waited_seconds"] for one in runs),
        run=_spread(one["seconds"] for one in runs),
        cpu_seconds=pytest.approx(sum(one["cpu_seconds"] or 0 for one in runs)),
        max_rss_bytes=max(peaks, default=None),
        series=tuple(series),
    )


_KEYS = {
    Grouping.QUEUE: lambda one: one["job"]["queue"],
    Grouping.SCHEDULE: lambda one: one["job"]["schedule"],
    Grouping.PROGRAM: lambda one: program_of(one["job"]["command"]),
    Grouping.COMMAND: lambda one: one["job"]["command"],
    Grouping.LABEL: lambda one: one["job"]["label"],
    Grouping.OUTCOME: lambda one: one["outcome"],
    Grouping.HOUR: lambda one: one["started_at"][:13] + ":00:00.000000Z",
    Grouping.DAY: lambda one: f"{from_text(one['started_at']).astimezone():%Y-%m-%d}",
}


def _assert_right(storage, rows, by, since, *, queues=(), most=100):
    runs = [
        one
        for one in rows
        if one["outcome"] is not None
        and one["started_at"] >= to_text(since)
        and (not queues or one["job"]["queue"] in queues)
    ]
    groups = {}
    for one in runs:
        groups.setdefault(_KEYS[by](one), []).append(one)
    if by.is_time:
        order = sorted(groups)[-most:]
    else:
        order = sorted(groups, key=lambda key: (-len(groups[key]), key is None, key or ""))[:most]
    found = storage.summary(by, since=since, now=_NOW, queues=queues, most=most)
    assert [group.key for group in found.groups] == order
    for group in found.groups:
        assert group.figures == _figures(groups[group.key], since), group.key
    assert found.total == _figures(runs, since)
    assert found.left_out == len(groups) - len(order)
    assert (found.since, found.until) == (since, _NOW)


@pytest.mark.parametrize("by", Grouping)
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_a_plain_implementation(storage, monkeypatch, by, seed):
    """Of random attempts, in each grouping, with few and with many groups."""
    monkeypatch.setattr(run_history, "_PAGE", 7)
    rows = _fill(storage, seed, 150)
    for hours in (30, 24, 5, 0.5):
        _assert_right(storage, rows, by, _NOW - timedelta(hours=hours))
    _assert_right(storage, rows, by, _NOW - timedelta(hours=9), queues=("a", "c"))
    _assert_right(storage, rows, by, _NOW - timedelta(hours=9), most=1)
    monkeypatch.setattr(run_history, "_MOST_GROUPS", 1)
    _assert_right(storage, rows, by, _NOW - timedelta(hours=20), most=2)


def test_no_attempts(storage):
    """Nothing is known of none."""
    found = storage.summary(Grouping.QUEUE, since=_NOW - timedelta(hours=1), now=_NOW, most=5)

    assert (list(found.groups), found.total, found.left_out) == (
        [], Figures(series=(0,) * PARTS), 0,
    )  # fmt: skip


def test_one_attempt(storage):
    """It is the median, and the longest."""
    rows = _fill(storage, 9, 1, gaps=False)
    sql(storage, "UPDATE executions SET outcome = 'ok', finished_at = started_at, seconds = 2")
    rows[0].update(outcome="ok", seconds=2.0, finished_at=rows[0]["started_at"])
    _assert_right(storage, rows, Grouping.QUEUE, _NOW - timedelta(hours=1))


def test_values_that_another_program_wrote(storage):
    """They count as numbers, or as unknown; nothing fails."""
    _fill(storage, 4, 60)
    sql(storage, "UPDATE executions SET seconds = 'x', cpu_seconds = x'00', max_rss_bytes = 'y'")
    sql(storage, "UPDATE executions SET waited_seconds = 9e999 WHERE id % 2")

    for by in Grouping:
        storage.summary(by, since=_NOW - timedelta(days=2), now=_NOW, most=5)


def test_each_attempt_of_the_time_is_read_once(storage, monkeypatch):
    """The beginning is found without reading older attempts, and the rest page by page."""
    rows = _fill(storage, 5, 200, gaps=False)
    monkeypatch.setattr(run_history, "_PAGE", 10)
    since = _NOW - timedelta(hours=2)
    run = statements(
        storage,
        lambda: storage.summary(Grouping.QUEUE, since=since, now=_NOW, most=5),
    )
    pages = [text for text in run if "CROSS JOIN" in text]
    looks = [text for text in run if "ORDER BY id LIMIT 1" in text]

    recent = sum(one["started_at"] >= to_text(since) for one in rows)
    assert recent <= 20
    assert len(pages) <= PARTS
    assert len(looks) <= PARTS * 9


def _counted(storage, monkeypatch, by, since, **options):
    monkeypatch.setattr(run_history, "_MOST_READ", 0)
    return storage.summary(by, since=since, now=_NOW, **{"most": 100, **options})


@pytest.mark.parametrize("by", [Grouping.QUEUE, Grouping.OUTCOME, Grouping.HOUR, Grouping.DAY])
def test_figures_from_counters(storage, monkeypatch, by):
    """Of too many attempts. Whole hours of their ends are counted, and quantiles are estimated."""
    rows = _fill(storage, 6, 300)
    while storage.count_attempts():
        pass
    since = _NOW - timedelta(hours=7)
    found = _counted(storage, monkeypatch, by, since)
    runs = [one for one in rows if one["outcome"] and one["finished_at"] >= to_text(since)]

    assert found.is_about
    assert found.since == since
    assert found.total.runs == sum(found.total.series) == len(runs)
    assert found.total.ok == sum(one["outcome"] == "ok" for one in runs)
    assert found.total.failed == sum(one["outcome"] in _FAILED for one in runs)
    assert found.total.cpu_seconds == pytest.approx(sum(one["cpu_seconds"] or 0 for one in runs))
    assert sum(group.figures.runs for group in found.groups) == len(runs)
    exact = _spread(one["seconds"] for one in runs)
    for name in ("p50", "p95"):  # a bucket is at most six times as wide as its lower bound
        assert 1 / 6 < getattr(found.total.run, name) / getattr(exact, name) < 6
    assert (found.total.run.max, found.total.max_rss_bytes) == (None, None)
    keys = [group.key for group in found.groups]
    if by is Grouping.QUEUE:
        expected = {key: sum(one["queue"] == key for one in runs) for key in "abc"}
        assert {group.key: group.figures.runs for group in found.groups} == expected
        only = _counted(storage, monkeypatch, by, since, queues=("a",), most=1)
        assert [group.key for group in only.groups] == ["a"]
    elif by is Grouping.OUTCOME:
        assert set(keys) == {one["outcome"] for one in runs}
    else:
        assert keys == sorted(keys)
        assert _counted(storage, monkeypatch, by, since, most=1).groups == found.groups[-1:]


def test_what_counters_do_not_tell_is_read(storage, monkeypatch):
    """They do not know commands, nor what ended before the file was upgraded."""
    rows = _fill(storage, 7, 50)
    monkeypatch.setattr(run_history, "_MOST_READ", 0)
    _assert_right(storage, rows, Grouping.QUEUE, _NOW - timedelta(hours=9))
    while storage.count_attempts():
        pass
    _assert_right(storage, rows, Grouping.PROGRAM, _NOW - timedelta(hours=9))
    sql(storage, "DELETE FROM activity WHERE period < 'h2026-01-31T05'")
    _assert_right(storage, rows, Grouping.QUEUE, _NOW - timedelta(hours=9))
