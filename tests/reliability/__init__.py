"""A job outlives its worker: whatever is killed, it runs once and its end is recorded."""

from __future__ import annotations
