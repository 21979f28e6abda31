"""SIGKILL at every system call of a restore."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.history import assert_sound
from support.queue import Queue
from support.tracing import needs_strace, points, recording, sample, strace, without_queue
from support.watch.file_watch import by_hand

pytestmark = [pytest.mark.on_disk, needs_strace, pytest.mark.timeout(3600)]

_KILL = "signal=SIGKILL"
_OLD, _RESTORED = ["kept", "later"], ["kept"]


def test_a_restore_killed_anywhere_left_one_queue_or_the_other(queue: Queue) -> None:
    """What is left is the old queue, complete, or the new one, or it is refused and named.

    In any case the same command then restores the queue.
    """
    backup, saved = queue.folder / "backup", queue.folder / "saved"
    queue.enqueue("true", "--id", "kept")
    queue.ok("backup", str(backup))
    with queue.opened() as storage:
        queue.ok("enqueue", "--id", "later", "true", as_process=True)
        with by_hand():  # as after a crash: what was committed last is in the log only
            saved.mkdir()
            for path in (queue.files.database, queue.files.wal):
                (saved / os.path.basename(path)).write_bytes(Path(path).read_bytes())
        assert storage.get("later").id == "later"

    def begin() -> None:
        without_queue(queue)
        with by_hand():
            for path in saved.iterdir():
                (queue.folder / path.name).write_bytes(path.read_bytes())
                (queue.folder / path.name).chmod(0o600)

    begin()
    prefix = queue.folder / "trace"
    restore = ("restore", "--yes", str(backup))
    assert strace(queue, recording(prefix), *restore).code == 0
    every = points(prefix, queue)
    assert len(every) > 30
    seen = set()
    for point in sample(every, 12):
        begin()
        strace(queue, point.inject(_KILL), *restore)
        listed = queue.run("list", "--ids")
        if listed.code:
            assert "-wal belongs to another database" in listed.err, point
            seen.add("refused")
        else:
            assert listed.out.split() in (_OLD, _RESTORED), point
            assert_sound(queue)
            seen.add(listed.out)
        queue.close_storage()
        queue.ok(*restore)
        assert queue.ok("list", "--ids").split() == _RESTORED
        assert_sound(queue)
        queue.close_storage()
    print(seen)
