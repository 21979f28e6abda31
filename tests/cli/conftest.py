"""Fixtures of the tests of the command line."""

from __future__ import annotations

import pytest

from support.queue import Queue


@pytest.fixture
def queue(queue: Queue) -> Queue:
    """A queue whose commands run in forks of the test process; its pools are processes."""
    queue.in_forks = True
    return queue
