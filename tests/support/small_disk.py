"""A small file system that can be filled."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest

from support.queue import Queue


@contextmanager
def on_small_disk(queue: Queue, size: str) -> Iterator[Path]:
    """Put a queue that does not exist yet on a file system of a size like `2m`.

    Skip the test if nothing can be mounted.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    disk = queue.folder / "disk"
    disk.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(disk)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    queue.database = disk / "queue.db"
    queue.env["QUEUECTL_DB"] = str(queue.database)
    try:
        yield disk
    finally:
        queue.close()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
