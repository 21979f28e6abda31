"""Waiting for what another process does."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

import pytest

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must happen; long, since other work shares the machine."""


_Result = TypeVar("_Result")


def wait_until(
    condition: Callable[[], _Result], timeout: float = PATIENCE_SECONDS, what: str = ""
) -> _Result:
    """Return the condition's first true value; fail when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            pytest.fail(f"waited {timeout:g} s in vain for {what or condition}")
        time.sleep(0.01)
