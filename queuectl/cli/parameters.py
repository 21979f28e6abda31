"""Types for the values of options and arguments; their errors name the option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

import click

from queuectl.core.errors import InvalidInput
from queuectl.core.settings import parse_size
from queuectl.core.states import JobState
from queuectl.core.times import parse_duration, parse_past, utcnow

if TYPE_CHECKING:
    from queuectl.core.job_query import JobQuery

_LARGEST = 1_000_000_000
"""An unlimited number would overflow in SQLite, and no queue holds more jobs or lines."""
_LONGEST_PATTERN = 1000


class WholeNumber(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A whole number from `low` to `high`. Without `low`, the field of the job has the limits."""

    name = "whole number"

    def __init__(self, low: int | None = None, high: int = _LARGEST) -> None:
        self._low = low
        self._high = high

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number."""
        try:
            number = int(value)
            if self._low is None or self._low <= number <= self._high:
                return number
        except ValueError:
            pass
        limits = "" if self._low is None else f" from {self._low} to {self._high}"
        raise InvalidInput(f"{_name(param)} must be a whole number{limits}, not {value!r}")


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A value that a function reads from a text; the errors of the function get the option."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return what was read; a default may be no text, and is returned as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except InvalidInput as error:
            raise InvalidInput(f"{_name(param)}: {error}") from None


def _query(text: str) -> JobQuery:
    from queuectl.core.job_query import parse  # only if the option is given

    return parse(text, now=utcnow())


DURATION = _Parsed("duration", parse_duration)
"""A duration in seconds, as `90`, `10m` or `1h30m`."""
SIZE = _Parsed("size", parse_size)
"""A size in bytes, as `4096` or `4KiB`."""
SINCE = _Parsed("duration or time", lambda text: parse_past(text, now=utcnow()))
"""A time in the past, or how long ago it is."""
FIND = _Parsed("text", _query)
"""A query that finds jobs: words, and fields such as `state:dead`."""


class _Pattern(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A pattern as in a shell: `*`, `?` and `[a-z]`."""

    name = "glob"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the pattern."""
        if len(str(value)) > _LONGEST_PATTERN:  # SQLite refuses one of 50,000 bytes
            raise InvalidInput(f"{_name(param)}: at most {_LONGEST_PATTERN} characters")
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{_name(param)}: {value!r} is not UTF-8") from None
        return str(value)


PATTERN = _Pattern()


class States(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """One or several states: `failed`, `failed,dead`. Help and completion offer only `among`."""

    name = "state"

    def __init__(self, among: Sequence[JobState]) -> None:
        self.among = among

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[JobState, ...]:
        """Return the states that the text names."""
        if isinstance(value, tuple):
            return value
        from queuectl.core.job_query import states_called  # only if a state is given

        states: list[JobState] = []
        for word in str(value).split(","):
            states.extend(states_called(word))
        return tuple(states)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        """Offer the names of the states."""
        from click.shell_completion import CompletionItem  # only for completion

        before, comma, last = incomplete.rpartition(",")
        names = (state.value for state in self.among if state.value.startswith(last))
        return [CompletionItem(before + comma + name) for name in names]


def _name(param: click.Parameter) -> str:
    """Return the name of an option, the long one if there is one."""
    return param.opts[-1]
