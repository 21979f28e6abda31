"""A durable job queue for the shell: one host, one SQLite file, no daemon."""

from __future__ import annotations

__version__ = "0.1.0"

POOL_VARIABLE = "_QUEUECTL_POOL"
"""In the environment of a process that is to be a pool of workers: its number, and its order."""
