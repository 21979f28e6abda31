"""Tables whose rows take one line each, and lists of names and values.

Columns are measured in cells of the terminal and narrowed until a row fits into a line. tabulate
lays out the table, but it counts characters: where wide ones are, its columns shift. So it is given
stand-ins of the right width, and the texts take their places afterwards.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Mapping, Sequence, Union

from queuectl.cli import output
from queuectl.cli.colors import signed_state, state_word, strong
from queuectl.cli.similar import Similar
from queuectl.core.cells import cut, fit, pad, width, wrap
from queuectl.core.escaping import escape
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import SIGNS, JobState

if TYPE_CHECKING:
    from queuectl.core.models import Job

_PAGE = 500
"""How many rows are held in memory. The first ones decide how wide the columns are."""

_GAP = "  "
_LARGEST, _SMALLEST = 1000, 5
"""Upper limits of the least widths of columns; the second is used if the first is too wide."""
_STAND_IN = "x"


class Styled(NamedTuple):
    """A value with a style; the style is a function of the text that is left after cutting."""

    text: str
    style: Callable[[str], str]


Cell = Union[str, int, Styled]


class Column(NamedTuple):
    """A column of a table."""

    header: str
    """Its name."""
    least: int | None = None
    """How narrow it may become where a row would not fit into a line; None: it stays whole."""
    shorten: Callable[[str, int], str] = cut
    """How a value is cut that takes too many cells."""
    says_nothing: Callable[[set[str]], bool] | None = None
    """Whether these values, of all rows, are not worth a column; None: it is always shown."""
    parts: int | None = None
    """It takes at most 1/parts of a line if others would be cut for it; None: it has no limit."""
    optional: bool = False
    """Whether it is left out where even the narrowest columns do not fit into a line."""
    alike: bool = False
    """Whether the values are commands, which may be shortened where they are alike."""
    right: bool = False
    """Whether its values are aligned on the right, as numbers are."""


def only(value: str) -> Callable[[set[str]], bool]:
    """Return a test for a column in which every row has the same value, this one."""
    return lambda values: values == {value}


def all_the_same(values: set[str]) -> bool:
    """Tell whether every row of a column has the same value, whichever it is."""
    return len(values) == 1


def state_cell(state: JobState) -> Cell:
    """Return a state as tables show it: with its sign on a terminal, as a word elsewhere."""
    if not output.on_terminal():
        return Styled(state.value, lambda text: state_word(state) if text == state.value else text)
    whole = state.value if output.needs_ascii() else f"{SIGNS[state]} {state.value}"
    return Styled(whole, lambda text: signed_state(state) if text == whole else text)


def job_state_cell(job: Job) -> Cell:
    """Return the state of a job as tables show it, and whether the job is paused.

    Off a terminal that is one word, as scripts expect of a column.
    """
    cell = state_cell(job.state)
    if job.paused_at is None or not isinstance(cell, Styled):
        return cell
    paused = ", paused" if output.on_terminal() else ",paused"
    whole, style = cell

    def styled(text: str) -> str:
        is_whole = text == whole + paused
        return style(whole) + strong(paused) if is_whole else text

    return Styled(whole + paused, styled)


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    longest: Callable[[], Mapping[str, int]] = dict,
) -> bool:
    """Print a table, each row on one line; return whether there are any rows.

    Where lines have no limit (not on a terminal, without COLUMNS) nothing is cut or left out. A
    table of several pages has the columns of its first page, all of them. For such a table
    `longest` returns what is known of later pages: how many cells a column needs, by its header.

    Every value is escaped: a queue may come from anybody, with anything in any column.
    """
    pages = _pages(rows)
    first, second = next(pages, None), next(pages, None)
    if first is None:
        return False
    known = longest() if second is not None else {}
    layout = _layout(columns, first, known, is_whole=second is None)
    output.print_data("\n".join([layout.header(), *layout.lines(first)]))
    if second is not None:
        for page in chain([second], pages):
            output.print_data("\n".join(layout.lines(page)))
    return True


def print_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and escaped values in two columns, without the names whose value is None.

    A tuple of words is broken into lines where lines have a limit.
    """
    present = [(name, value) for name, value in pairs if value is not None]
    space = max((width(name) for name, _ in present), default=0) + 1
    line = output.line_width()
    for name, value in present:
        if isinstance(value, tuple):
            words = escape(" ".join(value))
            lines = [words] if line is None else wrap(words, max(1, line - space - 1))
            shown = f"\n{' ' * (space + 1)}".join(lines)
        else:
            shown = state_word(value) if isinstance(value, JobState) else escape(str(value))
        output.print_data(f"{name + ':':<{space}} {shown}")


def _pages(rows: Iterable[Sequence[Cell]]) -> Iterator[list[list[Styled]]]:
    escaped = ([_as_styled(cell) for cell in row] for row in rows)
    page = list(islice(escaped, _PAGE))
    while page:
        yield page
        page = list(islice(escaped, _PAGE))


def _as_styled(cell: Cell) -> Styled:
    if isinstance(cell, Styled):
        return cell._replace(text=escape(cell.text))
    return Styled(escape(str(cell)), str)


class _Shown(NamedTuple):
    """A column that is shown."""

    column: Column
    at: int
    """Its place in the rows."""
    cells: int
    """Its width; a value that takes more is cut, or shifts the rest of its row."""
    similar: Similar | None
    """How commands that are alike are shortened; None if the values are no commands."""


class _Layout:
    """Which columns a table has, and how wide they are."""

    def __init__(self, shown: Sequence[_Shown], *, cuts: bool) -> None:
        self._shown = shown
        self._cuts = cuts

    def header(self) -> str:
        return self._render([self._header_row()])[0]

    def lines(self, page: Sequence[Sequence[Styled]]) -> list[str]:
        """Return the lines of some rows."""
        rows = [[self._fitted(one, row[one.at]) for one in self._shown] for row in page]
        # The first row makes tabulate give each page the same columns.
        return self._render([self._header_row(), *rows])[1:]

    def _header_row(self) -> list[Styled]:
        texts = (cut(one.column.header, one.cells) for one in self._shown)
        return [
            Styled(text.rjust(one.cells) if one.column.right else pad(text, one.cells), str)
            for text, one in zip(texts, self._shown)
        ]

    def _fitted(self, one: _Shown, cell: Styled) -> Styled:
        text = cell.text
        if self._cuts and width(text) > one.cells:
            shorter = text if one.similar is None else one.similar.shorten(text)
            text = one.column.shorten(shorter, one.cells)
            if text != shorter != cell.text:  # cut twice, perhaps at the same place
                text = text.replace("……", "…")
        return cell._replace(text=text)

    def _render(self, rows: Sequence[Sequence[Styled]]) -> list[str]:
        import re  # tabulate needs it, too

        from tabulate import tabulate  # costs 60 ms

        # A value that takes more cells than its column has shifts the rest of its own row only.
        table = tabulate(
            [list(map(_stand_in, row, self._shown)) for row in rows],
            tablefmt="plain",
            disable_numparse=True,
            colalign=["right" if one.column.right else "left" for one in self._shown],
        )
        texts = (cell for row in rows for cell in row if width(cell.text))
        filled = re.sub(f"{_STAND_IN}+", lambda _found: _styled(next(texts)), table)
        return [line.rstrip(" ") for line in filled.split("\n")]


def _stand_in(cell: Styled, one: _Shown) -> str:
    return _STAND_IN * min(width(cell.text), one.cells)


def _styled(cell: Styled) -> str:
    return cell.style(cell.text)


def _can_fit(least: Sequence[int | None], natural: Sequence[int], room: int) -> bool:
    """Return whether columns fit into a line if they are as narrow as they may become."""
    return sum(_narrowest(least, natural, _SMALLEST)) + len(_GAP) * (len(natural) - 1) <= room


def _narrowest(least: Sequence[int | None], natural: Sequence[int], lowest: int) -> list[int]:
    return [cells if one is None else min(cells, one, lowest) for one, cells in zip(least, natural)]


def _limited(parts: Sequence[int | None], natural: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns; those that may take a part of a line give up what is needed."""
    limits = [
        cells if one is None else min(cells, room // one) for one, cells in zip(parts, natural)
    ]
    return fit(natural, limits, max(room, sum(limits)))


def _fitted(least: Sequence[int | None], natural: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns that take at most `room` cells together, as far as that goes.

    Those that stay whole are narrowed only when the others have all but vanished.
    """
    widths = list(natural)
    for lowest in (_LARGEST, _SMALLEST):
        low = _narrowest(least, natural, lowest)
        if sum(low) <= room:
            return fit(widths, low, room)
        widths = low
    return fit(widths, widths, room)


def _layout(
    columns: Sequence[Column],
    page: Sequence[Sequence[Styled]],
    known: Mapping[str, int],
    *,
    is_whole: bool,
) -> _Layout:
    """Decide which columns a table has, and their widths; `page` is its first or its only page."""
    room = output.line_width()
    values = [[row[at].text for row in page] for at in range(len(columns))]
    kept = [
        at
        for at, column in enumerate(columns)
        if room is None
        or not is_whole
        or column.says_nothing is None
        or not column.says_nothing(set(values[at]))
    ]
    natural = [
        max(1, width(columns[at].header), known.get(columns[at].header, 0), *map(width, values[at]))
        for at in kept
    ]
    if room is None:
        # Nothing stands to the right of the last column, so its width does not matter.
        widths = [*natural[:-1], width(columns[kept[-1]].header)]
    else:
        while not _can_fit([columns[at].least for at in kept], natural, room):
            left_out = next((n for n, at in enumerate(kept) if columns[at].optional), None)
            if left_out is None:
                break
            del kept[left_out], natural[left_out]
        room_for_all = room - len(_GAP) * (len(kept) - 1)
        natural = _limited([columns[at].parts for at in kept], natural, room_for_all)
        widths = _fitted([columns[at].least for at in kept], natural, room_for_all)
        if not is_whole:  # a later page may have longer values
            widths[-1] += room_for_all - sum(widths)
    shown = []
    for at, cells in zip(kept, widths):
        is_alike = columns[at].alike and room is not None
        similar = Similar(values[at], cells) if is_alike else None
        shown.append(_Shown(columns[at], at, cells, similar))
    return _Layout(shown, cuts=room is not None)
