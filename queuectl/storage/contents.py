"""Contents that several jobs may share, such as their stdin: stored once, while a job uses them."""

from __future__ import annotations

import binascii
import sqlite3

from queuectl.storage.base import Base

_MOST_KNOWN = 16


class Contents(Base):
    """The methods that read contents."""

    def find_content(self, content_id: int) -> bytes | None:
        """Return a content as bytes; None if it is not there, since no job uses it."""
        with self._snapshot() as conn:
            row = conn.execute(
                "SELECT CAST(content AS BLOB) FROM contents WHERE id = ?", (content_id,)
            ).fetchone()
        return None if row is None else bytes(row[0])


class Interned:
    """The contents that one call stores, and where they are."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._known: dict[bytes | str, int] = {}

    def id_of(self, content: bytes | str | None) -> int | None:
        """Return the id of a content, which is stored unless it is there; None for None.

        It stays only if a job in `jobs` gets this id within the same transaction, or if there is a
        stage.
        """
        if content is None:
            return None
        known = self._known.get(content)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[content] = intern(self._conn, content)
        return known

    def forget(self) -> None:
        """Look each content up again: one that no job uses any more may have been deleted."""
        self._known.clear()


def intern(conn: sqlite3.Connection, content: bytes | str) -> int:
    """Return the id of a content, which is stored unless it is there."""
    encoded = content.encode() if isinstance(content, str) else content
    values = {"checksum": binascii.crc32(encoded), "content": content}
    found = conn.execute(
        """
        SELECT id
          FROM contents
         WHERE checksum = :checksum
           AND content = :content
         ORDER BY id
        """,
        values,
    ).fetchone()
    if found is not None:
        return int(found[0])
    added = conn.execute(
        "INSERT INTO contents (checksum, content) VALUES (:checksum, :content)", values
    ).lastrowid
    assert added is not None
    return added
