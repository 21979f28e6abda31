"""Queries that find jobs: words, and fields such as `state:dead` or `exit:12`."""

from __future__ import annotations

import re
import signal
from datetime import datetime
from typing import Callable, Mapping

from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.specs import suggestion
from queuectl.core.states import CALLED, JobState
from queuectl.core.times import parse_past

_TERM = re.compile(r'(?:(?P<field>[a-z]+):)?(?:"(?P<quoted>[^"]*)"|(?P<plain>\S+))')
_COMPARISON = re.compile(r"(<=|>=|<|>|=)?([0-9]{1,9})")
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_LONGEST = 1000


class Comparison(NamedTuple):
    """A condition on a number."""

    operator: str
    """One of `<`, `<=`, `=`, `>=` and `>`."""
    number: int
    """The number with which it is compared."""


class JobQuery(NamedTuple):
    """Conditions on jobs, all of which must hold. An empty field means no condition."""

    words: tuple[str, ...] = ()
    """Each is part of the id, the label, the command or the error; upper case does not matter."""
    states: tuple[JobState, ...] = ()
    """The job is in one of these states."""
    queues: tuple[str, ...] = ()
    """It is in one of these queues."""
    labels: tuple[str, ...] = ()
    """Its label fits one of these patterns."""
    schedules: tuple[str, ...] = ()
    """The name of the schedule that made it fits one of these patterns."""
    workers: tuple[str, ...] = ()
    """A worker that ran it has a name that fits one of these patterns."""
    exit_codes: tuple[int, ...] = ()
    """Its last attempt ended with one of these."""
    signals: tuple[int, ...] = ()
    """One of these signals ended its last attempt."""
    after: datetime | None = None
    """It ended, or changed while it is unfinished, at this time or later."""
    before: datetime | None = None
    """It ended or changed before this time."""
    runs: tuple[Comparison, ...] = ()
    """How many attempts it has had."""


EVERYTHING = JobQuery()
"""The query that every job fits."""


def parse(text: str, *, now: datetime) -> JobQuery:
    """Read what somebody typed: `backup state:dead exit:12 after:1h`.

    A field may name several values, as in `state:failed,dead`; a value or a word with blanks is put
    in double quotes. What is no field of ours is a word: `http://localhost`. Raises InvalidInput
    for a value that a field cannot have.
    """
    if len(text) > _LONGEST:
        raise InvalidInput(f"at most {_LONGEST} characters")
    query = JobQuery()
    for found in _TERM.finditer(text):
        field, quoted = found["field"], found["quoted"]
        value = found["plain"] if quoted is None else quoted
        read = _FIELDS.get(field) if field else None
        if read is None:
            word = quoted if quoted is not None and not field else found.group()
            query = query._replace(words=(*query.words, word)) if word else query
            continue
        try:
            query = read(query, value, now)
        except InvalidInput as error:
            raise InvalidInput(f"{field}: {error}") from None
    return query


def states_called(word: str) -> tuple[JobState, ...]:
    """Return the states that a word means, which may be what people call them elsewhere."""
    known = [state.value for state in JobState]
    name = word.strip().lower()
    if name in known:
        return (JobState(name),)
    if name in CALLED:
        return CALLED[name]
    if name in ("error", "errored", "failure"):
        raise InvalidInput(f"no such state: {word} (failed: is retried; dead: has failed for good)")
    raise InvalidInput(f"no such state: {word}{suggestion(name, known, also=tuple(CALLED))}")


def _states(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    states = (state for word in value.split(",") for state in states_called(word))
    return query._replace(states=tuple(dict.fromkeys((*query.states, *states))))


def _queues(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    return query._replace(queues=(*query.queues, *value.split(",")))


def _labels(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    return query._replace(labels=(*query.labels, *value.split(",")))


def _schedules(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    return query._replace(schedules=(*query.schedules, *value.split(",")))


def _workers(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    return query._replace(workers=(*query.workers, *value.split(",")))


def _exit_codes(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    return query._replace(exit_codes=(*query.exit_codes, *map(_number, value.split(","))))


def _signals(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    return query._replace(signals=(*query.signals, *map(_signal, value.split(","))))


def _after(query: JobQuery, value: str, now: datetime) -> JobQuery:
    instant = parse_past(value, now=now)
    return query._replace(after=instant if query.after is None else max(instant, query.after))


def _before(query: JobQuery, value: str, now: datetime) -> JobQuery:
    instant = parse_past(value, now=now)
    return query._replace(before=instant if query.before is None else min(instant, query.before))


def _runs(query: JobQuery, value: str, _now: datetime) -> JobQuery:
    found = _COMPARISON.fullmatch(value)
    if found is None:
        raise InvalidInput(f"not a number, or one after <, <=, =, >= or >: {value}")
    return query._replace(runs=(*query.runs, Comparison(found[1] or "=", int(found[2]))))


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidInput(f"not a number: {text}")
    return int(text)


def _signal(text: str) -> int:
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    return signal.Signals[name].value if name in signal.Signals.__members__ else _number(text)


_FIELDS: Mapping[str, Callable[[JobQuery, str, datetime], JobQuery]] = {
    "state": _states,
    "queue": _queues,
    "label": _labels,
    "schedule": _schedules,
    "worker": _workers,
    "exit": _exit_codes,
    "signal": _signals,
    "after": _after,
    "before": _before,
    "runs": _runs,
}

FIELDS = tuple(_FIELDS)
"""The names of the fields."""
