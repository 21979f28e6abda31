"""A measurement of queuectl: run.py is the program, the rest are its parts."""

from __future__ import annotations
