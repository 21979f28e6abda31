"""Requests to webhooks, with their signature, and events that only test a hook."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Mapping

from queuectl import __version__
from queuectl.core import webhooks
from queuectl.core.errors import QueueError, UnreadableRow
from queuectl.core.hooks import Hook
from queuectl.core.times import to_text, utcnow
from queuectl.host.processes import host_name
from queuectl.storage.webhooks import Webhooks

if TYPE_CHECKING:
    from queuectl.host.delivery import Answer

MARK = "QUEUECTL_EXECUTION"
"""The variable by which all processes of an attempt, or of a test, are found."""


def request_for(storage: Webhooks, found: Hook, payload: bytes, event_id: str) -> webhooks.Request:
    """Return the request for a webhook, signed with the secrets that are valid now."""
    now, own = utcnow(), storage.credentials(found.name)
    secret = own.secret if own.secret_file is None else secret_of_file(own.secret_file)
    secrets = [secret] if secret else []
    if own.old_secret and own.old_secret_until is not None and now < own.old_secret_until:
        secrets.append(own.old_secret)
    assert found.url is not None
    target = webhooks.Target(found.url, found.format, tuple(secrets), own.headers)
    return webhooks.request(target, payload, event_id=event_id, now=now, version=__version__)


def secret_of_file(path: str) -> str:
    """Return the secret that a file holds. QueueError names the file, never the secret."""
    try:
        with open(path, encoding="ascii") as file:
            return webhooks.check_secret(file.read(1000))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise QueueError(f"the secret in {path} cannot be read: {reason}") from None


def test_event(name: str) -> tuple[str, bytes]:
    """Return the id and the payload of an event that only tests a hook."""
    data = {"hook": name, "host": host_name()}
    event = {"type": "hook.test", "timestamp": to_text(utcnow()), "data": data}
    return f"evt_{os.urandom(12).hex()}", json.dumps(event).encode()


def test_variables(found: Hook, event_id: str) -> Mapping[str, str]:
    """Return the variables with which the command of a hook is tested. Raises UnreadableRow."""
    return {
        **os.environ,
        **own_variables(found),
        "QUEUECTL_EVENT": "hook.test",
        "QUEUECTL_EVENT_ID": event_id,
        "QUEUECTL_HOOK": found.name,
        MARK: event_id,
    }


def own_variables(found: Hook) -> Mapping[str, str]:
    """Return the variables that `hook add` stored for the jobs of a hook. Raises UnreadableRow."""
    try:
        own = json.loads(found.env)
    except ValueError:
        own = None
    if not isinstance(own, dict) or not all(isinstance(value, str) for value in own.values()):
        raise UnreadableRow(f"hook {found.name}: its variables cannot be read")
    return own


def send_test(storage: Webhooks, found: Hook, payload: bytes, event_id: str) -> Answer:
    """Send an event to a webhook once. Raises QueueError if there is no answer."""
    from queuectl.host import delivery  # it loads ssl, 30 ms

    try:
        return delivery.post(request_for(storage, found, payload, event_id))
    except delivery.NoAnswer as error:
        raise QueueError(f"not delivered: {error}") from None
