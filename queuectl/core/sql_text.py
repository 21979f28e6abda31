"""Which columns a SQL query joins without naming their tables."""

from __future__ import annotations

import re
from typing import Iterable, Iterator

from queuectl.core.named_tuples import NamedTuple

_TOKENS = (
    r"(?P<blank>[\s\ufeff]+|--[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|(?P<quoted>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\])"
    r"|(?P<word>[A-Za-z0-9_$\x80-\ufefe\uff00-\U0010ffff]+)"
    r"|(?P<other>.)"
)
"""The tokens of SQLite, as far as they tell words from comments and from what is quoted.

A byte order mark in front of a token is a blank to SQLite."""


class Joins(NamedTuple):
    """The joins of a query whose columns have no tables."""

    has_natural: bool
    """Whether there is a NATURAL JOIN, which joins all columns that have the same name."""
    using: frozenset[str]
    """The names of columns in `USING (…)`, in lower case."""


def joins(query: str) -> Joins:
    """Return the joins of a query by USING or NATURAL JOIN.

    A word that only looks like one of these may be taken for it, never the other way round.
    """
    if not re.search("using|natural", query, re.IGNORECASE):
        return Joins(False, frozenset())
    tokens = list(_tokens(query))
    words = [text.lower() if kind == "word" else "" for kind, text in tokens]
    using: set[str] = set()
    for at, word in enumerate(words):
        if word == "using":
            using.update(_listed(tokens[at + 1 :]))
    return Joins("natural" in words, frozenset(using))


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(_TOKENS, query, re.DOTALL):
        if found.lastgroup is not None and found.lastgroup != "blank":
            yield found.lastgroup, found.group()


def _listed(tokens: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the names up to the closing parenthesis."""
    for kind, text in tokens:
        if text == ")":
            return
        if kind == "word":
            yield text.lower()
        elif kind == "quoted":
            quote = text[0]
            inner = text[1:-1]
            yield (inner if quote == "[" else inner.replace(quote * 2, quote)).lower()
