"""The arguments of a command template: `:::` and its relatives, as in GNU parallel."""

from __future__ import annotations

from itertools import product
from typing import Iterable, Iterator, Sequence

from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple

SEPARATORS = (":::", "::::", ":::+", "::::+")


class Source(NamedTuple):
    """One source of arguments."""

    separator: str
    words: tuple[str, ...]
    """The words after the separator: arguments, or names of files with one argument per line."""

    @property
    def names_files(self) -> bool:
        """Whether the words are names of files."""
        return self.separator.startswith("::::")

    @property
    def is_linked(self) -> bool:
        """Whether each argument belongs to the argument at the same place of the source before."""
        return self.separator.endswith("+")


def split(words: Sequence[str]) -> tuple[tuple[str, ...], list[Source]]:
    """Return the words of a command template, and its sources; no sources if it is no template."""
    starts = [at for at, word in enumerate(words) if word in SEPARATORS]
    if not starts:
        return tuple(words), []
    ends = [*starts[1:], len(words)]
    sources = [
        Source(words[start], tuple(words[start + 1 : end])) for start, end in zip(starts, ends)
    ]
    if sources[0].is_linked:
        raise InvalidInput(f"{sources[0].separator} needs a source of arguments before it")
    for source in sources:
        if source.names_files and not source.words:
            raise InvalidInput(f"{source.separator} needs a file, or - for stdin")
    return tuple(words[: starts[0]]), sources


def combinations(
    sources: Sequence[Source], arguments: Sequence[Iterable[str]]
) -> Iterator[tuple[str, ...]]:
    """Yield one argument of each source, in all combinations; the last source varies fastest.

    A linked source does not vary by itself. `arguments` are those of the sources. A single source
    is read as it goes, so it may be endless.
    """
    if len(sources) == 1:
        for argument in arguments[0]:
            yield (argument,)
        return
    groups: list[list[list[str]]] = []
    for source, given in zip(sources, map(list, arguments)):
        if not source.is_linked:
            groups.append([given])
            continue
        before = groups[-1][-1]
        if len(before) != len(given):
            raise InvalidInput(
                f"{source.separator} needs as many arguments as the source before it "
                f"({len(before)}), not {len(given)}"
            )
        groups[-1].append(given)
    for chosen in product(*(list(zip(*group)) for group in groups)):
        yield tuple(argument for linked in chosen for argument in linked)
