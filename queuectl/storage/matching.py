"""A `JobQuery` as conditions of SQL."""

from __future__ import annotations

from typing import Iterable, Sequence

from queuectl.core.job_query import JobQuery
from queuectl.core.times import to_text
from queuectl.storage.rows import one_of

_SEARCHED = ("id", "label", "command", "last_error")
"""The columns in which words are searched for."""


def matching(query: JobQuery) -> tuple[list[str], list[object]]:
    """Return conditions on a row of `jobs`, which all must hold, and their values.

    No value is in their text, except numbers and states.
    """
    found: list[str] = []
    values: list[object] = []
    for word in query.words:
        found.append(_any(f"{column} LIKE ? ESCAPE '\\'" for column in _SEARCHED))
        values += [_containing(word)] * len(_SEARCHED)
    if query.states:
        # Literals: a partial index does not serve a query whose state is a parameter.
        found.append(_any(f"state = '{state.value}'" for state in query.states))
    if query.queues:
        found.append(f"queue {one_of(query.queues)}")
        values += query.queues
    for column, patterns in (("label", query.labels), ("schedule", query.schedules)):
        if patterns:
            found.append(_any([f"{column} GLOB ?"] * len(patterns)))
            values += globs(patterns)
    if query.workers:
        found.append(
            "EXISTS (SELECT 1 FROM executions WHERE job_seq = jobs.seq AND "
            f"{_any(['worker GLOB ?'] * len(query.workers))})"
        )
        values += globs(query.workers)
    for column, numbers in (("exit_code", query.exit_codes), ("signal", query.signals)):
        if numbers:
            found.append(f"{column} IN ({', '.join(map(str, numbers))})")
    for operator, instant in ((">=", query.after), ("<", query.before)):
        if instant is not None:
            found.append(f"coalesce(finished_at, updated_at) {operator} ?")
            values.append(to_text(instant))
    found += [f"attempts {operator} {number}" for operator, number in query.runs]
    return found, values


def globs(patterns: Sequence[str]) -> list[str]:
    """Return patterns as SQLite writes them: it negates a set by ^ only, shells by ! as well."""
    return [pattern.replace("[!", "[^") for pattern in patterns]


def _any(conditions: Iterable[str]) -> str:
    return f"({' OR '.join(conditions)})"


def _containing(word: str) -> str:
    for special in ("\\", "%", "_"):
        word = word.replace(special, f"\\{special}")
    return f"%{word}%"
