"""The part of hooks that only webhooks have: their secrets, and the answers of their receivers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Mapping

from queuectl.core.errors import NoSuchHook, SecretChanged, UnreadableRow
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.times import optional_time, to_text
from queuectl.storage.base import Base


class Credentials(NamedTuple):
    """The means by which a webhook proves that it is genuine, read only where they are used."""

    secret: str | None
    """The secret that is stored in the queue; None if there is none, or it is in a file."""
    secret_file: str | None
    """The file that holds the secret; None if none does."""
    old_secret: str | None
    """The secret before the present one; None if that was never replaced."""
    old_secret_until: datetime | None
    """Until when the old secret signs too."""
    headers: Mapping[str, str]
    """Headers to send along, often with a token."""


class Webhooks(Base):
    """The methods about webhooks."""

    def credentials(self, name: str) -> Credentials:
        """Return the secrets and headers of a webhook. Raises NoSuchHook, UnreadableRow."""
        with self._snapshot() as conn:
            row = conn.execute(
                """
                SELECT secret, secret_file, old_secret, old_secret_until, header
                  FROM hooks
                 WHERE name = ?
                """,
                (name,),
            ).fetchone()
        if row is None:
            raise NoSuchHook(name)
        secret, secret_file, old_secret, until, header = row
        try:
            headers = json.loads(header)
            is_good = isinstance(headers, dict) and all(
                isinstance(text, str)
                for text in (*headers.values(), secret, secret_file, old_secret)
                if text is not None
            )
        except (TypeError, ValueError):
            is_good = False
        if not is_good:  # the message must not show a secret
            raise UnreadableRow(f"hook {name}: its secrets or headers cannot be read")
        return Credentials(secret, secret_file, old_secret, optional_time(until), headers)

    def rotate_secret(self, name: str, secret: str, *, present: str, keep_until: datetime) -> None:
        """Give a webhook another secret; the present one signs too until `keep_until`.

        Raises SecretChanged, and changes nothing, if `present` is not its secret any more.
        """
        values = {
            "secret": secret, "present": present, "until": to_text(keep_until), "name": name
        }  # fmt: skip
        with self._transaction() as conn:
            changed = conn.execute(
                """
                UPDATE hooks
                   SET old_secret = secret,
                       old_secret_until = :until,
                       secret = :secret
                 WHERE name = :name
                   AND secret = :present
                """,
                values,
            ).rowcount
            if not changed:
                raise SecretChanged(name)

    def note_answer(self, name: str, answer: str) -> None:
        """Note what the receiver of a webhook answered, unless the hook was removed meanwhile."""
        with self._transaction() as conn:
            conn.execute(
                "UPDATE hooks SET last_result = :answer WHERE name = :name",
                {"answer": answer, "name": name},
            )

    def disable_hook(self, name: str, reason: str, *, now: datetime) -> None:
        """Disable a webhook whose receiver wants no more of it, unless it was removed meanwhile."""
        with self._transaction() as conn:
            conn.execute(
                """
                UPDATE hooks
                   SET disabled_at = coalesce(disabled_at, :now),
                       disabled_reason = :reason,
                       last_result = :reason
                 WHERE name = :name
                """,
                {"now": to_text(now), "reason": reason, "name": name},
            )
