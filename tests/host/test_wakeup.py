"""Waking idle workers: a ring is heard once, and nothing in its way can hurt who rings."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

import pytest

from queuectl.host import files, wakeup


@pytest.fixture
def queue_files(tmp_path):
    """The files of a queue whose folder of FIFOs exists and is empty."""
    found = files.find(str(tmp_path / "queue.db"), None, False)
    os.makedirs(found.workers)
    return found


def rung(*bells):
    """The bells, by their place, that were rung and not hushed since."""
    ready = select.select([one.fileno() for one in bells], [], [], 0)[0]
    return [place for place, one in enumerate(bells) if one.fileno() in ready]


def test_a_new_bell_is_silent_and_private(queue_files):
    """Without a ring nothing wakes the worker, and only its owner can ring."""
    own = wakeup.WakeUpFifo(queue_files, "w1")
    mode = os.stat(own.path).st_mode
    heard = rung(own)
    own.remove()

    assert heard == []
    assert (stat.S_ISFIFO(mode), stat.S_IMODE(mode)) == (True, 0o600)


def test_a_ring_wakes_every_worker(queue_files):
    """Whoever enqueues wakes all: only one of many would wake at a bell that they share."""
    bells = [wakeup.WakeUpFifo(queue_files, f"w{number}") for number in range(3)]
    wakeup.wake_up(queue_files)
    heard = rung(*bells)
    for one in bells:
        one.remove()

    assert heard == [0, 1, 2]


def test_one_worker_can_be_rung_for(queue_files):
    """A cancel wakes the worker that runs the job and no other."""
    bells = [wakeup.WakeUpFifo(queue_files, f"w{number}") for number in range(3)]
    wakeup.wake_up(queue_files, "w1")
    heard = rung(*bells)
    for one in bells:
        one.remove()

    assert heard == [1]


@pytest.mark.parametrize("rings", [1, 2, 100_000])
def test_hushing_forgets_all_rings_so_far(queue_files, rings):
    """Many rings make one wake, also when the FIFO is full; the next ring is heard again."""
    own = wakeup.WakeUpFifo(queue_files, "w1")
    for _ in range(min(rings, 3)):
        wakeup.wake_up(queue_files, "w1")
    if rings > 3:
        descriptor = os.open(own.path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while os.write(descriptor, b"!" * 4096):
                pass
        except BlockingIOError:
            pass
        os.close(descriptor)
        wakeup.wake_up(queue_files, "w1")
    before = rung(own)
    own.drain()
    hushed = rung(own)
    own.drain()
    wakeup.wake_up(queue_files)
    after = rung(own)
    own.remove()

    assert (before, hushed, after) == ([0], [], [0])


def test_the_bell_of_a_dead_worker_hurts_nobody(queue_files):
    """A FIFO without a reader is passed over, and the others are still rung."""
    os.mkfifo(queue_files.wakeup_fifo("dead"))
    own = wakeup.WakeUpFifo(queue_files, "w1")
    wakeup.wake_up(queue_files)
    wakeup.wake_up(queue_files, "dead")
    heard = rung(own)
    own.remove()

    assert heard == [0]


def test_what_is_no_bell_is_neither_written_nor_followed(queue_files, tmp_path):
    """A file or a link in place of a bell stays as it is."""
    folder = Path(queue_files.workers)
    (folder / "file.bell").write_bytes(b"x")
    (tmp_path / "target").write_bytes(b"y")
    (folder / "link.bell").symlink_to(tmp_path / "target")
    (folder / "folder.bell").mkdir()
    wakeup.wake_up(queue_files)

    assert (folder / "file.bell").read_bytes() == b"x"
    assert (tmp_path / "target").read_bytes() == b"y"


def test_ringing_where_nothing_is_does_nothing(queue_files, tmp_path):
    """No folder and no worker are no error: to ring is a courtesy."""
    wakeup.wake_up(files.find(str(tmp_path / "missing.db"), None, False))
    wakeup.wake_up(queue_files, "nobody")
    wakeup.remove(queue_files, "nobody")

    assert os.listdir(queue_files.workers) == []


def test_the_bell_of_a_dead_worker_can_be_taken_away(queue_files):
    """Who settles a dead worker removes its bell too."""
    os.mkfifo(queue_files.wakeup_fifo("dead"))
    wakeup.remove(queue_files, "dead")

    assert os.listdir(queue_files.workers) == []
