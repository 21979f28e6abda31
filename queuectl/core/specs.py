"""The fields of a new job, and their JSON form."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Callable, Mapping, NoReturn, Sequence

from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.settings import DEFAULT_PRIORITY, DEFAULT_QUEUE, MAX_RETRIES_LIMIT
from queuectl.core.times import parse_instant
from queuectl.core.values import (
    MAX_TEXT_BYTES,
    PRIORITY_LIMIT,
    check_backoff,
    check_command,
    check_cwd,
    check_if_dup,
    check_input,
    check_integer,
    check_jobs,
    check_line,
    check_name,
    check_own_hook,
    check_queue,
    check_seconds,
    check_shell,
    check_text,
    check_variables,
    require_text,
)

_SET_BY_QUEUECTL = frozenset(
    "state attempts interruptions created_at updated_at finished_at locked_by locked_at exit_code "
    "signal last_error seq execution_id cancel_requested cancel_reason executions".split()
)


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "id": check_name,
    "command": check_command,
    "queue": check_queue,
    "priority": lambda value, what: check_integer(value, what, -PRIORITY_LIMIT, PRIORITY_LIMIT),
    "max_retries": lambda value, what: max(1, check_integer(value, what, 0, MAX_RETRIES_LIMIT)),
    "timeout": check_seconds,
    "retry_delay": check_seconds,
    "backoff": check_backoff,
    "cwd": check_cwd,
    "env": check_variables,
    "shell": check_shell,
    "input": check_input,
    "unique_key": check_line,
    "if_dup": check_if_dup,
    "after": check_jobs,
    "after_any": check_jobs,
    "label": check_line,
    "on_success": check_own_hook,
    "on_failure": check_own_hook,
    "on_finish": check_own_hook,
}
"""Field -> the function that checks its value. The function gets the name to use in errors, too."""

JSON_FIELDS = ("id", "command", "queue", "priority", "max_retries", "retry_delay", "backoff",
               "timeout", "delay", "run_at", "cwd", "env", "shell", "input", "unique_key",
               "if_dup", "after", "after_any", "label", "on_success", "on_failure",
               "on_finish")  # fmt: skip
"""The fields of the JSON object, in the order in which help and messages name them."""


RETRY_FIELDS = frozenset(("retry_delay", "backoff"))
"""Two ways to say when a failed job is retried; a job has at most one of them."""


class JobSpec(NamedTuple):
    """A job that a user wants to enqueue.

    The storage trusts these fields. Build a spec from a user's input with `from_fields`, which
    checks them.
    """

    command: str
    """What the shell runs, as `sh -c` does."""
    id: str | None = None
    """The name of the job; None means that one is generated."""
    queue: str = DEFAULT_QUEUE
    """The queue it is put in."""
    priority: int = DEFAULT_PRIORITY
    """Jobs with a higher one are claimed first."""
    max_retries: int | None = None
    """The maximum number of attempts, at least 1; None means the key max-retries."""
    timeout: float | None = None
    """How long an attempt may run, in seconds, 0 for no limit; None means the key job-timeout."""
    run_at: datetime | None = None
    """The earliest time of the first attempt, aware; None means at once."""
    cwd: str | None = None
    """The absolute path of the folder it runs in; None means that of the worker."""
    env: Mapping[str, str] = {}
    """Variables to set in its environment, besides those that the key capture-env names."""
    unique_key: str | None = None
    """No two unfinished jobs have the same key; None means no key."""
    if_dup: str = "skip"
    """`skip`, `join`, `replace` or `error`: what to do if an unfinished job has the key already."""
    after: tuple[str, ...] = ()
    """Jobs that must complete first."""
    after_any: tuple[str, ...] = ()
    """Jobs that must finish first, in any way."""
    label: str | None = None
    """A note for people; None means none."""
    retry_delay: float | None = None
    """The time between a failed attempt and the next one, in seconds; None means the backoff."""
    backoff: float | None = None
    """The base of the backoff of this job; None means the key backoff-base."""
    shell: str | None = None
    """The absolute path of the shell that runs the command; None means the key shell."""
    input: bytes | None = None
    """Its stdin; None means that it is empty."""
    on_success: str | None = None
    """The command to run once it has completed; None means none."""
    on_failure: str | None = None
    """The command to run once it is dead; None means none."""
    on_finish: str | None = None
    """The command to run once it has finished, in any way; None means none."""

    @classmethod
    def from_fields(
        cls,
        given: Mapping[str, object],
        *,
        now: datetime,
        defaults: Mapping[str, Any] | None = None,
    ) -> JobSpec:
        """Build the spec of one job from fields with the names of the JSON form.

        `defaults` holds checked fields for those that are not given; `env` is merged variable by
        variable. InvalidInput names the first wrong field.
        """
        checked = check_fields(given, now=now)
        says_if_dup = "if_dup" in checked
        if defaults:
            if RETRY_FIELDS & checked.keys():  # only one of them can have an effect
                defaults = {name: defaults[name] for name in defaults.keys() - RETRY_FIELDS}
            if "env" in defaults and "env" in checked:
                checked["env"] = {**defaults["env"], **checked["env"]}
            checked = {**defaults, **checked}
        if says_if_dup and "unique_key" not in checked:
            raise InvalidInput("if_dup requires unique_key")
        if "command" not in checked:
            raise InvalidInput("there is no command")
        return cls(**checked)


def check_fields(
    given: Mapping[str, object], *, now: datetime, names: Mapping[str, str] = {}
) -> dict[str, Any]:
    """Check fields with the names of the JSON form; return those of JobSpec.

    A field that is None counts as absent. `names` maps fields to the names that errors use instead:
    an error about an option names the option.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        check = _CHECKS.get(name)
        if check is not None:
            checked[name] = check(value, names.get(name, name))
        elif name not in ("delay", "run_at"):
            _refuse_field(name)
    if checked.keys() >= RETRY_FIELDS:
        retry_delay, backoff = (names.get(name, name) for name in ("retry_delay", "backoff"))
        raise InvalidInput(f"{retry_delay} and {backoff} cannot be used together")
    run_at = _start(given.get("delay"), given.get("run_at"), now, names)
    if run_at is not None:
        checked["run_at"] = run_at
    return checked


def _start(
    delay: object, run_at: object, now: datetime, names: Mapping[str, str]
) -> datetime | None:
    delay_name, run_at_name = names.get("delay", "delay"), names.get("run_at", "run_at")
    if delay is not None and run_at is not None:
        raise InvalidInput(f"{delay_name} and {run_at_name} cannot be used together")
    if delay is not None:
        return now + timedelta(seconds=check_seconds(delay, delay_name))
    if run_at is not None:
        text = check_text(require_text(run_at, run_at_name), run_at_name, MAX_TEXT_BYTES)
        try:
            return parse_instant(text, now=now)
        except InvalidInput as error:
            raise InvalidInput(f"{run_at_name}: {error}") from None
    return None


def _refuse_field(name: str) -> NoReturn:
    if name in _SET_BY_QUEUECTL:
        raise InvalidInput(f"{name} is set by queuectl; use import")
    raise InvalidInput(f"unknown field {name!r}{suggestion(name, JSON_FIELDS)}")


_SYNONYMS = {
    **dict.fromkeys(("cmd", "cmdline", "run", "script", "exec"), "command"),
    "at": "run_at",
}
"""Other names of a field whose spelling is not similar: `cmd` looks more like cwd."""


def suggestion(word: str, known: Sequence[str], *, also: Sequence[str] = ()) -> str:
    """Return ` (did you mean …?)`, or the whole list if no known word is similar.

    `also` holds words that are understood as well, but do not belong in the list.
    """
    if _SYNONYMS.get(word) in known:
        return f" (did you mean {_SYNONYMS[word]}?)"
    import difflib  # costs 10 ms; only on the way to an error

    understood = [*known, *also]
    near = difflib.get_close_matches(word.replace("-", "_"), understood, n=1)
    near = near or difflib.get_close_matches(word.replace("_", "-"), understood, n=1)
    return f" (did you mean {near[0]}?)" if near else f" (known: {' '.join(known)})"


def parse_object(text: str) -> dict[str, object]:
    """Read one JSON object, without repeated keys or NaN. ValueError says what is wrong."""
    try:
        text = text.strip(" \t\r\n")
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if end != len(text):
        raise ValueError(f"something follows it: {text[end:].lstrip()[:20]!r}")
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or list. No shell command that works is one.

    A text that begins with a blank is none: so it can be given as a command all the same.
    """
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} is given twice")
            seen.add(key)
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)
