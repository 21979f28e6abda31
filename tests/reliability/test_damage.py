"""Queues with random bytes in their files: every command says one line about it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.queue import Queue
from support.states import every_state
from support.tracing import LONG
from support.watch.file_watch import by_hand

_COMMANDS = (
    "list", "status", "check", "doctor", "export -", "queue list", "dlq list", "worker list",
    "why pending", "show pending", "sql SELECT * FROM run_list", "enqueue true",
    "cancel pending", "retry --all", "prune --older-than 0s",
)  # fmt: skip
_COMMAND_CODES = frozenset((0, 1, 2, 75))
_CHECK_CODES = frozenset((0, 1, 2, 3))


@hypothesis_settings(
    max_examples=100 if LONG else 5,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 40))
def test_no_damage_gives_a_traceback(queue: Queue, seed: int, changes: int) -> None:
    """1 to 40 random bytes are changed anywhere behind the first 100.

    Prevents a bug: of 60 such copies 20 gave tracebacks, and `check` said WARNING instead of
    UNKNOWN.
    """
    whole = queue.folder / "whole"
    if not whole.exists():
        every_state(queue)
        queue.ok("backup", str(whole))
    chance = random.Random(seed)
    damaged = bytearray(whole.read_bytes())
    for _ in range(changes):
        damaged[chance.randrange(100, len(damaged))] = chance.randrange(256)
    for command in _COMMANDS:
        queue.close_storage()
        _replace(queue, bytes(damaged))
        done = queue.run(*command.split())
        assert "Traceback" not in done.err, (command, done)
        assert "unexpected error" not in done.err, (command, done)
        codes = _CHECK_CODES if command == "check" else _COMMAND_CODES
        assert done.code in codes, (command, done)


def _replace(queue: Queue, content: bytes) -> None:
    with by_hand():
        shutil.rmtree(queue.files.folder, ignore_errors=True)
        for suffix in ("-wal", "-shm"):
            Path(queue.files.database + suffix).unlink(missing_ok=True)
        queue.database.unlink(missing_ok=True)
        queue.database.touch(0o600)
        queue.database.write_bytes(content)
