"""Waiting for what another process does."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

import pytest

PATIENCE_SECONDS = 60.0
"""How long tests wait for events. It is long because other work may share the machine."""


_Result = TypeVar("_Result")


def wait_until(
    condition: Callable[[], _Result], timeout: float = PATIENCE_SECONDS, what: str = ""
) -> _Result:
    """Return the first true value of the condition; fail the test when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            pytest.fail(f"waited {timeout:g} s in vain for {what or condition}")
        time.sleep(0.01)
