"""Reading a crontab, as crontab(5) describes it: each line as the parts of a schedule."""

from __future__ import annotations

import re
from typing import Mapping

from queuectl.core.named_tuples import NamedTuple

DEFAULT_PATH = "/usr/bin:/bin"
"""The PATH of cron's jobs, unless the crontab sets one."""

_VARIABLE = re.compile(r"""\s*(?P<quote>["']?)(?P<name>[^\s"'=]+)(?P=quote)\s*=\s*(?P<value>.*)""")
_FIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FOR_CRON_ALONE = frozenset(["SHELL", "MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY"])
_MAX_DELAY_MINUTES = 7 * 24 * 60


class Entry(NamedTuple):
    """One line that runs a command."""

    line: int
    """The number of the line, from 1."""
    when: str
    """Five fields separated by single spaces, or a name such as `@daily`."""
    command: str
    """The command for the shell."""
    input: bytes | None
    """The stdin of the command: the text after the first `%`; None without one."""
    env: Mapping[str, str]
    """The variables that cron would set for it, with PATH, HOME and LOGNAME."""
    folder: str
    """The folder in which it runs, its HOME."""
    shell: str | None
    """The shell that the crontab names; None means sh."""
    timezone: str | None
    """The zone in which the fields are read; None means that of the machine."""
    jitter_seconds: float
    """The limit of the random delay of its start."""
    comment: str | None
    """The comment directly above, if it can be the name of a schedule; else None."""


class Refused(NamedTuple):
    """A line that cannot become a schedule."""

    line: int
    """The number of the line, from 1."""
    text: str
    """The line as it was given."""
    why: str
    """The reason, for people."""


class Crontab(NamedTuple):
    """The lines of a crontab."""

    entries: tuple[Entry, ...]
    """The lines that run a command."""
    refused: tuple[Refused, ...]
    """The lines that cannot be read, or that have no counterpart here."""
    mailed_to: tuple[str, ...]
    """The addresses that MAILTO names, each once. cron mails the output to them."""


def parse(text: str, *, home: str, user: str, system_user: str | None = None) -> Crontab:
    """Read a crontab.

    `home` and `user` are those of the user whose crontab it is. With `system_user` it has a sixth
    column, as /etc/crontab does, and only the lines of that user are read.
    """
    reader = _Reader(home, user, system_user)
    # `splitlines` would also break a command at a form feed or at U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        reader.read(number, line)
    return Crontab(tuple(reader.entries), tuple(reader.refused), tuple(reader.mailed_to))


class _Reader:
    """Reads line after line; variables count for the lines below them."""

    def __init__(self, home: str, user: str, system_user: str | None) -> None:
        self.entries: list[Entry] = []
        self.refused: list[Refused] = []
        self.mailed_to: list[str] = []
        self._system_user = system_user
        self._variables = {"PATH": DEFAULT_PATH, "HOME": home, "LOGNAME": user}
        self._comment: str | None = None

    def read(self, number: int, line: str) -> None:
        comment, self._comment = self._comment, None
        text = line.strip()
        if not text:
            return
        if text.startswith("#"):
            self._comment = text.lstrip("#").strip()
            return
        # A command may hold `=`, but no field of a time does, nor `@daily`.
        variable = _VARIABLE.fullmatch(text)
        if variable is not None and not text.startswith("@"):
            self._set(number, line, variable["name"], _unquoted(variable["value"]))
            return
        try:
            entry = self._entry(number, text, comment)
        except ValueError as error:
            self.refused.append(Refused(number, line, str(error)))
        else:
            if entry is not None:
                self.entries.append(entry)

    def _set(self, number: int, line: str, name: str, value: str) -> None:
        if name == "RANDOM_DELAY" and not _minutes(value):
            self.refused.append(Refused(number, line, "RANDOM_DELAY is no number of minutes"))
            return
        if name == "MAILTO":
            self.mailed_to += [value] if value and value not in self.mailed_to else []
        self._variables[name] = value

    def _entry(self, number: int, text: str, comment: str | None) -> Entry | None:
        is_name = text.startswith("@")
        columns = (1 if is_name else 5) + (self._system_user is not None)
        words = text.split(None, columns)
        if len(words) <= columns:
            place = words[0] if is_name else "the five fields"
            raise ValueError(f"there is no command after {place}")
        *when, rest = words
        if self._system_user is not None and when.pop() != self._system_user:
            return None
        command, content = _command_and_input(rest)
        if when[0] == "@reboot":
            raise ValueError("@reboot has no counterpart: let a service start the command")
        variables = self._variables
        return Entry(
            number,
            " ".join(when),
            command,
            content,
            {name: text for name, text in variables.items() if name not in _FOR_CRON_ALONE},
            variables["HOME"],
            variables.get("SHELL") or None,
            variables.get("CRON_TZ") or None,
            60.0 * int(variables.get("RANDOM_DELAY") or 0),
            comment if comment is not None and _FIT_NAME.fullmatch(comment) else None,
        )


def _minutes(value: str) -> bool:
    digits = value.isascii() and value.isdigit() and len(value) < 10
    return digits and int(value) <= _MAX_DELAY_MINUTES


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _command_and_input(text: str) -> tuple[str, bytes | None]:
    """Split a command at its first `%`, which ends it. Further ones end lines of its input.

    A `%` behind a backslash is an ordinary one.
    """
    parts = re.split(r"(?<!\\)%", text)
    command, *lines = (part.replace("\\%", "%") for part in parts)
    return command.strip(), "".join(f"{line}\n" for line in lines).encode() if lines else None
