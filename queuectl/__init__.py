"""A durable job queue for the shell: one host, one SQLite file, no daemon."""

from __future__ import annotations

__version__ = "0.1.0"
