"""What hooks report, and what their jobs are told."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.core.errors import InvalidInput
from queuectl.core.hooks import (
    EVENTS,
    MAX_PAYLOAD_BYTES,
    Ended,
    Event,
    event_id,
    first_of_digest,
    job_data,
    job_variables,
    parse_events,
    payload,
    show_events,
    with_another,
)
from queuectl.core.models import Job, Outcome, OutcomeKind, Output
from queuectl.core.naming import title
from queuectl.core.states import JobState

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
_TEXT = st.text(max_size=50)
_LONG = st.builds(lambda text, times: text * times, _TEXT, st.sampled_from([1, 100, 2600]))


def job(**fields: object) -> Job:
    """Return a job that has died."""
    known: dict[str, object] = {
        **dict.fromkeys(Job._fields),
        "seq": 7, "id": "a", "command": "make", "state": JobState.DEAD, "queue": "mail",
        "priority": 0, "attempts": 3, "interruptions": 0, "max_retries": 3, "timeout": 0.0,
        "created_at": NOW, "updated_at": NOW, "finished_at": NOW, "env": {}, "captured": {},
        "cancel_requested": False, "id_made": False, "hook_depth": 0, **fields,
    }  # fmt: skip
    return Job(**known)  # type: ignore[arg-type]


def event(of: Job, kind: str = "dead", name: str = "evt_1") -> Event:
    """Return what has happened to a job."""
    outcome = Outcome(OutcomeKind.EXIT, exit_code=3, reason="exit 3", output=Output(9))
    ended = Ended(4, "w-1", NOW, outcome)
    data = {**job_data(of, ended), "queue_id": "q", "host": "h"}
    return Event(kind, name, NOW, of.queue, data, job_variables(of, ended))


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("dead", ("dead",)),
        ("missed,dead", ("dead", "missed")),
        ("finished", ("completed", "dead", "cancelled")),
        (" finished , dead,failed", ("completed", "dead", "cancelled", "failed")),
        (",".join(EVENTS), tuple(EVENTS)),
    ],
)
def test_words_for_events(text: str, events: tuple[str, ...]) -> None:
    """Each is taken once, in one order; what is shown can be read again."""
    assert parse_events(text) == events
    assert parse_events(show_events(events)) == events


@pytest.mark.parametrize("text", ["", ",", "died", "dead,Dead", "job.dead"])
def test_words_that_are_no_events(text: str) -> None:
    """The message names all that are known."""
    with pytest.raises(InvalidInput, match=r"known: completed, dead, .*, finished"):
        parse_events(text)


@given(
    command=_LONG, label=_LONG, error=_LONG, cwd=_LONG, output=_LONG,
    names=st.lists(st.text(min_size=1, max_size=200), max_size=300),
)  # fmt: skip
def test_a_payload_is_short_json_whatever_the_job_holds(
    command: str, label: str, error: str, cwd: str, output: str, names: list[str]
) -> None:
    """It keeps to the limit; ids and results are always there."""
    of = job(command=command, label=label, last_error=error, cwd=cwd, env=dict.fromkeys(names, ""))
    content = payload(event(of), output=output)
    assert len(content) <= MAX_PAYLOAD_BYTES
    message = json.loads(content)
    assert (message["type"], message["data"]["id"]) == ("job.dead", "a")
    assert message["data"]["execution"]["exit_code"] == 3
    assert output.encode("utf-8", "replace").decode().endswith(message["data"]["output"])


def test_the_command_is_cut_first() -> None:
    """The other fields of a job with a long command are whole."""
    of = job(command="x" * 130_000, label="l" * 1000, last_error="e" * 2000)
    data = json.loads(payload(event(of)))["data"]
    assert (data["label"], data["last_error"]) == ("l" * 1000, "e" * 2000)
    assert 10_000 < len(data["command"]) < 20_000


@given(command=_LONG, label=st.none() | _TEXT, error=st.none() | _LONG)
def test_variables_can_be_set(command: str, label: str | None, error: str | None) -> None:
    """No value holds a NUL byte from the command or the error, or is too long for the kernel."""
    label = None if label is None else label.replace("\0", "")
    found = job_variables(job(command=command, label=label, last_error=error), None)
    for name, value in found.items():
        assert name.startswith("QUEUECTL_PARENT_")
        assert "\0" not in value
        assert len(value.encode("utf-8", "replace")) <= 4096


def test_an_event_has_one_id() -> None:
    """The same facts make the same one, others make another; a signature can hold it."""
    ids = {
        event_id("q", 1, "dead"), event_id("q", 1, "dead"), event_id("q", 2, "dead"),
        event_id("r", 1, "dead"), event_id("q", 1, "drained"), event_id("q", 11, "dead"),
    }  # fmt: skip
    assert len(ids) == 5
    assert all(len(each) == 28 and each.startswith("evt_") and "." not in each for each in ids)


@given(count=st.integers(1, 60), long=st.booleans())
def test_a_digest_counts_all_and_names_the_first(count: int, long: bool) -> None:
    """However many there are, it keeps to the limit."""
    events = [
        event(job(id=f"j{n}", command="x" * (30_000 if long else 3)), "dead" if n % 3 else "failed")
        for n in range(count)
    ]
    content = first_of_digest(events[0])
    for number, each in enumerate(events[1:], 2):
        content, counted = with_another(content, each)
        assert counted == number
    data = json.loads(content)["data"]
    assert data["count"] == count == sum(data["events"].values())
    assert data["jobs"] == [f"j{n}" for n in range(count)][:20]
    assert len(content) <= MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"hook": "ops", "hook_of": 17}, "hook ops of @17"),
        ({"hook": "on-failure", "hook_of": 17}, "on-failure of @17"),
        ({"hook": "ops"}, "hook ops"),
        ({"hook": "ops", "hook_of": 17, "label": "mine"}, "mine"),
        ({}, "make"),
    ],
)
def test_titles(fields: dict[str, object], expected: str) -> None:
    """The job of a hook is called by its hook, unless it has a label."""
    assert title(job(**fields)) == expected
