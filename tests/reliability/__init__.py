"""Nothing lost, nothing twice: faults at every step, and histories checked.

A short form belongs to the whole suite. The long form takes every point of a sweep, every case of
a table and minutes of every soak:

    QUEUECTL_TEST_LONG=1 python -m pytest tests/reliability
"""

from __future__ import annotations
