"""Words quoted for the shell, so that each stays one word whatever it holds."""

from __future__ import annotations

import re
import shlex
from typing import Sequence

from queuectl.core.settings import is_variable

_MEANS_MORE_AS_COMMAND = re.compile(
    # The reserved words of POSIX's shell that need no quotes otherwise, and those of bash and zsh.
    r"(?:case|coproc|do|done|elif|else|esac|fi|for|function|if|in|select|then|time|until|while)\Z"
    r"|[A-Za-z_]\w*\+?=",  # an assignment
    re.ASCII,
)


def assigns(word: str) -> bool:
    """Whether a shell would take the word, before a command, as `NAME=VALUE`."""
    name, equals, _ = word.partition("=")
    return bool(equals) and is_variable(name)


def leading_assignments(words: Sequence[str]) -> int:
    """Return how many words before the command are `NAME=VALUE`."""
    return next((at for at, word in enumerate(words) if not assigns(word)), len(words))


def quote(word: str) -> str:
    """Return the word quoted, so that a shell takes it as plain text even in place of a command."""
    quoted = quote_argument(word)
    plain = quoted == word and _MEANS_MORE_AS_COMMAND.match(word)
    return f"'{word}'" if plain else quoted


def quote_argument(word: str) -> str:
    """Return the word quoted, so that a shell takes it as plain text after the command's name."""
    # zsh replaces =NAME by the path of a program.
    return f"'{word}'" if word.startswith("=") and shlex.quote(word) == word else shlex.quote(word)


def join(words: Sequence[str], *, assignments: int) -> str:
    """Return the words as a command; the first `assignments` of them set variables."""
    texts = []
    for word in words[:assignments]:
        name, _, value = word.partition("=")
        texts.append(f"{name}={shlex.quote(value)}")
    command = words[assignments : assignments + 1]
    arguments = words[assignments + 1 :]
    return " ".join([*texts, *map(quote, command), *map(quote_argument, arguments)])
