"""Queries of users: one statement, on a connection that can only read.

Values that may be secret are read as NULL, whatever the query: the authorizer of the connection
hides the columns of the tables, and so also in views, subqueries and conditions. SQLite does not
ask it about columns that are joined by USING or NATURAL JOIN. So only columns of the promised
views, none of which is hidden, may be joined in that way.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import closing, suppress
from functools import partial
from typing import Callable, Iterator, Union

from queuectl.core.errors import (
    InvalidInput,
    NoQueue,
    QueueBusy,
    QueueError,
    QueueUnusable,
    ReadTimeOut,
)
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.sql_text import joins
from queuectl.host import places
from queuectl.host.files import QueueFiles
from queuectl.host.spool import Spool
from queuectl.storage import schema
from queuectl.storage.base import Base
from queuectl.storage.connecting import connect, refuse_foreign_wal
from queuectl.storage.sqlite_errors import READING_ERRORS, is_about_full_disk, translated

Value = Union[None, int, float, str, bytes]

_ENVIRONMENTS = frozenset(
    {
        ("jobs", "env"),
        ("staged_jobs", "env"),
        ("contents", "content"),
        ("contents", "checksum"),
        ("hooks", "env"),
        ("schedules", "spec"),
    }
)
"""Columns that hold variables of environments; `contents` also holds the stdin of jobs."""

_SECRETS = frozenset(
    {
        ("hooks", "secret"),
        ("hooks", "old_secret"),
        ("hooks", "url"),
        ("hooks", "header"),
        ("config", "value"),
        ("meta", "value"),
    }
)

_FUNCTION_TABLES = frozenset({"json_each", "json_tree", "generate_series"})
"""Tables that are functions, and read nothing but their arguments."""

_REFUSED_FUNCTIONS = frozenset(
    "load_extension fts3_tokenizer readfile writefile edit icu_load_collation sqlite_log".split()
)
"""Functions that reach beyond the query. Most builds of SQLite have only the first."""

_RECURSIVE = 33
"""SQLITE_RECURSIVE: a query is recursive."""

_INSTRUCTIONS_PER_LOOK = 10_000
"""How often a query looks at the clock, in instructions of SQLite: about every 0.5 ms."""

_MEMORY_BYTES = 256 << 20
"""How much memory SQLite may take for a query. It sorts in files."""

_LONGEST_VALUE_BYTES = 64 << 20
"""The maximum length of a value. (Before Python 3.11 only the limit of the memory holds.)"""


class QueryRefused(QueueError):
    """SQLite does not accept a query, or the query would do more than read."""


class Answer(NamedTuple):
    """The result of a query."""

    columns: tuple[str, ...]
    """The names of the columns; several may have the same name."""
    rows: Iterator[tuple[Value, ...]]
    """The rows."""


class View(NamedTuple):
    """A view that users may query."""

    name: str
    """Its name."""
    columns: tuple[str, ...]
    """The names of its columns."""


def promised_views() -> list[View]:
    """Return the views whose columns are promised."""
    with closing(_empty()) as conn:
        names = conn.execute(
            "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY rowid"
        ).fetchall()
        return [
            View(name, tuple(row[1] for row in conn.execute(f"PRAGMA table_info({name})")))
            for (name,) in names
        ]


def ask(
    files: QueueFiles,
    query: str,
    *,
    show_env: bool,
    seconds: float,
    notice: Callable[[str], None] | None = None,
) -> Answer:
    """Return the result of a query.

    All rows have been read when it returns, so that nobody who reads them slowly keeps the log of
    the queue from being emptied. Raises QueryRefused, or ReadTimeOut after `seconds` (0: no
    limit). A queue that does not exist raises NoQueue, except at the default place, where it counts
    as an empty one. `notice` is called with a line for the user if the file was upgraded.
    """
    _refuse_hidden_joins(query)
    with closing(_Reading(files, notice)) as reading:
        reading.limit(seconds)
        reading.hide(_SECRETS if show_env else _SECRETS | _ENVIRONMENTS)
        answer = reading.answer(query)
        reading.refuse_changed()
    return answer


class _Reading:
    """A connection for one query."""

    def __init__(self, files: QueueFiles, notice: Callable[[str], None] | None) -> None:
        self._files = files
        self._alone: tuple[object, ...] | None = None
        """The state of the file if we read it as one that nobody else has open."""
        self._connection = self._open(notice)

    def close(self) -> None:
        self._connection.close()

    def limit(self, seconds: float) -> None:
        """Limit the time, and what a query can do to the memory of this process."""
        conn = self._connection
        conn.execute(f"PRAGMA hard_heap_limit = {_MEMORY_BYTES}")  # from SQLite 3.31 on
        if sys.version_info >= (3, 11):
            conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE_BYTES)
            conn.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        if seconds:
            deadline = time.monotonic() + seconds
            conn.set_progress_handler(lambda: time.monotonic() >= deadline, _INSTRUCTIONS_PER_LOOK)

    def hide(self, hidden: frozenset[tuple[str, str]]) -> None:
        """From now on read these columns as NULL, and allow nothing but reading tables."""
        known = {
            str(name).lower()
            for (name,) in self._connection.execute(
                """
                SELECT name
                  FROM sqlite_master
                 WHERE type = 'view'
                    OR type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'
                """
            )
        }
        known |= {"sqlite_master", "sqlite_schema"} | _FUNCTION_TABLES
        for name in _FUNCTION_TABLES:
            # SQLite makes such a table at its first use, and then asks the authorizer whether the
            # schema may be changed.
            with suppress(sqlite3.OperationalError):  # most builds lack some of them
                self._connection.execute(f"SELECT 1 FROM {name} LIMIT 0")

        def allowed(
            action: int, first: str | None, second: str | None, _where: object, _inner: object
        ) -> int:
            if action in (sqlite3.SQLITE_SELECT, _RECURSIVE):
                return sqlite3.SQLITE_OK
            if action == sqlite3.SQLITE_FUNCTION:
                is_refused = str(second).lower() in _REFUSED_FUNCTIONS
                return sqlite3.SQLITE_DENY if is_refused else sqlite3.SQLITE_OK
            if action != sqlite3.SQLITE_READ:
                return sqlite3.SQLITE_DENY
            table, column = str(first).lower(), str(second or "").lower()
            if (table, column) in hidden:
                return sqlite3.SQLITE_IGNORE
            # Without a column, only rows are counted, perhaps those of a subquery.
            return sqlite3.SQLITE_OK if table in known or not column else sqlite3.SQLITE_DENY

        self._connection.set_authorizer(allowed)

    def answer(self, query: str) -> Answer:
        """Run a query, and read all that it finds."""
        spool = Spool()
        try:
            cursor = self._connection.execute(query)
            if cursor.description is None:
                raise InvalidInput("the query is empty")
            columns = tuple(one[0] for one in cursor.description)
            for row in cursor:
                spool.add(row)
        except MemoryError:
            raise QueryRefused(
                f"the query needs more than {_MEMORY_BYTES >> 20} MiB of memory"
            ) from None
        except (*READING_ERRORS, sqlite3.Warning, ValueError) as error:
            raise self._explained(error) from error
        except OSError as error:
            raise QueueUnusable(
                f"cannot keep the rows in a temporary file: {error.strerror} (set TMPDIR)"
            ) from None
        return Answer(columns, spool.read())

    def refuse_changed(self) -> None:
        """Raise QueueBusy if the result may be wrong, because others wrote the file meanwhile."""
        if self._alone is not None and self._alone != _state(self._files):
            raise QueueBusy(f"{self._files.database} was changed while it was read (try again)")

    def _explained(self, error: Exception) -> Exception:
        """Return the error for a user: about the query, unless the file is at fault."""
        text = str(error)
        if text == "interrupted":
            return ReadTimeOut("the time ran out")
        if text in ("not authorized", "authorization denied") or "prohibited" in text:
            return QueryRefused(f"{text} (a query can only read tables and views)")
        if isinstance(error, UnicodeEncodeError):
            return QueryRefused("the query is not valid UTF-8")
        if "number of bindings" in text:
            return QueryRefused(
                "a query has no parameters: write the values in place of ? and :name"
            )
        if "one statement at a time" in text:
            return QueryRefused("give one statement at a time")
        # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own.
        is_about_file = type(error) is sqlite3.DatabaseError or any(
            words in text for words in ("disk I/O", "unable to open", "is locked", "is full")
        )
        return translated(error, self._files.database) if is_about_file else QueryRefused(text)

    def _open(self, notice: Callable[[str], None] | None) -> sqlite3.Connection:
        files = self._files
        if not files.exists():
            if not files.is_default:
                raise NoQueue(files.database)
            return _empty()
        conn = self._connect()
        try:
            if not _is_current(conn):
                conn.close()
                Base.open(files, notice=notice).close()  # upgrades the file, or says what it is
                conn = self._connect()
            name = schema.foreign_code(conn) if _is_current(conn) else None
            if name is not None:
                raise QueueUnusable(
                    f"{files.database} is damaged or not a queue: another program made {name} in "
                    "it (drop it with sqlite3)"
                )
        except READING_ERRORS as error:
            conn.close()
            raise translated(error, files.database) from error
        except BaseException:
            conn.close()
            raise
        return conn

    def _connect(self) -> sqlite3.Connection:
        files = self._files
        places.refuse_second_name(files)
        refuse_foreign_wal(files)
        conn = _connected(files, "ro")
        try:
            conn.execute("PRAGMA schema_version").fetchone()
            return conn
        except READING_ERRORS as error:
            conn.close()
            explained = translated(error, files.database)
            is_alone = _lacks_shared_memory(error) or is_about_full_disk(explained)
            if not is_alone or not os.access(files.database, os.R_OK):
                raise explained from error
        # SQLite cannot make the file of shared memory for the log. Without a log nobody has the
        # queue open, and it can be read without both.
        self._alone = _state(files)
        if _size(files.wal) or _size(files.journal):
            raise QueueUnusable(
                f"cannot read {files.database}: its last changes are in a log beside it, "
                "and you cannot make a file there (its owner can: queuectl status)"
            )
        return _connected(files, "ro&immutable=1")


def _connected(files: QueueFiles, mode: str) -> sqlite3.Connection:
    """Connect to a file that exists, so that nothing can be written to it."""
    conn = connect(files.database, mode)
    conn.text_factory = partial(str, encoding="utf-8", errors="replace")
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
        conn.execute(f"PRAGMA {pragma}")
    return conn


def _lacks_shared_memory(error: Exception) -> bool:
    """Whether SQLite could not make the file that it needs beside one in WAL mode."""
    return "unable to open" in str(error) or "readonly" in str(error)


def _empty() -> sqlite3.Connection:
    """Return an empty queue in memory."""
    conn = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(conn, 0)
    return conn


def _is_current(conn: sqlite3.Connection) -> bool:
    found = [
        conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    ]
    return found == [schema.APPLICATION_ID, schema.VERSION]


def _refuse_hidden_joins(query: str) -> None:
    """Raise QueryRefused if a query joins columns about which the authorizer is not asked."""
    found = joins(query)
    if found.has_natural:
        raise QueryRefused("NATURAL JOIN is not allowed (use: JOIN … ON)")
    allowed = {name for view in promised_views() for name in view.columns} if found.using else ()
    for name in sorted(found.using.difference(allowed)):
        raise QueryRefused(f"USING ({name}) is not allowed (use: JOIN … ON)")


def _state(files: QueueFiles) -> tuple[object, ...]:
    """Return values of which at least one changes when somebody opens or writes the file."""
    try:
        status = os.stat(files.database)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, _size(files.wal))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
