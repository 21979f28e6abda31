"""The fields of a new job: their types and ranges, and their JSON form."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import (
    Any,
    Callable,
    Mapping,
    NamedTuple,
    NoReturn,
    Sequence,
)

from queuectl.core.batches import is_batch
from queuectl.core.environment import is_captured, is_for_one_process
from queuectl.core.errors import InvalidInput
from queuectl.core.settings import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    MAX_BACKOFF,
    MAX_RETRIES_LIMIT,
    is_program_path,
    is_variable,
)
from queuectl.core.times import check_duration, parse_duration, parse_instant

MAX_COMMAND_BYTES = 130_000
"""The kernel refuses a single argument or variable of 131,072 bytes (MAX_ARG_STRLEN)."""

MAX_INPUT_BYTES = 1 << 20
"""How long the stdin of a job may be: it is stored in the queue."""
MAX_ENVIRONMENT_BYTES = 1 << 20
"""How large the variables may be that a job takes over: they are stored in the queue."""
MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 128
MAX_TEXT_BYTES = 1024
PRIORITY_LIMIT = 1_000_000_000

_RESERVED = "QUEUECTL_"
"""What the names of the variables begin with that a worker sets."""

_SET_BY_QUEUECTL = frozenset(
    "state attempts interruptions created_at updated_at finished_at locked_by locked_at exit_code "
    "signal last_error seq execution_id cancel_requested cancel_reason executions".split()
)


def _utf8(text: str, what: str, limit_bytes: int) -> str:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} is not valid UTF-8") from None
    if size > limit_bytes:
        raise InvalidInput(f"{what} has {size} bytes; at most {limit_bytes} are allowed")
    if "\0" in text:
        raise InvalidInput(f"{what} holds a NUL byte")
    return text


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{what} must be text, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    try:
        shown = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        shown = type(value).__name__
    return shown if len(shown) <= 40 else shown[:37] + "..."


def check_name(value: object, what: str) -> str:
    """Return an id or a name, which must be one plain word in a shell.

    1 to 128 bytes of printable UTF-8 without white space, comma or slash; it does not begin with
    `-`, `{` or `@`.
    """
    name = _utf8(_text(value, what), what, MAX_NAME_BYTES)
    if not name:
        raise InvalidInput(f"{what} is empty")
    if name[0] in "-{@":
        raise InvalidInput(f"{what} must not begin with {name[0]}")
    # The only white space that isprintable() accepts is the blank.
    if not name.isprintable() or any(character in name for character in " ,/"):
        raise InvalidInput(f"{what} must be printable, without white space, comma or slash")
    return name


def check_queue(value: object, what: str) -> str:
    """Return the name of a queue; that of a batch begins with `@`, see `core.batches`."""
    if isinstance(value, str) and value[1:] and is_batch(value):
        return value[:1] + check_name(value[1:], what)
    return check_name(value, what)


def check_command(value: object, what: str = "command") -> str:
    """Return a command that can be passed to a shell, as to `sh -c`."""
    command = _utf8(_text(value, what), what, MAX_COMMAND_BYTES)
    if not command or command.isspace():
        raise InvalidInput("the command is empty")
    return command


def check_integer(value: object, what: str, low: int, high: int) -> int:
    """Return a whole number in the range; `true` and "3" are refused."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{what} must be a whole number, not {_shown(value)}")
    if not low <= value <= high:
        raise InvalidInput(f"{what} must be {low} to {high}")
    return value


def check_seconds(value: object, what: str) -> float:
    """Return a duration in seconds; it is given as a number, or as text with a unit."""
    try:
        if isinstance(value, str):
            if not value.strip().isdigit():
                return parse_duration(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            return check_duration(float(value))
    except OverflowError:
        pass
    except InvalidInput as error:
        raise InvalidInput(f"{what}: {error}") from None
    raise InvalidInput(
        f'{what} must be a number of seconds or text like "10m", not {_shown(value)}'
    )


def _check_backoff(value: object, what: str) -> float:
    """Return the base of a backoff: a number from 1 to 1000."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(f"{what} must be a number, not {_shown(value)}")
    if not 1 <= value <= MAX_BACKOFF:
        raise InvalidInput(f"{what} must be 1 to {MAX_BACKOFF}")
    return float(value)


def _check_line(value: object, what: str) -> str:
    line = _utf8(_text(value, what), what, MAX_TEXT_BYTES)
    if not line or not line.isprintable():
        raise InvalidInput(f"{what} must be one line of printable text")
    return line


def check_reason(value: str | None, what: str) -> str | None:
    """Return the reason that a person gave for an action; None if there is none."""
    return None if value is None else _utf8(value, what, MAX_TEXT_BYTES)


def check_variable(name: str, content: object, what: str = "env") -> None:
    """Raise InvalidInput for a variable that somebody named and that no job can have.

    Its name must be one that a shell can use.
    """
    if not is_variable(name):
        raise InvalidInput(f"{what}: not a variable's name: {name!r}")
    _check_any_variable(name, content, what)


def check_environment(value: object, what: str) -> Mapping[str, str]:
    """Return variables as `export` writes them: `*` also copies names that no shell can use."""
    return _checked_environment(value, what, _check_any_variable)


def copied_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `*` stands for: all that can be stored, sorted by name.

    Variables that are about the calling process alone are left out.

    Bash exports functions under names such as `BASH_FUNC_which%%`. An odd variable around the
    caller must not keep a job out of the queue.
    """
    copied = {}
    for name in sorted(environ):
        if is_for_one_process(name):
            continue
        with suppress(InvalidInput):
            _check_any_variable(name, environ[name], "env")
            copied[name] = environ[name]
    return copied


def captured_variables(wanted: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that a new job keeps; the key capture-env is `wanted`.

    InvalidInput for one that is named there and cannot be stored.
    """
    captured = {}
    if "*" in wanted:
        wanted = ()
        captured = {n: v for n, v in copied_variables(environ).items() if is_captured(n)}
    for name in wanted:
        if name in environ and not name.startswith(_RESERVED):
            check_variable(name, environ[name], "capture-env")
            captured[name] = environ[name]
    _refuse_large(captured)
    return captured


def _refuse_large(captured: Mapping[str, str]) -> None:
    """Raise InvalidInput, with the largest ones, for more variables than one job may keep."""
    sizes = {name: len(name.encode()) + len(value.encode()) for name, value in captured.items()}
    if sum(sizes.values()) <= MAX_ENVIRONMENT_BYTES:
        return
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:3]
    named = ", ".join(f"{name} ({sizes[name]} bytes)" for name in largest)
    raise InvalidInput(
        f"the environment is larger than 1 MiB, and a job keeps it; the largest are {named} "
        "(unset them, or name in the key capture-env those that jobs need)"
    )


def _checked_environment(
    value: object, what: str, check: Callable[[str, object, str], None]
) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} must be an object of names and texts, not {_shown(value)}")
    for name, content in value.items():
        check(name, content, what)
    return value


def _check_any_variable(name: str, content: object, what: str) -> None:
    if not name or "=" in name or "\0" in name:
        raise InvalidInput(f"{what}: not a variable's name: {name!r}")
    if name.startswith(_RESERVED):
        raise InvalidInput(f"{what}: {name} is set by queuectl")
    _utf8(name, f"a name in {what}", MAX_COMMAND_BYTES)
    name_bytes = len(name) if name.isascii() else len(name.encode())
    _utf8(_text(content, f"{what} {name}"), f"{what} {name}", MAX_COMMAND_BYTES - name_bytes - 1)


def check_folder_name(value: object, what: str) -> str:
    """Return the path of a folder if it can be stored, whether or not the folder exists."""
    return _utf8(_text(value, what), what, MAX_PATH_BYTES)


def _check_cwd(value: object, what: str) -> str:
    path = os.path.expanduser(check_folder_name(value, what))
    if not path:
        raise InvalidInput(f"{what} is empty")
    path = check_folder_name(os.path.abspath(path), what)
    if not os.path.isdir(path):
        raise InvalidInput(f"{what} is not a folder: {value}")
    return path


def _check_shell(value: object, what: str) -> str:
    """Return the path of a shell, whether or not there is one now."""
    path = _utf8(_text(value, what), what, MAX_PATH_BYTES)
    if not is_program_path(path):
        raise InvalidInput(f"{what} must be an absolute path, not {_shown(value)}")
    return path


def check_input(value: object, what: str) -> bytes:
    """Return the stdin of a job, given as bytes, text, or {"base64": text}."""
    if isinstance(value, dict) and list(value) == ["base64"]:
        content = _decoded(_text(value["base64"], what), what)
    elif isinstance(value, bytes):
        content = value
    else:
        try:
            content = _text(value, what).encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{what} is not valid UTF-8") from None
    if len(content) > MAX_INPUT_BYTES:
        raise InvalidInput(f"{what} is longer than 1 MiB (let the job read a file: make < FILE)")
    return content


def _decoded(text: str, what: str) -> bytes:
    import base64  # only for bytes that are no text

    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidInput(f"{what} is not valid base64") from None


def _check_if_dup(value: object, what: str) -> str:
    if value not in ("skip", "join", "replace", "error"):
        raise InvalidInput(f"{what} is skip, join, replace or error, not {_shown(value)}")
    return str(value)


def _check_jobs(value: object, what: str) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)):
        raise InvalidInput(f"{what} must be a job's id or a list of them, not {_shown(value)}")
    return tuple(_check_job(job, what) for job in listed)


def _check_job(value: object, what: str) -> str:
    """Return what names a job: an id or its beginning, or `@` with a number or a word."""
    if not isinstance(value, str) or not value.startswith("@"):
        return check_name(value, what)
    if value not in JOB_WORDS and not re.fullmatch("@[0-9]{1,18}", value):
        raise InvalidInput(
            f"{what} names no job: {_shown(value)} (use @NUMBER, {', '.join(JOB_WORDS)} or an id)"
        )
    return value


JOB_WORDS = ("@last", "@running", "@failed")
"""Words that name jobs; the storage knows which."""

_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "id": check_name,
    "command": check_command,
    "queue": check_queue,
    "priority": lambda value, what: check_integer(value, what, -PRIORITY_LIMIT, PRIORITY_LIMIT),
    "max_retries": lambda value, what: max(1, check_integer(value, what, 0, MAX_RETRIES_LIMIT)),
    "timeout": check_seconds,
    "retry_delay": check_seconds,
    "backoff": _check_backoff,
    "cwd": _check_cwd,
    "env": lambda value, what: _checked_environment(value, what, check_variable),
    "shell": _check_shell,
    "input": check_input,
    "unique_key": _check_line,
    "if_dup": _check_if_dup,
    "after": _check_jobs,
    "after_any": _check_jobs,
    "label": _check_line,
}
"""Field -> the function that checks its value. The function gets the name to use in errors, too."""

JSON_FIELDS = ("id", "command", "queue", "priority", "max_retries", "retry_delay", "backoff",
               "timeout", "delay", "run_at", "cwd", "env", "shell", "input", "unique_key",
               "if_dup", "after", "after_any", "label")  # fmt: skip
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
    """`skip`, `replace` or `error`: what to do if an unfinished job has the key already."""
    after: tuple[str, ...] = ()
    """Jobs that must complete first."""
    after_any: tuple[str, ...] = ()
    """Jobs that must finish first, in whichever way."""
    label: str | None = None
    """A note for people; None means none."""
    retry_delay: float | None = None
    """The time between a failed attempt and the next one, in seconds; None means the backoff."""
    backoff: float | None = None
    """The base of the backoff of this job; None means the key backoff-base."""
    shell: str | None = None
    """The absolute path of the shell that runs the command; None means the key shell."""
    input: bytes | None = None
    """What it reads from stdin; None means that stdin is empty."""

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
        text = _utf8(_text(run_at, run_at_name), run_at_name, MAX_TEXT_BYTES)
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
"""What people write for a field though the spelling is not similar: `cmd` looks more like cwd."""


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
