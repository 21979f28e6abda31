"""Giving a running pool another number of workers."""

from __future__ import annotations

import os
import time
from typing import Sequence

from queuectl.core.batches import is_batch
from queuectl.core.errors import QueueError
from queuectl.host import pool_size
from queuectl.host.files import QueueFiles
from queuectl.host.pools import LivingProcess, living_processes
from queuectl.host.signals import SCALE_SIGNAL

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 10.0


class SeveralPools(QueueError):
    """The pool has to be named, because several are running."""

    def __init__(self, pools: Sequence[LivingProcess]) -> None:
        shown = (f"{pool.id} ({', '.join(pool.queues) or 'all queues'})" for pool in pools)
        super().__init__(f"{len(pools)} pools are running: {', '.join(shown)}")


def the_pool(files: QueueFiles, name: str | None) -> LivingProcess:
    """Return the pool with this id, or the only one that runs, apart from those of `run`.

    Raises SeveralPools, or QueueError if there is no such pool.
    """
    living = living_processes(files)
    pools = [process for process in living if process.supervisor is None]
    if name is None:
        pools = [pool for pool in pools if not (pool.queues and all(map(is_batch, pool.queues)))]
        if len(pools) > 1:
            raise SeveralPools(pools)
        if not pools:
            raise QueueError("no worker is running")
        return pools[0]
    for process in living:
        if name == process.id:
            if process.supervisor is not None:
                raise QueueError(f"{name} is one worker of the pool {process.supervisor}")
            return process
    raise QueueError(f"no such pool is running: {name}")


def workers_of(files: QueueFiles, pool: LivingProcess) -> int:
    """Return how many workers a pool has now, including those that finish their last job."""
    return sum(process.supervisor == pool.id for process in living_processes(files))


def scale(files: QueueFiles, pool: LivingProcess, workers: int) -> None:
    """Tell a pool how many workers it is to have; wait until it has heard.

    Raises QueueError if it cannot be told, or does not answer.
    """
    if not pool.is_proved or pool.pid is None:
        raise QueueError(f"{pool.id} (pid {pool.pid or 'unknown'}) cannot be seen from here")
    written = pool_size.write(files, pool.id, workers)
    try:
        os.kill(pool.pid, SCALE_SIGNAL)
    except ProcessLookupError:
        pool_size.withdraw(files, pool.id, written)
        raise QueueError(f"{pool.id} has just exited") from None
    except PermissionError:
        pool_size.withdraw(files, pool.id, written)
        raise QueueError(f"{pool.id} (pid {pool.pid}) belongs to another user") from None
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while pool_size.is_unread(files, pool.id, written):
        if time.monotonic() >= deadline:
            pool_size.withdraw(files, pool.id, written)
            raise QueueError(f"{pool.id} (pid {pool.pid}) does not answer")
        time.sleep(_POLL_SECONDS)
