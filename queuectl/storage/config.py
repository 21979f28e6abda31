"""The configuration, which is stored with the queue."""

from __future__ import annotations

from queuectl.core.settings import check_key, check_value
from queuectl.storage.base import Base


class Config(Base):
    """The methods that read and change stored keys."""

    def stored_settings(self) -> dict[str, str]:
        """Return the keys that are set, with their text, including those of an older tool."""
        with self._snapshot() as conn:
            stored = conn.execute("SELECT key, value FROM config ORDER BY key").fetchall()
        return {str(key): _as_text(value) for key, value in stored if key is not None}

    def set_key(self, key: str, value: str) -> None:
        """Store a value; InvalidInput if the key is unknown or the value is out of range."""
        check_value(key, value)
        with self._transaction() as conn:
            # Not an upsert: the table of an old file is kept, and may lack the primary key.
            conn.execute("DELETE FROM config WHERE key = ?", (key,))
            conn.execute(
                "INSERT INTO config (key, value) VALUES (:key, :value)",
                {"key": key, "value": value},
            )

    def unset_key(self, key: str) -> None:
        """Return a key to its default; InvalidInput if it is unknown and not stored either."""
        if key not in self.stored_settings():
            check_key(key)
        with self._transaction() as conn:
            conn.execute("DELETE FROM config WHERE key = ?", (key,))


def _as_text(value: object) -> str:
    """Return a value as text. Another program may have stored bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
