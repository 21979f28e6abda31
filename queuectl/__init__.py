"""A durable job queue for the shell: one host, one SQLite file, no daemon."""

from __future__ import annotations

__version__ = "0.1.0"

POOL_VARIABLE = "_QUEUECTL_POOL"
"""The environment variable that makes a process a pool: its PID, and a `worker/plan.Launch`."""
