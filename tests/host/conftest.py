"""What the tests of this machine's files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.host.files import QueueFiles, find


@pytest.fixture
def queue_files(tmp_path: Path) -> QueueFiles:
    """The files of a queue whose folder of workers exists and is empty."""
    files = find(str(tmp_path / "queue.db"), None, False)
    os.makedirs(files.workers)
    return files


@pytest.fixture
def folder(queue_files: QueueFiles) -> Path:
    """The folder of the lock files and FIFOs."""
    return Path(queue_files.workers)
