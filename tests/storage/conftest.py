"""Fixtures for the tests of the storage."""

from __future__ import annotations

from typing import Iterator

import pytest

from queuectl.host.log import log


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The messages that this process logs."""
    messages: list[str] = []
    log.send_to(lambda _level, message: messages.append(message))
    yield messages
    log.send_to(None)
