"""Stages that are small enough for tests."""

from __future__ import annotations

import pytest

_LIMITS = {"enqueueing.MOST_AT_ONCE": 0, "moving._FIRST": 2, "moving._MOST": 2}
"""Everything is staged, and each transaction writes two rows."""


def stage_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each enqueue and import of this process go through a stage, in small steps."""
    for place, value in _LIMITS.items():
        monkeypatch.setattr(f"queuectl.storage.{place}", value)
