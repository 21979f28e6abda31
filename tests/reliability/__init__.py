"""Nothing lost, nothing twice: faults at every step, and histories checked.

A short form of most tests belongs to the whole suite. The long form has all of them, takes every
point of a sweep and minutes of every soak:

    QUEUECTL_TEST_LONG=1 python -m pytest tests/reliability
"""

from __future__ import annotations
