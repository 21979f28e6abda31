"""Command templates: `ffmpeg -i {} {.}.mp4`, and the command that each set of arguments makes.

The replacements are those of GNU parallel. In a template of several words, each word is quoted
after the replacement. A template of one word with white space is a shell text; there, each argument
is quoted for the place where it is put, so that it stays plain text whatever it holds.
"""

from __future__ import annotations

import os.path
import re
from enum import Enum
from typing import Callable, Iterator, Sequence, Union

from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.shell_words import join, leading_assignments, quote

_PLACEHOLDER = re.compile(r"\{(?:(#)|([0-9]*)(/\.|//|/|\.)?)\}")
_SIMPLE_EXPANSION = re.compile(r"\$\{[#!]?\w+(?:[:#%/+=-]+[\w./*,:-]*)?\}", re.ASCII)
_ENDS_WORD = frozenset(" \t\n;&|()<>")


class _Place(Enum):
    """The place of a placeholder in a shell text."""

    PLAIN = "outside of quotes"
    SINGLE = "in single quotes"
    DOUBLE = "in double quotes"


_QUOTED_FOR: dict[_Place, Callable[[str], str]] = {
    _Place.PLAIN: quote,
    _Place.SINGLE: lambda text: text.replace("'", "'\\''"),
    _Place.DOUBLE: lambda text: re.sub(r'([\\"$`])', r"\\\1", text),
}

_PART_OF: dict[str | None, Callable[[str], str]] = {
    None: lambda text: text,
    ".": lambda text: os.path.splitext(text)[0],
    "/": os.path.basename,
    "//": lambda text: os.path.dirname(text) or ".",
    "/.": lambda text: os.path.splitext(os.path.basename(text))[0],
}


class _Placeholder(NamedTuple):
    """One replacement of a template."""

    source: int | None
    """The number of the source of arguments, from 1; 0 for all of them; None for `{#}`."""
    part: str | None
    """The part of the argument to take: a key of `_PART_OF`."""
    place: _Place

    def values(self, arguments: Sequence[str], number: int) -> list[str]:
        """Return the texts that are put in; several only if there are several sources."""
        if self.source is None:
            return [str(number)]
        chosen = arguments if self.source == 0 else (arguments[self.source - 1],)
        return [_PART_OF[self.part](argument) for argument in chosen]


_Part = Union[str, _Placeholder]


class Template:
    """A command with placeholders, read once and filled in many times."""

    def __init__(self, words: Sequence[str], sources: int) -> None:
        """Read the words before `:::`, for arguments from this many sources.

        InvalidInput if a placeholder names a source that is not there, or if it stands where no
        quoting would be safe.
        """
        self._is_text = len(words) == 1 and any(char.isspace() for char in words[0])
        read = _parts_of_text if self._is_text else _parts_of_word
        self._words = [list(read(word)) for word in words]
        found = [part for word in self._words for part in word if isinstance(part, _Placeholder)]
        for placeholder in found:
            if placeholder.source is not None and placeholder.source > sources:
                raise InvalidInput(
                    f"{{{placeholder.source}}} is used, but there "
                    f"{'is only 1 source' if sources == 1 else f'are only {sources} sources'} "
                    "of arguments"
                )
        if not found:
            if self._is_text:
                self._words[0].append(" ")
                self._words[0].append(_Placeholder(0, None, _Place.PLAIN))
            else:
                self._words.append([_Placeholder(0, None, _Place.PLAIN)])
        self._assignments = leading_assignments(
            [word[0] if word and isinstance(word[0], str) else "" for word in self._words]
        )

    def command(self, arguments: Sequence[str], number: int) -> str:
        """Return the command for one argument of each source; `number` is what `{#}` becomes."""
        if self._is_text:
            return "".join(
                part
                if isinstance(part, str)
                else " ".join(map(_QUOTED_FOR[part.place], part.values(arguments, number)))
                for part in self._words[0]
            )
        words: list[str] = []
        for parts in self._words:
            if len(parts) == 1 and isinstance(parts[0], _Placeholder):
                words += parts[0].values(arguments, number)
            else:
                words.append(
                    "".join(
                        part if isinstance(part, str) else " ".join(part.values(arguments, number))
                        for part in parts
                    )
                )
        return join(words, assignments=self._assignments)


def _parts_of_word(word: str) -> Iterator[_Part]:
    """Split a word into text and placeholders; the word is quoted as a whole later."""
    end = 0
    for found in _PLACEHOLDER.finditer(word):
        if found.start() > end:
            yield word[end : found.start()]
        yield _placeholder(found, _Place.PLAIN)
        end = found.end()
    if end < len(word) or not word:
        yield word[end:]


def _placeholder(found: re.Match[str], place: _Place) -> _Placeholder:
    if found[1]:
        return _Placeholder(None, None, place)
    source = int(found[2] or 0)
    if found[2] and source == 0:
        raise InvalidInput(f"{found[0]}: the sources of arguments are counted from 1")
    return _Placeholder(source, found[3], place)


def _parts_of_text(text: str) -> Iterator[_Part]:
    """Split a shell text into text and placeholders, each with the quotes around it.

    The text is understood only as far as it is simple: from the first construct on in which quotes
    have another meaning, placeholders are refused. A wrong guess there would let an argument such
    as `$(reboot)` run as a command.
    """
    start = at = 0
    reading = _Reading()
    while at < len(text):
        found = _PLACEHOLDER.match(text, at)
        if found:
            reading.check(found[0])
            if found.start() > start:
                yield text[start : found.start()]
            yield _placeholder(found, reading.place)
            start = at = found.end()
            reading.starts_word = False
        else:
            at = reading.step(text, at)
    if start < len(text):
        yield text[start:]


class _Reading:
    """How far a shell text has been read: what the next character means to a shell."""

    def __init__(self) -> None:
        self.place = _Place.PLAIN
        self.starts_word = True
        """Whether the next character would begin a word, so that `#` begins a comment."""
        self._comment = False
        self._here_document = False
        self._refused: str | None = None
        """Why placeholders are not allowed any more: the construct that has begun."""

    def check(self, placeholder: str) -> None:
        """Raise InvalidInput if a placeholder cannot be put in safely here."""
        refused = "in a comment" if self._comment else self._refused
        if refused:
            raise InvalidInput(
                f"{placeholder} cannot be used {refused} "
                "(give the command as several words, or put this text into a script)"
            )

    def step(self, text: str, at: int) -> int:
        """Read one character, or one whole `${…}`; return the position of the next character."""
        char = text[at]
        if self._comment:
            if char == "\n":
                self._comment = False
                return self._plain(text, at, starts_word=False)
            return at + 1
        if self.place is _Place.SINGLE:
            if char == "'":
                self.place = _Place.PLAIN
            return at + 1
        starts_word, self.starts_word = self.starts_word, False
        if char == "\\":
            if text.startswith("\n", at + 1):
                self.starts_word = starts_word  # the shell removes both characters
            return at + 2
        if char == "$":
            return self._expansion(text, at)
        if char == "`":
            self._refuse("in or after `...` (use $(...))")
        elif char == '"':
            self.place = _Place.PLAIN if self.place is _Place.DOUBLE else _Place.DOUBLE
        elif self.place is _Place.PLAIN:
            return self._plain(text, at, starts_word=starts_word)
        return at + 1

    def _plain(self, text: str, at: int, *, starts_word: bool) -> int:
        char = text[at]
        if char == "'":
            self.place = _Place.SINGLE
        elif char == "#" and starts_word:
            self._comment = True
        elif char in _ENDS_WORD:
            self.starts_word = True
            if text.startswith("((", at):
                self._refuse("in or after ((...))")
            elif text.startswith("<<<", at):
                return at + 3
            elif text.startswith("<<", at):
                self._here_document = True
            elif char == "\n" and self._here_document:
                self._refuse("in or after a here-document")
        return at + 1

    def _expansion(self, text: str, at: int) -> int:
        """Read what begins with `$`."""
        simple = _SIMPLE_EXPANSION.match(text, at)
        if simple:
            return simple.end()
        plain = self.place is _Place.PLAIN
        if text.startswith("$((", at):
            self._refuse("in or after $((...))")
        elif text.startswith("$(", at) and not plain:
            self._refuse('in or after "$(...)" (leave the quotes out)')
        elif text.startswith("${", at):
            self._refuse("in or after ${...}")
            return at + 2
        elif plain and text[at + 1 : at + 2] in ("'", '"'):
            self._refuse(f"in or after ${text[at + 1]}...{text[at + 1]}")
        return at + 1

    def _refuse(self, since: str) -> None:
        self._refused = self._refused or since
