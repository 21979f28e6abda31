"""The configuration keys: the type, default, range and help of each, and how values are read."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, Sequence

from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import DECIMAL, leading, parse_duration

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 0
MAX_RETRIES_LIMIT = 1_000_000
"""The largest number of attempts that can be asked for."""
MAX_BACKOFF = 1000
"""The largest base of a backoff."""
DEFAULT_SHELL = "/bin/sh"

_SIZE_UNITS = {
    prefix + suffix: 1024**power
    for power, prefix in enumerate(("", "k", "m", "g"))
    for suffix in ("", "b", "ib")
}


def _count(text: str) -> int:
    digits = text.isascii() and text.isdigit() and len(text) < 10
    if not digits or int(text) > MAX_RETRIES_LIMIT:
        raise InvalidInput(f"not a whole number from 0 to {MAX_RETRIES_LIMIT}: {text!r}")
    return max(1, int(text))


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise InvalidInput(f"not a number from {low:g} to {high:g}: {text!r}")
        return value

    return read


def parse_size(text: str) -> int:
    """Read a size in bytes, as `4096` or `64KiB`. Raises InvalidInput."""
    number, unit = leading(text.strip(), DECIMAL)
    try:
        size = float(number) * _SIZE_UNITS[unit.strip().lower()]
    except (ValueError, KeyError):
        raise InvalidInput(f"not a size: {text!r} (use bytes, or 64KiB 10MiB 1GiB)") from None
    if not 1024 <= size <= 1 << 40:  # refuses infinity as well, for which int() fails
        raise InvalidInput(f"a size is 1 KiB to 1 TiB, not {text!r}")
    return int(size)


class Choice:
    """Reads one of several words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, text: str) -> str:
        """Return the word; InvalidInput if it is another one."""
        if text not in self.words:
            raise InvalidInput(f"not one of {', '.join(self.words)}: {text!r}")
        return text


def _variables(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.replace(",", " ").split(" ") if name)
    if text != "*" and not all(map(is_variable, names)):
        raise InvalidInput(f"neither variable names nor *: {text!r}")
    return names


def is_variable(name: str) -> bool:
    """Whether a shell variable can have this name: ASCII letters, digits and _."""
    return name.isascii() and name.isidentifier()


def _shell(text: str) -> str:
    if not is_program_path(text):
        raise InvalidInput(f"not an absolute path: {text!r}")
    return text


def is_program_path(text: str) -> bool:
    """Whether this can be the absolute path of a program; it may be missing."""
    return text.startswith("/") and not text.endswith("/") and text.isprintable()


class Key(NamedTuple):
    """A configuration key."""

    read: Callable[[str], Any]
    """Turns the text of a value into the value; InvalidInput if it cannot be one."""
    default: str
    """The text of the default."""
    help: str
    """Its meaning, in one line."""


KEYS: dict[str, Key] = {
    "max-retries": Key(_count, "3", "maximum number of attempts; taken at enqueue"),
    "backoff-base": Key(_number(1, MAX_BACKOFF), "2", "delay before retry n: base ** n seconds"),
    "backoff-max": Key(parse_duration, "1h", "longest delay before a retry"),
    "backoff-jitter": Key(_number(0, 1), "0.1", "share by which a delay varies at random"),
    "job-timeout": Key(parse_duration, "300", "time limit, taken at enqueue; 0 = no limit"),
    "kill-grace": Key(parse_duration, "10", "time from TERM to KILL when a job is ended"),
    "output-limit": Key(parse_size, "10MiB", "kept output: its first and its last half"),
    "retention": Key(parse_duration, "30d", "time to keep ended jobs, except dead ones"),
    "on-worker-death": Key(
        Choice("adopt", "kill"), "adopt", "adopt or kill the job of a dead worker"
    ),
    "leftovers": Key(Choice("keep", "kill"), "keep", "keep or kill what a job left running"),
    "durability": Key(
        Choice("full", "normal"), "full", "normal: a power cut may undo last results"
    ),
    "log-commands": Key(Choice("off", "on"), "off", "on: logs name jobs by label or command, too"),
    "capture-env": Key(_variables, "*", "variables, taken at enqueue; * = all"),
    "shell": Key(_shell, DEFAULT_SHELL, "shell that runs commands; taken at enqueue"),
    "hook-max-retries": Key(_count, "5", "maximum number of attempts of a hook's job"),
}


class Settings(NamedTuple):
    """The configuration in force: a value for every key."""

    max_retries: int
    """Maximum number of attempts of a new job, at least 1."""
    backoff_base: float
    """The delay before retry n is this to the power of n, in seconds."""
    backoff_max: float
    """The longest delay before a retry, in seconds."""
    backoff_jitter: float
    """The share, 0 to 1, by which a delay varies at random."""
    job_timeout: float
    """The timeout of a new job, in seconds; 0 means no limit."""
    kill_grace: float
    """Time between TERM and KILL when a job is ended, in seconds."""
    output_limit: int
    """How much output of an attempt is kept, in bytes."""
    retention: float
    """How long completed and cancelled jobs are kept, in seconds; 0 means for ever."""
    on_worker_death: str
    """`adopt` or `kill`: what to do with the running job of a dead worker."""
    leftovers: str
    """`keep` or `kill`: what to do with processes that a finished job left running."""
    durability: str
    """`full` or `normal`: whether workers wait for the disk when they commit."""
    log_commands: str
    """`on` or `off`: whether logs of workers name the label or the command of each job."""
    capture_env: tuple[str, ...]
    """Names of the variables that a new job takes over from where it is enqueued, or `*`."""
    shell: str
    """The absolute path of the shell that runs the command of a new job."""
    hook_max_retries: int
    """Maximum number of attempts of the job of a hook, at least 1."""


def key_name(text: str) -> str:
    """Return the name of a key, which may be written as in JSON: `max_retries`."""
    name = text.strip().lower().replace("_", "-")
    return name if name in KEYS else text


def check_key(key: str) -> Key:
    """Return what is known of a key; InvalidInput, naming all keys, if it is unknown."""
    if key not in KEYS:
        import difflib  # only on the way to an error

        near = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {' '.join(KEYS)}"
        raise InvalidInput(f"unknown key {key!r} ({hint})")
    return KEYS[key]


def check_value(key: str, value: str) -> Any:
    """Read the text of a value; InvalidInput names the key and what it accepts."""
    try:
        return check_key(key).read(value)
    except InvalidInput as error:
        if key not in KEYS:
            raise
        raise InvalidInput(f"{key}: {error}") from None


def default_of(key: str, *, shared: bool) -> str:
    """Return the text of the default of a key, which may be another on a shared queue.

    There, other people may read what jobs keep.
    """
    return "PATH" if shared and key == "capture-env" else KEYS[key].default


@lru_cache(maxsize=2)
def effective(stored: tuple[tuple[object, object], ...], *, shared: bool = False) -> Settings:
    """Build the settings from the stored entries; an unreadable or unknown one counts as unset.

    Only another program can have written such an entry: `config set` refuses it. Without any
    entry, the result is the defaults.
    """
    given = dict(stored)
    values = {}
    for name, key in KEYS.items():
        readable = name in given and _is_readable(key, given[name])
        default = default_of(name, shared=shared)
        values[name.replace("-", "_")] = key.read(str(given[name]) if readable else default)
    return Settings(**values)


def unreadable_keys(stored: Sequence[tuple[object, object]]) -> list[str]:
    """Return the known keys whose stored value cannot be read: their defaults are in force."""
    return [
        str(name) for name, value in stored if name in KEYS and not _is_readable(KEYS[name], value)
    ]


def _is_readable(key: Key, value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        key.read(value)
    except InvalidInput:
        return False
    return True
