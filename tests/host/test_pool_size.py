"""The file that tells a supervisor how many workers its pool is to have."""

from __future__ import annotations

import os

from queuectl.host import pool_size

POOL = "a1b2c3d4"


def test_a_size_is_taken_once(queue_files):
    """Then its writer knows that it was read, and nothing is left."""
    written = pool_size.write(queue_files, POOL, 3)
    assert pool_size.is_unread(queue_files, POOL, written)
    assert [pool_size.take(queue_files, POOL) for _ in range(2)] == [3, None]
    assert not pool_size.is_unread(queue_files, POOL, written)
    assert os.listdir(queue_files.workers) == []


def test_a_size_that_is_written_while_another_one_is_read_is_not_lost(queue_files, monkeypatch):
    """Prevents a bug: it was removed with the one before it, and its writer took it as read."""
    pool_size.write(queue_files, POOL, 3)
    monkeypatch.setattr(pool_size, "open_to_read", _writing_first(queue_files, 4))
    assert pool_size.take(queue_files, POOL) == 3
    monkeypatch.undo()
    assert pool_size.take(queue_files, POOL) == 4


def _writing_first(files, workers):
    """Return `open_to_read` of a process that is overtaken by another `worker scale`."""
    original = pool_size.open_to_read

    def open_to_read(path):
        descriptor = original(path)
        pool_size.write(files, POOL, workers)
        return descriptor

    return open_to_read


def test_only_ones_own_size_is_withdrawn(queue_files):
    """Prevents a bug: who had waited in vain also removed the size of the next one."""
    first = pool_size.write(queue_files, POOL, 3)
    second = pool_size.write(queue_files, POOL, 4)
    assert not pool_size.is_unread(queue_files, POOL, first)
    pool_size.withdraw(queue_files, POOL, first)
    assert pool_size.is_unread(queue_files, POOL, second)
    pool_size.withdraw(queue_files, POOL, second)
    assert pool_size.take(queue_files, POOL) is None


def test_something_else_in_its_place_is_removed(queue_files, tmp_path):
    """Otherwise no later size could be written. No error ends the supervisor."""
    path = queue_files.pool_size(POOL)
    os.mkdir(path)
    assert pool_size.take(queue_files, POOL) is None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("5\n")
    os.symlink(elsewhere, path)
    assert pool_size.take(queue_files, POOL) is None
    assert elsewhere.read_text() == "5\n"
    os.mkdir(path)
    pool_size.forget(queue_files, POOL)
    assert os.listdir(queue_files.workers) == []
