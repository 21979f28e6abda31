"""Fixtures of the tests of reliability."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from support.queue import Queue
from support.small_disk import on_small_disk


@pytest.fixture
def small_disk(queue: Queue) -> Iterator[Path]:
    """Put the queue on a file system of 2 MiB."""
    with on_small_disk(queue, "2m") as disk:
        yield disk
