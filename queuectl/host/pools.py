"""The living supervisors and workers of a queue, as their lock files describe them."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import contextmanager
from typing import Any, Iterator, Sequence

from queuectl.core.batches import serves
from queuectl.core.named_tuples import NamedTuple
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import open_private


class LivingProcess(NamedTuple):
    """A living supervisor or worker. What it says about itself is not proved, see `is_proved`."""

    id: str
    """The id of the supervisor or worker. The workers of a supervisor are named ID-1, ID-2, …"""
    user: int
    """The user to whom the lock file belongs."""
    pid: int | None
    """Its PID; None if the lock file names none that a process can have."""
    start_ticks: int | None
    """When it started, in clock ticks since boot; None if the kernel did not tell."""
    supervisor: str | None
    """The supervisor of a worker; None for a supervisor."""
    queues: tuple[str, ...]
    """The queues that it serves; empty if it serves all, or does not say."""

    def serves(self, queues: Sequence[str]) -> bool:
        """Whether it serves all of these queues; with none given, all queues but batches."""
        if not queues:
            return not self.queues
        return all(serves(self.queues, queue) for queue in queues)

    @property
    def is_seen(self) -> bool:
        """Whether a process with this PID and this start runs here, and not in another container.

        Where the kernel does not tell the start, only the PID is checked.
        """
        return self.pid is not None and processes.same_process(
            self.pid, self.start_ticks, processes.boot_id()
        )

    @property
    def is_proved(self) -> bool:
        """Whether the process that it names may be signalled: nothing but that process is hit.

        Whoever can write the lock file could name any process in it. So the process must belong to
        the user to whom the lock file belongs.
        """
        if self.pid is None or not self.is_seen:
            return False
        if sys.platform == "linux" and not processes.are_visible():
            return self.user == os.geteuid()  # we wrote the file ourselves
        return sys.platform != "linux" or processes.user(self.pid) == self.user


@contextmanager
def none_starts(files: QueueFiles) -> Iterator[None]:
    """Keep pools from starting: each takes this lock before it takes its lock file."""
    with _locked(files.start_lock):
        yield


@contextmanager
def no_other_stores_a_batch(files: QueueFiles) -> Iterator[None]:
    """Keep other calls of `run` from naming or storing a batch.

    Two of them at once would give their batches the same name, or add the same jobs to one batch.
    """
    with _locked(files.batch_lock):
        yield


@contextmanager
def _locked(path: str) -> Iterator[None]:
    descriptor = open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def living_processes(files: QueueFiles) -> list[LivingProcess]:
    """Return all living supervisors and workers, in the order of their ids."""
    found = []
    for owner in lockfiles.owners(files):
        if lockfiles.is_alive(files, owner):
            user, written = lockfiles.description(files, owner)
            if user is not None:
                found.append(_described(owner, user, written))
    return found


def living_pools(files: QueueFiles) -> list[LivingProcess]:
    """Return the living supervisors: each has a pool of workers."""
    return [process for process in living_processes(files) if process.supervisor is None]


def are_served(files: QueueFiles, queues: Sequence[str]) -> bool:
    """Whether one living pool serves all of these queues; with none given, all queues but batches.

    A pool whose workers are all suspended serves nothing.
    """
    living = living_processes(files)
    return any(
        pool.supervisor is None and pool.serves(queues) and not _is_suspended(pool, living)
        for pool in living
    )


def _is_suspended(pool: LivingProcess, living: Sequence[LivingProcess]) -> bool:
    """Whether no worker of a pool can go on. If it has no worker yet, its supervisor is asked.

    Processes in other containers, which cannot be seen, count as able.
    """
    workers = [one for one in living if one.supervisor == pool.id] or [pool]
    return all(
        one.pid is not None and one.is_seen and processes.is_suspended(one.pid) for one in workers
    )


def _described(owner: str, user: int, written: dict[str, Any]) -> LivingProcess:
    """Return what a lock file says; anything of another type counts as not said."""
    pid, ticks, queues = (written.get(key) for key in ("pid", "start_ticks", "queues"))
    supervisor = None if lockfiles.is_supervisor(owner) else owner.rpartition("-")[0]
    return LivingProcess(
        owner,
        user,
        pid if type(pid) is int and processes.is_pid(pid) else None,
        ticks if type(ticks) is int else None,
        supervisor,
        tuple(filter(_is_text, queues)) if isinstance(queues, list) else (),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)
