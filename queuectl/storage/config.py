"""The configuration as it is stored with the queue."""

from __future__ import annotations

from queuectl.core.settings import check_key, check_value
from queuectl.storage.base import Base


class Config(Base):
    """Reading and changing the stored keys."""

    def stored_settings(self) -> dict[str, str]:
        """Return what was set, key -> text; also keys of an older tool that mean nothing here."""
        with self._snapshot() as conn:
            return dict(
                conn.execute("SELECT key, value FROM config WHERE key IS NOT NULL ORDER BY key")
            )

    def set_key(self, key: str, value: str) -> None:
        """Store a value; InvalidInput if the key is unknown or the value out of range."""
        check_value(key, value)
        with self._transaction() as conn:
            conn.execute("DELETE FROM config WHERE key = ?", (key,))
            conn.execute("INSERT INTO config (key, value) VALUES (?, ?)", (key, value))

    def unset_key(self, key: str) -> None:
        """Return a key to its default; one that is not set, or kept from an older tool, may go."""
        if key not in self.stored_settings():
            check_key(key)
        with self._transaction() as conn:
            conn.execute("DELETE FROM config WHERE key = ?", (key,))
