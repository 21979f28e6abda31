"""The values of single fields of a job: their types and ranges."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from datetime import datetime, timezone
from typing import Callable, Mapping, Sequence

from queuectl.core.environment import is_about_an_event, is_captured, is_for_one_process
from queuectl.core.errors import InvalidInput
from queuectl.core.settings import MAX_BACKOFF, is_program_path, is_variable
from queuectl.core.times import check_duration, parse_duration, parse_iso

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
"""The beginning of the names of variables that a worker sets."""

JOB_WORDS = ("@last", "@running", "@failed")
"""Words that name jobs; the storage knows which jobs they mean."""


def check_text(text: str, what: str, limit_bytes: int) -> str:
    """Return a text that can be stored: UTF-8 without NUL bytes, of at most `limit_bytes`."""
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} is not valid UTF-8") from None
    if size > limit_bytes:
        raise InvalidInput(f"{what} has {size} bytes; at most {limit_bytes} are allowed")
    if "\0" in text:
        raise InvalidInput(f"{what} holds a NUL byte")
    return text


def require_text(value: object, what: str) -> str:
    """Return a value that must be text."""
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
    name = check_text(require_text(value, what), what, MAX_NAME_BYTES)
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
    from queuectl.core.batches import is_batch  # most jobs name no queue

    if isinstance(value, str) and value[1:] and is_batch(value):
        return value[:1] + check_name(value[1:], what)
    return check_name(value, what)


def check_any_queue(value: object, what: str) -> str:
    """Return the name of a queue that may be there; it may be a lane, see `core.batches`."""
    from queuectl.core.batches import LANE, is_lane, lane_of, owner_of  # as in `check_queue`

    if isinstance(value, str) and value != LANE and is_lane(value):
        return lane_of(check_queue(owner_of(value), what))
    return check_queue(value, what)


def check_command(value: object, what: str = "command") -> str:
    """Return a command that can be passed to a shell, as to `sh -c`."""
    command = check_text(require_text(value, what), what, MAX_COMMAND_BYTES)
    if not command or command.isspace():
        raise InvalidInput("the command is empty")
    return command


def check_own_hook(value: object, what: str) -> str:
    """Return the command of a hook that a job brings along."""
    command = check_text(require_text(value, what), what, MAX_COMMAND_BYTES)
    if not command or command.isspace():
        raise InvalidInput(f"{what} is an empty command")
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


def check_instant(value: object, what: str) -> datetime | None:
    """Return a time that may be absent, in UTC; as text it has a zone."""
    if value is None:
        return None
    try:
        instant = parse_iso(value) if isinstance(value, str) else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"{what} must be an ISO-8601 time with a zone, not {_shown(value)}")


def check_backoff(value: object, what: str) -> float:
    """Return the base of a backoff: a number from 1 to 1000."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(f"{what} must be a number, not {_shown(value)}")
    if not 1 <= value <= MAX_BACKOFF:
        raise InvalidInput(f"{what} must be 1 to {MAX_BACKOFF}")
    return float(value)


def check_line(value: object, what: str) -> str:
    """Return one line of printable text: a label or a unique key."""
    line = check_text(require_text(value, what), what, MAX_TEXT_BYTES)
    if not line or not line.isprintable():
        raise InvalidInput(f"{what} must be one line of printable text")
    return line


def check_reason(value: str | None, what: str) -> str | None:
    """Return the reason that a person gave for an action; None if there is none."""
    return None if value is None else check_text(value, what, MAX_TEXT_BYTES)


def check_variable(name: str, content: object, what: str = "env") -> None:
    """Raise InvalidInput for a variable that somebody named and that no job can have.

    Its name must be one that a shell can use.
    """
    if not is_variable(name):
        raise InvalidInput(f"{what}: not a variable's name: {name!r}")
    _check_any_variable(name, content, what)


def check_variables(value: object, what: str) -> Mapping[str, str]:
    """Return variables that somebody named, each of which a shell can use."""
    return _checked_environment(value, what, check_variable)


def check_environment(value: object, what: str) -> Mapping[str, str]:
    """Return variables as `export` writes them: `*` also copies names that no shell can use.

    Those that queuectl gave to the job of a hook or of a schedule are among them.
    """
    return _checked_environment(value, what, _check_exported)


def copied_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `*` stands for: all that can be stored, sorted by name.

    Variables that are about the calling process alone are left out.

    Bash exports functions under names such as `BASH_FUNC_which%%`. An odd variable around the
    caller must not keep a job out of the queue.
    """
    copied = {}
    for name, value in sorted(environ.items()):
        if is_for_one_process(name):
            continue
        with suppress(InvalidInput):
            _check_any_variable(name, value, "env")
            copied[name] = value
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


def _check_exported(name: str, content: object, what: str) -> None:
    if is_about_an_event(name):
        check_text(require_text(content, f"{what} {name}"), f"{what} {name}", MAX_COMMAND_BYTES)
    else:
        _check_any_variable(name, content, what)


def _check_any_variable(name: str, content: object, what: str) -> None:
    if not name or "=" in name or "\0" in name:
        raise InvalidInput(f"{what}: not a variable's name: {name!r}")
    if name.startswith(_RESERVED):
        raise InvalidInput(f"{what}: {name} is set by queuectl")
    check_text(name, f"a name in {what}", MAX_COMMAND_BYTES)
    name_bytes = len(name) if name.isascii() else len(name.encode())
    check_text(
        require_text(content, f"{what} {name}"),
        f"{what} {name}",
        MAX_COMMAND_BYTES - name_bytes - 1,
    )


def check_folder_name(value: object, what: str) -> str:
    """Return the path of a folder if it can be stored, whether or not the folder exists."""
    return check_text(require_text(value, what), what, MAX_PATH_BYTES)


def check_cwd(value: object, what: str) -> str:
    """Return the absolute path of a folder, which must exist now."""
    path = os.path.expanduser(check_folder_name(value, what))
    if not path:
        raise InvalidInput(f"{what} is empty")
    path = check_folder_name(os.path.abspath(path), what)
    if not os.path.isdir(path):
        raise InvalidInput(f"{what} is not a folder: {value}")
    return path


def check_shell(value: object, what: str) -> str:
    """Return the path of a shell, whether or not there is one now."""
    path = check_text(require_text(value, what), what, MAX_PATH_BYTES)
    if not is_program_path(path):
        raise InvalidInput(f"{what} must be an absolute path, not {_shown(value)}")
    return path


def check_input(value: object, what: str) -> bytes:
    """Return the stdin of a job, given as bytes, text, or {"base64": text}."""
    if isinstance(value, dict) and list(value) == ["base64"]:
        content = _decoded(require_text(value["base64"], what), what)
    elif isinstance(value, bytes):
        content = value
    else:
        try:
            content = require_text(value, what).encode()
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


def check_if_dup(value: object, what: str) -> str:
    """Return what to do if an unfinished job has the same unique key."""
    if value not in ("skip", "join", "replace", "error"):
        raise InvalidInput(f"{what} is skip, join, replace or error, not {_shown(value)}")
    return str(value)


def check_jobs(value: object, what: str) -> tuple[str, ...]:
    """Return what names jobs, given as one text or as a list."""
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
