"""A worker that runs for a long time does not need more and more memory or descriptors."""

from __future__ import annotations

import os

import pytest

from support.processes import linux_only, status_field
from support.queue import Queue
from support.tracing import LONG
from support.waiting import wait_until

pytestmark = [linux_only, pytest.mark.timeout(3600)]

_FIRST, _JOBS = (400, 50_000) if LONG else (100, 300)
# SQLite fills its page cache of 2 MB within some thousand jobs. The growth over 112,000 jobs was
# not larger.
_GROWTH_KB = 3072


def _held(pid: int) -> tuple[int, int]:
    """Return the resident memory of a process in KB, and the number of its open files."""
    return int(status_field(pid, "VmRSS").split()[0]), len(os.listdir(f"/proc/{pid}/fd"))


def test_a_worker_does_not_grow(queue: Queue) -> None:
    """After thousands of jobs that print and fail it uses as much as after the first ones."""
    queue.configure(retention="0")
    queue.start("-q")
    worker = queue.worker()

    def run(count: int) -> None:
        before = sum(queue.counts().values())
        queue.add_many(*["true", "echo printed", "head -c 9000 /dev/zero", "exit 1"] * (count // 4),
                 max_retries=1)  # fmt: skip
        wait_until(
            lambda: (
                queue.counts().get("completed", 0) + queue.counts().get("dead", 0)
                == before + count // 4 * 4
            ),
            timeout=3000,
        )

    run(_FIRST)
    memory, files = _held(worker["pid"])
    run(_JOBS)
    wait_until(lambda: _held(worker["pid"])[1] == files, what="as many files as before")

    assert _held(worker["pid"])[0] - memory < _GROWTH_KB
