"""Waking idle workers: a ring is heard once, and nothing in its way can hurt who rings."""

from __future__ import annotations

import os
import select
import stat

import pytest

from queuectl.host import wakeup


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def rung(*bells):
    """The bells, by their place, that were rung and not hushed since."""
    ready = select.select([one.fileno() for one in bells], [], [], 0)[0]
    return [place for place, one in enumerate(bells) if one.fileno() in ready]


def test_a_new_bell_is_silent_and_private(folder):
    """Without a ring nothing wakes the worker, and only its owner can ring."""
    own = wakeup.WakeUpFifo(folder, "w1")
    mode = os.stat(own.path).st_mode
    heard = rung(own)
    own.remove()

    assert heard == []
    assert (stat.S_ISFIFO(mode), stat.S_IMODE(mode)) == (True, 0o600)


def test_a_ring_wakes_every_worker(folder):
    """Whoever enqueues wakes all: only one of many would wake at a bell that they share."""
    bells = [wakeup.WakeUpFifo(folder, f"w{number}") for number in range(3)]
    wakeup.wake_up(folder)
    heard = rung(*bells)
    for one in bells:
        one.remove()

    assert heard == [0, 1, 2]


def test_one_worker_can_be_rung_for(folder):
    """A cancel wakes the worker that runs the job and no other."""
    bells = [wakeup.WakeUpFifo(folder, f"w{number}") for number in range(3)]
    wakeup.wake_up(folder, "w1")
    heard = rung(*bells)
    for one in bells:
        one.remove()

    assert heard == [1]


@pytest.mark.parametrize("rings", [1, 2, 100_000])
def test_hushing_forgets_all_rings_so_far(folder, rings):
    """Many rings make one wake, also when the FIFO is full; the next ring is heard again."""
    own = wakeup.WakeUpFifo(folder, "w1")
    for _ in range(min(rings, 3)):
        wakeup.wake_up(folder, "w1")
    if rings > 3:
        descriptor = os.open(own.path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while os.write(descriptor, b"!" * 4096):
                pass
        except BlockingIOError:
            pass
        os.close(descriptor)
        wakeup.wake_up(folder, "w1")
    before = rung(own)
    own.drain()
    hushed = rung(own)
    own.drain()
    wakeup.wake_up(folder)
    after = rung(own)
    own.remove()

    assert (before, hushed, after) == ([0], [], [0])


def test_the_bell_of_a_dead_worker_hurts_nobody(folder):
    """A FIFO without a reader is passed over, and the others are still rung."""
    os.mkfifo(os.path.join(folder, "dead.bell"))
    own = wakeup.WakeUpFifo(folder, "w1")
    wakeup.wake_up(folder)
    wakeup.wake_up(folder, "dead")
    heard = rung(own)
    own.remove()

    assert heard == [0]


def test_what_is_no_bell_is_neither_written_nor_followed(folder, tmp_path):
    """A file or a link in place of a bell stays as it is."""
    (tmp_path / "file.bell").write_bytes(b"x")
    (tmp_path / "target").write_bytes(b"y")
    (tmp_path / "link.bell").symlink_to(tmp_path / "target")
    (tmp_path / "folder.bell").mkdir()
    wakeup.wake_up(folder)

    assert (tmp_path / "file.bell").read_bytes() == b"x"
    assert (tmp_path / "target").read_bytes() == b"y"


def test_ringing_where_nothing_is_does_nothing(folder):
    """No folder and no worker are no error: to ring is a courtesy."""
    wakeup.wake_up(os.path.join(folder, "missing"))
    wakeup.wake_up(folder, "nobody")
    wakeup.remove(folder, "nobody")

    assert os.listdir(folder) == []


def test_the_bell_of_a_dead_worker_can_be_taken_away(folder):
    """Who settles a dead worker removes its bell too."""
    os.mkfifo(os.path.join(folder, "dead.bell"))
    wakeup.remove(folder, "dead")

    assert os.listdir(folder) == []
