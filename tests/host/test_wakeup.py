"""Waking idle workers: a wake-up is seen once, and sending one never fails."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

import pytest

from queuectl.host import files, wakeup


def woken(*fifos):
    """The positions of the FIFOs that hold a wake-up."""
    ready = select.select([fifo.fileno() for fifo in fifos], [], [], 0)[0]
    return [position for position, fifo in enumerate(fifos) if fifo.fileno() in ready]


def test_a_new_fifo_is_empty_and_private(queue_files):
    """Nothing wakes the worker until somebody does, and only the owner of the queue can."""
    own = wakeup.WakeUpFifo(queue_files, "w1")
    mode = os.stat(own.path).st_mode
    seen = woken(own)
    own.remove()

    assert seen == []
    assert (stat.S_ISFIFO(mode), stat.S_IMODE(mode)) == (True, 0o600)


def test_a_wake_up_reaches_every_worker(queue_files):
    """Each worker has its own FIFO, since a FIFO that they share would wake only one."""
    fifos = [wakeup.WakeUpFifo(queue_files, f"w{number}") for number in range(3)]
    wakeup.wake_up(queue_files)
    seen = woken(*fifos)
    for fifo in fifos:
        fifo.remove()

    assert seen == [0, 1, 2]


def test_one_worker_can_be_woken(queue_files):
    """A cancel wakes the worker that runs the job and no other."""
    fifos = [wakeup.WakeUpFifo(queue_files, f"w{number}") for number in range(3)]
    wakeup.wake_up(queue_files, "w1")
    seen = woken(*fifos)
    for fifo in fifos:
        fifo.remove()

    assert seen == [1]


@pytest.mark.parametrize("count", [1, 2, 100_000])
def test_draining_forgets_all_wake_ups_so_far(queue_files, count):
    """Many wake-ups count as one, even if the FIFO is full; the next one is seen again."""
    own = wakeup.WakeUpFifo(queue_files, "w1")
    for _ in range(min(count, 3)):
        wakeup.wake_up(queue_files, "w1")
    if count > 3:
        descriptor = os.open(own.path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while os.write(descriptor, b"!" * 4096):
                pass
        except BlockingIOError:
            pass
        os.close(descriptor)
        wakeup.wake_up(queue_files, "w1")
    before = woken(own)
    own.drain()
    drained = woken(own)
    own.drain()
    wakeup.wake_up(queue_files)
    after = woken(own)
    own.remove()

    assert (before, drained, after) == ([0], [], [0])


def test_the_fifo_of_a_dead_worker_is_skipped(queue_files):
    """A FIFO without a reader is no error, and the other workers are woken."""
    os.mkfifo(queue_files.wakeup_fifo("dead"))
    own = wakeup.WakeUpFifo(queue_files, "w1")
    wakeup.wake_up(queue_files)
    wakeup.wake_up(queue_files, "dead")
    seen = woken(own)
    own.remove()

    assert seen == [0]


def test_something_else_in_place_of_a_fifo_is_left_alone(queue_files, tmp_path):
    """A file is not written to, a link is not followed, a folder is no error."""
    folder = Path(queue_files.workers)
    (folder / "file.bell").write_bytes(b"x")
    (tmp_path / "target").write_bytes(b"y")
    (folder / "link.bell").symlink_to(tmp_path / "target")
    (folder / "folder.bell").mkdir()
    wakeup.wake_up(queue_files)

    assert (folder / "file.bell").read_bytes() == b"x"
    assert (tmp_path / "target").read_bytes() == b"y"


def test_waking_where_there_is_nobody_does_nothing(queue_files, tmp_path):
    """A missing folder and a missing worker are no errors."""
    wakeup.wake_up(files.find(str(tmp_path / "missing.db"), None, False))
    wakeup.wake_up(queue_files, "nobody")
    wakeup.remove(queue_files, "nobody")

    assert os.listdir(queue_files.workers) == []


def test_the_fifo_of_a_dead_worker_can_be_removed(queue_files):
    """The recovery of a dead worker removes its FIFO, too."""
    os.mkfifo(queue_files.wakeup_fifo("dead"))
    wakeup.remove(queue_files, "dead")

    assert os.listdir(queue_files.workers) == []
