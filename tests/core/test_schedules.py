"""What becomes of planned times: made, or left out by the policy for missed ones."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl.core.cron import Every
from queuectl.core.schedules import (
    Due,
    Plan,
    Schedule,
    due_at,
    missed_text,
    plan,
    upcoming,
    variables,
    with_next,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
HOURLY = Every(3600.0, NOON, timezone.utc)


def schedule(**fields: Any) -> Schedule:
    values: dict[str, Any] = {"next_at": hour(1), **fields}
    return Schedule(
        **{
            "name": "s",
            **dict.fromkeys(("timezone", "spec")),
            "expression": "every 1h",
            **dict.fromkeys(("anchor", "created_at", "updated_at"), NOON),
            **values,
        }
    )


def hour(number: float) -> datetime:
    return NOON + timedelta(hours=number)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def made(*hours: int, missed: int = 0) -> tuple[Due, ...]:
    """Jobs for these hours; `missed` times are left out right before the first one."""
    return tuple(Due(hour(at), 0 if place else missed) for place, at in enumerate(hours))


@pytest.mark.parametrize(
    ("policy", "now", "expected"),
    [
        ("once", hour(1), Plan(made(1), 0, None, hour(2))),
        ("once", hour(1) + minutes(2), Plan(made(1), 0, None, hour(2))),
        ("once", hour(1) + minutes(3), Plan(made(1), 0, None, hour(2))),
        ("once", hour(4.5), Plan(made(4, missed=3), 3, hour(3), hour(5))),
        ("once", hour(4), Plan(made(4, missed=3), 3, hour(3), hour(5))),
        ("skip", hour(1) + minutes(2), Plan(made(1), 0, None, hour(2))),
        ("skip", hour(1) + minutes(3), Plan((), 1, hour(1), hour(2))),
        ("skip", hour(4), Plan(made(4, missed=3), 3, hour(3), hour(5))),
        ("skip", hour(4.5), Plan((), 4, hour(4), hour(5))),
        ("all", hour(4.5), Plan(made(1, 2, 3, 4), 0, None, hour(5))),
    ],
)
def test_the_policy_decides_about_missed_times(policy: str, now: datetime, expected: Plan) -> None:
    """A time that is due for two minutes at most is on time, and always makes a job."""
    assert plan(schedule(missed=policy), HOURLY, now=now) == expected


@pytest.mark.parametrize(
    ("policy", "within", "expected"),
    [
        ("once", 2.5, Plan(made(4, missed=3), 3, hour(3), hour(5))),
        ("once", 0.25, Plan((), 4, hour(4), hour(5))),
        ("all", 2.5, Plan(made(2, 3, 4, missed=1), 1, hour(1), hour(5))),
        ("all", 0.0, Plan((), 4, hour(4), hour(5))),
    ],
)
def test_what_is_missed_for_too_long_is_left_out(
    policy: str, within: float, expected: Plan
) -> None:
    """A heavy job of the night must not run in the daytime."""
    late = schedule(missed=policy, missed_within=within * 3600)

    assert plan(late, HOURLY, now=hour(4.5)) == expected


def test_a_time_on_time_is_made_however_short_the_window_is() -> None:
    """Workers are never exactly on time."""
    assert plan(schedule(missed_within=0.0), HOURLY, now=hour(1) + minutes(1)).made == made(1)


@pytest.mark.parametrize("policy", ["once", "skip", "all"])
def test_of_a_long_absence_only_the_newest_times_are_looked_at(policy: str) -> None:
    """After a year there would be 9,000; the count ends at 100, and says so."""
    found = plan(schedule(missed=policy), HOURLY, now=hour(9000.5))

    assert found.next_at == hour(9001)
    if policy == "all":
        assert found.made == made(*range(8901, 9001), missed=1)
        assert found.left_out == 1
    elif policy == "once":
        assert found.made == made(9000, missed=100)
        assert missed_text(found.made[0].missed) == "100+"
    else:
        assert (found.made, found.left_out, found.left_out_at) == ((), 101, hour(9000))


def test_a_year_of_minutes_is_planned_at_once() -> None:
    """Going back from the present takes some 100 steps, going on from the last time 525,600."""
    pytest.importorskip("cronsim")
    from queuectl.core.cron import times_of

    each_minute = times_of("* * * * *", "UTC", NOON)
    found = plan(schedule(), each_minute, now=hour(24 * 365) + minutes(0.5))

    assert [due.planned_at for due in found.made] == [
        hour(24 * 365) - minutes(1), hour(24 * 365)
    ]  # fmt: skip
    assert found.next_at == hour(24 * 365) + minutes(1)


def test_nothing_is_planned_after_the_end() -> None:
    """`until` itself is the last possible time."""
    ending = schedule(until=hour(2))

    assert plan(ending, HOURLY, now=hour(1)).next_at == hour(2)
    assert plan(ending._replace(next_at=hour(2)), HOURLY, now=hour(2)).next_at is None
    assert plan(ending, HOURLY, now=hour(9000)) == Plan(made(2, missed=1), 1, hour(1), None)
    assert with_next(ending, HOURLY, after=hour(2)) == ending._replace(next_at=None)
    assert with_next(ending, HOURLY, after=NOON).due_at == hour(1)
    assert upcoming(ending, HOURLY, most=5) == [hour(1), hour(2)]
    assert upcoming(schedule(), HOURLY, most=3) == [hour(1), hour(2), hour(3)]
    assert upcoming(schedule(next_at=None), HOURLY, most=3) == []


def test_jitter_depends_on_the_name_and_the_time_alone() -> None:
    """Every worker computes the same moment; two schedules of one time have different ones."""
    one, other = schedule(jitter=600.0), schedule(jitter=600.0, name="t")
    offsets = [due_at(one, hour(n)) - hour(n) for n in range(1, 200)]

    assert due_at(one, hour(1)) == hour(1) + timedelta(seconds=148, microseconds=649406)
    assert due_at(one, hour(1)) != due_at(other, hour(1))
    assert all(timedelta() <= offset < minutes(10) for offset in offsets)
    assert min(offsets) < minutes(1)
    assert max(offsets) > minutes(9)


def test_a_time_waits_for_its_jitter() -> None:
    """The next planned time is made only when its own moment has come."""
    late = schedule(jitter=3600.0, next_at=hour(1))
    now = due_at(late, hour(1))

    found = plan(late, HOURLY, now=now)

    assert found.made == made(1)
    assert found.next_at == hour(2)


def test_a_job_is_told_its_time() -> None:
    """In UTC for programs, in the zone of the schedule for names of files."""
    berlin = Every(3600.0, NOON, timezone(timedelta(hours=1)))

    assert variables("s", Due(hour(1), 3), berlin) == {
        "QUEUECTL_SCHEDULE": "s",
        "QUEUECTL_SCHEDULED_FOR": "2026-01-31T13:00:00.000000Z",
        "QUEUECTL_SCHEDULED_LOCAL": "2026-01-31T14:00:00+01:00",
        "QUEUECTL_MISSED": "3",
    }


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["once", "skip", "all"]),
    st.none() | st.floats(0, 50_000),
    st.floats(0, 5000),
    st.lists(st.floats(0, 40), min_size=1, max_size=8),
)
def test_each_planned_time_is_accounted_for_once(
    policy: str, within: float | None, jitter: float, waits: list[float]
) -> None:
    """Whatever the moments at which somebody looks: made, or counted as left out; none twice."""
    now, accounted, current = NOON, 0, schedule(missed=policy, missed_within=within, jitter=jitter)
    times: list[datetime] = []
    for wait in waits:
        now += timedelta(hours=wait)
        assert current.next_at is not None
        if due_at(current, current.next_at) > now:
            continue
        found = plan(current, HOURLY, now=now)
        times += [due.planned_at for due in found.made]
        accounted += len(found.made) + found.left_out
        current = current._replace(next_at=found.next_at)
    assert times == sorted(set(times))
    assert current.next_at == hour(1 + accounted)
