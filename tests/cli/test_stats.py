"""`stats`: its table, its bars and its JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from queuectl.cli.commands.stats import short_span
from queuectl.core.models import Outcome, OutcomeKind
from queuectl.core.specs import JobSpec
from queuectl.core.times import to_text, utcnow
from support.json_page import keys
from support.outcomes import COMPLETED, DEAD
from support.queue import Queue
from support.rows import sql
from support.terminal import on_terminal


def _run(queue: Queue, number: int, at: datetime, *, good: bool = True, where: str = "a") -> None:
    storage = queue.storage
    storage.enqueue([JobSpec(command=f"env A=1 make {number}", queue=where)], now=at)
    claim = storage.claim("w1", (where,), now=at)
    assert claim is not None
    outcome = Outcome(
        OutcomeKind.OK if good else OutcomeKind.EXIT,
        exit_code=0 if good else 1,
        seconds=float(number),
        cpu_seconds=0.5,
        max_rss_bytes=number * 1024,
    )
    storage.record(claim, outcome, COMPLETED if good else DEAD, now=at)


@pytest.fixture
def busy(queue: Queue) -> Queue:
    """A queue with five attempts: three in `a`, two in `b`, of which one failed."""
    now = utcnow()
    _run(queue, 4000, now - timedelta(hours=19.5), where="b", good=False)
    _run(queue, 90, now - timedelta(hours=3), where="b")
    for number in (1, 2, 3):
        _run(queue, number, now - timedelta(minutes=40 - 10 * number))
    sql(queue.storage, "UPDATE executions SET waited_seconds = NULL")
    return queue


def test_a_table(busy: Queue) -> None:
    """A line for each queue, and the total. What is known of none has no number."""
    done = busy.run("stats")

    assert (done.code, done.out) == (
        0,
        "QUEUE  RUNS     OK  WAIT  95%    RUN   95%   MAX   CPU      MEM  OVER TIME\n"
        "a         3   100%     -    -   2.0s  3.0s  3.0s  1.5s  3.0 KiB  ▁▁▁▁▁▁▁▁▁▁▁█\n"
        "b         2  50.0%     -    -  1m30s  1h6m  1h6m  1.0s  3.9 MiB  ▁▁█▁▁▁▁▁▁▁█▁\n"
        "total     5  80.0%     -    -   3.0s  1h6m  1h6m  2.5s  3.9 MiB  ▁▁▄▁▁▁▁▁▁▁▄█\n",
    )
    assert done.err.startswith("since 20")


def test_a_table_fits_into_a_terminal(busy: Queue) -> None:
    """Columns that say nothing are left out; on a narrow terminal others, too."""
    wide = on_terminal(busy, "stats", size=(80, 24)).screen.splitlines()
    narrow = on_terminal(busy, "stats", size=(50, 24)).screen.splitlines()

    assert wide[0] == "QUEUE  RUNS     OK    RUN   95%   MAX   CPU      MEM  OVER TIME"
    assert narrow[0] == "QUEUE  RUNS     OK    RUN   95%   MAX"
    assert max(map(len, narrow)) <= 50


@pytest.mark.parametrize(
    ("by", "keys_found"),
    [
        ("queue", ["a", "b"]),
        ("schedule", [None]),
        ("program", ["make"]),
        ("label", [None]),
        ("outcome", ["ok", "exit"]),
        ("command", [f"env A=1 make {number}" for number in (1, 2, 3, 4000, 90)]),
    ],
)
def test_groups(busy: Queue, by: str, keys_found: list[str | None]) -> None:
    """Those with most attempts come first, equal ones in the order of their names."""
    shown = busy.json("stats", "--by", by)

    assert [group["key"] for group in shown["groups"]] == keys_found
    assert shown["total"]["runs"] == 5


def test_hours_and_days(busy: Queue) -> None:
    """They are in the order of time, and the last ones are printed."""
    hours = busy.json("stats", "--by", "hour", "--since", "26h")["groups"]
    assert [hour["key"] for hour in hours] == sorted(hour["key"] for hour in hours)
    assert sum(hour["runs"] for hour in hours) == 5
    last = busy.json("stats", "--by", "hour", "--since", "26h", "-n", "1")
    assert last["groups"] == hours[-1:]
    assert last["left_out"] == len(hours) - 1
    lines = busy.ok("stats", "--by", "hour", env={"TZ": "Asia/Kolkata"}).splitlines()
    assert lines[1].split()[1].endswith(":30")
    days = busy.json("stats", "--by", "day", "--since", "26h")["groups"]
    assert sum(day["runs"] for day in days) == 5


def test_options_choose_attempts(busy: Queue) -> None:
    """By queue and by time."""
    assert busy.json("stats", "--queue", "b")["total"]["runs"] == 2
    assert busy.json("stats", "--since", "4h")["total"]["runs"] == 4
    assert busy.json("stats", "--since", "4h", "--queue", "b,c")["total"]["runs"] == 1


def test_what_is_left_out_is_told(busy: Queue) -> None:
    """The total is that of all groups."""
    done = busy.run("stats", "--by", "command", "-n", "2")

    assert [line.split()[0] for line in done.out.splitlines()] == ["COMMAND", "env", "env", "total"]
    assert "; 3 more (queuectl stats --last N)" in done.err


def test_without_attempts(queue: Queue) -> None:
    """A queue without attempts has a message for people, and the same keys for programs."""
    queue.ok("enqueue", "true")

    done = queue.run("stats", "--since", "2026-01-31T12:00:00Z")
    assert done == (
        0, "", "no attempt has ended that started since 2026-01-31 12:00:00\n",
    )  # fmt: skip
    assert queue.json("stats")["groups"] == []


def test_one_group_has_no_total(busy: Queue) -> None:
    """The total would repeat the line of the group."""
    assert len(busy.ok("stats", "--queue", "a").splitlines()) == 2


def test_without_utf_8_bars_are_digits(busy: Queue) -> None:
    """0 means none."""
    out = busy.ok("stats", "--queue", "a", env={"PYTHONIOENCODING": "ascii"}, as_process=True)

    assert out.splitlines()[1].endswith("000000000009")


def test_control_characters_are_escaped(queue: Queue) -> None:
    """A command, a label or a queue may hold anything."""
    queue.storage.enqueue([JobSpec(command="\x1b[31m x", label="\x1b]0;x")], now=utcnow())
    claim = queue.storage.claim("w1", now=utcnow())
    assert claim is not None
    queue.storage.record(claim, Outcome(OutcomeKind.OK, exit_code=0), COMPLETED, now=utcnow())

    for by in ("command", "label", "program"):
        assert "\x1b" not in queue.ok("stats", "--by", by)
        assert "\x1b" not in on_terminal(queue, "stats", "--by", by).screen


def test_the_keys_of_the_json(busy: Queue) -> None:
    """These are the ones on the page."""
    shown = busy.json("stats")

    assert list(shown) == keys("The statistics")
    group = shown["groups"][0]
    assert list(group) == keys("A group of the statistics")
    assert list(shown["total"]) == list(group)[1:]
    assert list(group["run"]) == list(group["wait"]) == keys("A distribution of durations")
    assert group["run"] == {"p50": 2.0, "p95": 3.0, "max": 3.0}
    assert group["wait"] == {"p50": None, "p95": None, "max": None}
    assert json.loads(busy.ok("stats", "--json"))["groups"][0]["key"] == "a"
    assert shown["since"] < shown["until"] <= to_text(utcnow())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0ms"), (0.0123, "12ms"), (0.9994, "999ms"), (0.9996, "1.0s"), (9.94, "9.9s"),
        (9.96, "10s"), (59.4, "59s"), (59.6, "1m"), (542.0, "9m2s"), (7860.0, "2h11m"),
        (90_000.0, "1d1h"),
    ],
)  # fmt: skip
def test_spans_are_short(seconds: float, expected: str) -> None:
    """Two figures are enough to compare."""
    assert short_span(seconds) == expected


def test_too_many_attempts_to_read(busy: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the counters tell, and a line says so."""
    while busy.storage.count_attempts():
        pass
    monkeypatch.setattr("queuectl.storage.run_history._MOST_READ", 0)
    done = busy.run("stats")
    shown = busy.json("stats")

    lines = done.out.splitlines()[1:]
    assert [line.split()[:3] for line in lines] == [
        ["a", "3", "100%"], ["b", "2", "50.0%"], ["total", "5", "80.0%"],
    ]  # fmt: skip
    assert done.err.startswith("about, from kept counters: since 20")
    assert done.err.endswith(":00:00\n")
    assert (shown["about"], shown["total"]["run"]["max"]) == (True, None)
    assert shown["groups"][1]["dead"] == 1
    assert list(shown["groups"][0]) == keys("A group of the statistics")


def test_a_command_takes_the_place_of_other_columns(busy: Queue) -> None:
    """On a narrow terminal it is more interesting than CPU time and memory."""
    narrow = on_terminal(busy, "stats", "--by", "command", size=(80, 24)).screen.splitlines()
    wide = on_terminal(busy, "stats", "--by", "command", size=(120, 40)).screen.splitlines()

    assert narrow[0].split() == ["COMMAND", "RUNS", "OK", "RUN", "95%", "MAX"]
    assert narrow[1].startswith("env A=1 make 1 ")
    assert wide[0].split() == [*narrow[0].split(), "CPU", "MEM", "OVER", "TIME"]
