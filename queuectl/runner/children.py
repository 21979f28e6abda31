"""The children of a worker: the job that it started, and processes that lost their parent."""

from __future__ import annotations

import os
import signal
from typing import Any, Callable, Tuple

from queuectl import POOL_VARIABLE
from queuectl.host import processes
from queuectl.host.processes import Process

ProcessName = Tuple[int, int]
"""PID and start in clock ticks, which identify a process until the next boot."""

_ORPHAN_LOOKS = 200


class Children:
    """The children of this process, which is a worker.

    If the worker adopts orphans (Linux), everything that its jobs start stays below it: whatever
    such a process hides, it becomes a child of the worker when its own parent ends.
    """

    def __init__(self, *, adopts_orphans: bool = False) -> None:
        self.adopts_orphans = adopts_orphans
        self._kept: set[int] = set()
        """The PIDs of children that earlier jobs left running."""
        self._leftovers: frozenset[ProcessName] = frozenset()
        self._leftover_sessions: frozenset[int] = frozenset()
        self._reaped: tuple[int, Any] | None = None

    def has_ended(self, leader: int) -> bool | None:
        """Return whether a job succeeded that has ended; None as long as it runs.

        Where orphans are not adopted, the job is not reaped yet if that is possible: until it is,
        its PID cannot be given to another process. Other children that have ended are reaped.
        """
        if not self.adopts_orphans and hasattr(os, "waitid"):  # macOS: since Python 3.13
            ended = os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return None if ended is None else ended.si_code == os.CLD_EXITED and not ended.si_status
        while True:
            pid, status, usage = os.wait4(-1 if self.adopts_orphans else leader, os.WNOHANG)
            if pid in (0, leader):
                break
            self._kept.discard(pid)
        self._reaped = (status, usage) if pid else None
        return status == 0 if pid else None

    def reap(self, leader: int) -> tuple[int, Any] | None:
        """Reap a job; return its status and its usage, as wait4 does. None if it runs."""
        reaped, self._reaped = self._reaped, None
        if reaped is None:
            pid, status, usage = os.wait4(leader, os.WNOHANG)
            reaped = (status, usage) if pid else None
        return reaped

    def are_left(self) -> bool:
        """Whether the last job left a process running. The job itself has been reaped.

        False also where orphans are not adopted, so nobody knows. Children that have ended are
        reaped.
        """
        if not self.adopts_orphans:
            return False
        try:
            while self._reap(-1):
                pass
        except ChildProcessError:
            self._kept.clear()
            self._leftovers, self._leftover_sessions = frozenset(), frozenset()
            return False
        return not self._kept.issuperset(processes.children())

    def _reap(self, pid: int) -> bool:
        """Reap a child that has ended, any if the PID is -1; return whether there was one."""
        pid, _ = os.waitpid(pid, os.WNOHANG)
        self._kept.discard(pid)
        return pid != 0

    def keep_rest(self) -> list[ProcessName]:
        """Return what the last job left running, and take it for no part of the next one."""
        self._kept = set(processes.children())
        below = _below(os.getpid())
        kept = [one.name for one in below if self._is_new(one)]
        self._leftovers = frozenset(one.name for one in below)
        self._leftover_sessions = frozenset(one.session for one in below)
        return kept

    def _is_new(self, process: Process) -> bool:
        return (
            process.name not in self._leftovers and process.session not in self._leftover_sessions
        )

    def adopted(self, process: Process) -> bool:
        """Whether a process of the running job has lost its parent and became a child of ours."""
        return self.adopts_orphans and process.parent == os.getpid() and self._is_new(process)

    def kill_orphans(self, leader: int | None, may_kill: Callable[[Process], bool]) -> None:
        """Kill all children of the running job but the leader, until no new ones come.

        This is faster than a look at all processes: it also catches a process that forks and exits
        all the time, under a new PID each time.
        """
        for _ in range(_ORPHAN_LOOKS if self.adopts_orphans else 0):
            killed = False
            for pid in processes.children():
                if pid != leader:
                    killed |= self._kill(pid, may_kill)
            if not killed:
                return

    def _kill(self, pid: int, may_kill: Callable[[Process], bool]) -> bool:
        """Kill a child, or reap it; return whether there was something to do."""
        # A child keeps its PID until we reap it, so no other process can be hit.
        if self._reap(pid):
            return True
        process = processes.describe(pid)
        if process is None or not (self.adopted(process) and may_kill(process)):
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except PermissionError:
            return False
        return True


def _below(ancestor: int) -> list[Process]:
    """Return all living descendants of a process, but not detached pools."""
    children: dict[int, list[Process]] = {}
    for process in processes.living():
        children.setdefault(process.parent, []).append(process)
    found = children.pop(ancestor, [])
    found = [process for process in found if not is_detached_pool(process)]
    for process in found:
        found += children.pop(process.pid, ())
    return found


def is_detached_pool(process: Process) -> bool:
    """Whether a process is a pool that a job started with `worker start --detach`.

    Such a pool goes its own way, and its jobs are not part of the job that started it.
    """
    if process.session != process.pid:
        return False
    prefix = f"{POOL_VARIABLE}={process.pid} ".encode()
    return any(one.startswith(prefix) for one in processes.environment(process.pid))
