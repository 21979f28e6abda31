"""What people type to find jobs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from queuectl.core.errors import InvalidInput
from queuectl.core.job_query import FIELDS, Comparison, JobQuery, parse
from queuectl.core.states import JobState

_NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
_DEAD, _FAILED = JobState.DEAD, JobState.FAILED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", JobQuery()),
        ("  ", JobQuery()),
        ("back up", JobQuery(words=("back", "up"))),
        ('"back up" it', JobQuery(words=("back up", "it"))),
        ('""', JobQuery()),
        ("exit: 12", JobQuery(words=("exit:", "12"))),
        ("http://localhost rsync host:path a:b", JobQuery(
            words=("http://localhost", "rsync", "host:path", "a:b"))),
        ('note:"two words"', JobQuery(words=('note:"two words"',))),
        ("STATE:dead", JobQuery(words=("STATE:dead",))),
        ("state:dead", JobQuery(states=(_DEAD,))),
        ("state:failed,dead state:dead", JobQuery(states=(_FAILED, _DEAD))),
        ("state:running", JobQuery(states=(JobState.PROCESSING,))),
        ("queue:a,b queue:c", JobQuery(queues=("a", "b", "c"))),
        ("label:sync* schedule:night*", JobQuery(labels=("sync*",), schedules=("night*",))),
        ('label:"the first"', JobQuery(labels=("the first",))),
        ("worker:a1*", JobQuery(workers=("a1*",))),
        ("exit:12 exit:0,-1", JobQuery(exit_codes=(12, 0, -1))),
        ("signal:9 signal:TERM,sigint", JobQuery(signals=(9, 15, 2))),
        ("runs:>1 runs:<=3", JobQuery(runs=(Comparison(">", 1), Comparison("<=", 3)))),
        ("runs:2", JobQuery(runs=(Comparison("=", 2),))),
        ("after:1h", JobQuery(after=_NOW - timedelta(hours=1))),
        ("after:1h after:2h", JobQuery(after=_NOW - timedelta(hours=1))),
        ("before:2026-01-01", JobQuery(before=datetime(2026, 1, 1, tzinfo=timezone.utc))),
    ],
)  # fmt: skip
def test_what_is_read(text: str, expected: JobQuery) -> None:
    """Words and fields, in any order."""
    assert parse(text, now=_NOW) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("state:deadd", "state: no such state: deadd (did you mean dead?)"),
        ("exit:x", "exit: not a number: x"),
        ("signal:NOPE", "signal: not a number: NOPE"),
        ("runs:many", "runs: not a number, or one after <, <=, =, >= or >: many"),
        ("after:soon", "after: not a duration or a time: 'soon' (use 2h, 18:00, yesterday, "
         "2026-12-24 or 2026-12-24T18:00)"),
        ("x" * 1001, "at most 1000 characters"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    """A value that a field cannot have."""
    with pytest.raises(InvalidInput) as refused:
        parse(text, now=_NOW)
    assert str(refused.value) == message


def test_the_fields() -> None:
    """They are in the help and on the page about queries."""
    assert FIELDS == ("state", "queue", "label", "schedule", "worker", "exit", "signal", "after",
                      "before", "runs")  # fmt: skip
