"""Rows that are kept until they are printed: a few in memory, many in a temporary file."""

from __future__ import annotations

import marshal
import tempfile
from typing import IO, Any, Iterator, Tuple

_Row = Tuple[Any, ...]

_MEMORY_BYTES = 1 << 20
"""Beyond so much, about, rows go into the file."""
_ROW_BYTES = 100
"""About how many bytes a row takes besides its texts."""


class Spool:
    """Rows of numbers, texts and bytes, written once and then read once."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._rows: list[_Row] = []
        self._held = 0

    def add(self, row: _Row) -> None:
        """Keep a row. Raises OSError if the file cannot be written."""
        self._rows.append(row)
        self._held += _ROW_BYTES
        for value in row:
            if isinstance(value, (str, bytes)):
                self._held += len(value)
        if self._held > _MEMORY_BYTES:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as we do)
            marshal.dump(self._rows, self._file)
            self._rows, self._held = [], 0

    def read(self) -> Iterator[_Row]:
        """Yield the rows in their order."""
        if self._file is not None:
            end = self._file.tell()
            self._file.seek(0)
            while self._file.tell() < end:
                yield from marshal.load(self._file)  # noqa: S302 (we wrote it, and it has no name)
        yield from self._rows
