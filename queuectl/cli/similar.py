"""Commands that begin and end alike: they are shortened where they do not differ."""

from __future__ import annotations

from typing import Sequence

from queuectl.core.cells import cut, width
from queuectl.core.named_tuples import NamedTuple

_KEPT = 8
"""How many cells of the parts that commands have in common are kept, at each end."""


class _Common(NamedTuple):
    """The common begin and end of the commands of one program, and the short form of each."""

    prefix: str
    short_prefix: str
    suffix: str
    short_suffix: str


class Similar:
    """Some commands that are shown below each other, in a column of limited width."""

    def __init__(self, commands: Sequence[str], cells: int) -> None:
        groups: dict[str, set[str]] = {}
        for command in commands:
            groups.setdefault(_program(command), set()).add(command)
        self._common = {
            program: _common(sorted(group), cells)
            for program, group in groups.items()
            if len(group) > 1 and max(map(width, group)) > cells
        }

    def shorten(self, command: str) -> str:
        """Return a command with less of what all commands of its program have in common."""
        common = self._common.get(_program(command))
        if common is None or len(command) < len(common.prefix) + len(common.suffix):
            return command
        if common.prefix and command.startswith(common.prefix):
            command = common.short_prefix + command[len(common.prefix) :]
        if common.suffix and command.endswith(common.suffix):
            command = command[: -len(common.suffix)] + common.short_suffix
        return command


def _program(command: str) -> str:
    return command.partition(" ")[0]


def _common(group: Sequence[str], cells: int) -> _Common:
    """Return what the commands of a sorted group have in common, as short as `cells` demands."""
    over = max(map(width, group)) - cells
    # Whole words and folders only: the first one that differs is not torn apart.
    prefix = _same_beginning(group[0], group[-1])
    prefix = prefix[: max(prefix.rfind(" "), prefix.rfind("/")) + 1]
    short_prefix = cut(prefix, max(_KEPT, width(prefix) - over))
    over -= width(prefix) - width(short_prefix)
    backwards = sorted(command[len(prefix) :][::-1] for command in group)
    suffix = _same_beginning(backwards[0], backwards[-1])[::-1]
    suffix = suffix[suffix.find(" ") :] if " " in suffix else ""
    short_suffix = suffix
    if over > 0:
        short_suffix = cut(suffix, max(_KEPT, width(suffix) - over))
    return _Common(prefix, short_prefix, suffix, short_suffix)


def _same_beginning(first: str, last: str) -> str:
    """Return what two texts begin with; if they are the ends of a sorted list, all texts of it."""
    for at, char in enumerate(first):
        if last[at : at + 1] != char:
            return first[:at]
    return first
