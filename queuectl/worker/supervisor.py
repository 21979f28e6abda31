"""Forks N workers, passes orders on to them, replaces dead ones. It never opens the database."""

from __future__ import annotations

import _signal as signal  # as in `host/signals.py`
import gc
import os
import select
import time
from typing import Callable, NoReturn

from queuectl.core.errors import QueueError, QueueReplaced
from queuectl.core.named_tuples import NamedTuple
from queuectl.host import lockfiles, pool_size, signals, wakeup
from queuectl.host.files import QueueFiles
from queuectl.host.log import log as _log
from queuectl.host.processes import become_subreaper
from queuectl.worker import orphans, restarts, stopping, titles
from queuectl.worker.announcing import Announcer
from queuectl.worker.assignment import Assignment, Order, WorkerExit
from queuectl.worker.plan import Plan
from queuectl.worker.scan import Scan
from queuectl.worker.stopping import Mode, Stop

_SCAN_SECONDS = 2.0
_READY_POLL_SECONDS = 0.02

_LOST_QUEUES = {
    WorkerExit.QUEUE_UPGRADED: "the queue was upgraded: start the workers again",
    WorkerExit.QUEUE_REPLACED: f"{QueueReplaced('{path}')}: start the workers again",
    WorkerExit.QUEUE_DAMAGED: (
        "{path} is damaged: the workers leave (queuectl doctor says more, queuectl restore puts a "
        "backup in its place)"
    ),
}
"""Why no worker of a pool can go on, by the exit status of a worker."""

WorkerMain = Callable[[QueueFiles, Assignment], WorkerExit]


class _Child(NamedTuple):
    """A worker process that was forked and not reaped yet."""

    assignment: Assignment
    """Its task."""

    orders: int
    """The writing end of the pipe from which it reads orders."""

    born: float
    """When it was forked, by the monotonic clock."""


class Supervisor:
    """A pool of worker processes."""

    def __init__(
        self,
        files: QueueFiles,
        supervisor_id: str,
        plan: Plan,
        lock: lockfiles.ProcessLock,
        worker_main: WorkerMain,
        announcer: Announcer | None = None,
    ) -> None:
        """`worker_main` is called in each forked process; its result is the exit status."""
        self._files = files
        self._id = supervisor_id
        self._plan = plan
        self._lock = lock
        self._worker_main = worker_main
        self._announcer = announcer or Announcer()
        self._until = None if plan.max_runtime is None else time.monotonic() + plan.max_runtime
        self._scan = Scan(files)
        self._restarts = restarts.Restarts()
        self._stop = Stop()
        self._children: dict[int, _Child] = {}
        self._size = plan.workers
        """How many workers the pool is to have, in the slots 0 to N-1."""
        self._leaving: set[str] = set()
        """Workers that exit after their jobs because the pool was made smaller."""
        self._forked = 0
        """How many workers had an assignment so far; the next one gets the next number."""
        self._gave_up = False
        """Whether the pool ends because its queue was lost."""
        self._failed = False
        """Whether the pool did not do all that it should have: it exits with 1."""
        self._reaps_orphans = False
        """Whether orphaned processes of jobs become children of this process (Linux)."""
        self._left_behind: set[str] = set()
        """Dead workers that could not be recovered after a stop: the next pool does it."""

    def run(self) -> int:
        """Run the pool to its end; return the exit code, or end by the signal that killed it."""
        stream = signals.SignalStream(
            (*stopping.SIGNALS, signals.SCALE_SIGNAL, signal.SIGCHLD, signal.SIGTSTP)
        )
        # Before the forks: each worker becomes a subreaper as well, and shares what that loads.
        self._reaps_orphans = become_subreaper()
        # Frozen before the forks, objects are not touched by the collector, so that the memory
        # that they are in stays shared by all workers.
        gc.collect()
        gc.freeze()
        self._fill_slots()
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLIN)
        next_scan, announced = 0.0, False
        while self._children or self._restarts:
            now = time.monotonic()
            if now >= next_scan:
                next_scan = now + _SCAN_SECONDS
                self._keep_lock()
                self._recover_other_pools()
                self._announcer.look(now)
            self._start_due(now)
            wake = min(next_scan, self._restarts.next_at())
            if not announced:
                wake = min(wake, now + _READY_POLL_SECONDS)
            poll.poll(max(0, int((wake - now) * 1000 + 0.999)))
            for number in stream.read():
                self._react(number)
            self._reap()
            if not announced and self._are_ready():
                announced = True
                self._announcer.ready()
        pool_size.forget(self._files, self._id)
        self._lock.remove()
        self._announcer.left()
        if self._stop.killed_by is not None:
            signals.die_by(self._stop.killed_by)
        return 1 if self._failed else 0

    def _fill_slots(self) -> None:
        """Fork a worker for each slot that has none, and none that waits to be started."""
        children = [child.assignment for child in self._children.values()]
        taken = {one.slot for one in (*children, *self._restarts) if not one.recovers_only}
        for slot in range(self._size):
            if slot not in taken:
                self._fork(self._assignment(slot))

    def _scale(self) -> None:
        """Give the pool the size that `worker scale` asked for, if it did."""
        wanted = pool_size.take(self._files, self._id)
        if wanted is None or wanted == self._size or self._is_stopping:
            return
        _log.warning("scaled from %d to %d workers", self._size, wanted)
        self._size = wanted
        for child in self._children.values():
            one = child.assignment
            if one.slot >= wanted and not one.recovers_only and one.worker not in self._leaving:
                self._leaving.add(one.worker)
                _tell(child, Order.STOP)
        self._fill_slots()

    def _keep_lock(self) -> None:
        """Create the lock file again if somebody removed it."""
        try:
            self._lock.keep(self._files, self._id)
        except OSError:  # the folder is gone, which the workers make again: a later scan does it
            pass

    def _are_ready(self) -> bool:
        """Whether each worker has its FIFO, which it makes last."""
        workers = {child.assignment.worker for child in self._children.values()}
        try:
            return workers <= wakeup.owners(self._files)
        except OSError:  # unknown just now
            return False

    def _assignment(
        self, slot: int, *, recovers: str | None = None, recovers_only: bool = False
    ) -> Assignment:
        self._forked += 1
        return Assignment(
            worker=f"{self._id}-{self._forked}",
            supervisor=self._id,
            slot=slot,
            queues=self._plan.queues,
            orders=-1,
            drain=self._plan.drain,
            max_jobs=self._plan.max_jobs,
            until=self._until,
            recovers=recovers,
            recovers_only=recovers_only,
        )

    def _fork(self, assignment: Assignment) -> None:
        """Start a worker; if that is impossible now, a little later."""
        ends: tuple[int, ...] = ()
        # No signal may reach the child before it has handlers of its own.
        mask = signals.block_all()
        try:
            ends = reader, writer = os.pipe()
            if self._stop.order is not None:
                # A worker that recovers a job during a stop must not wait for a busy queue without
                # end, so it is told of the stop as well.
                os.write(writer, self._stop.order.value)
            pid = os.fork()
        except OSError as error:
            for end in ends:
                os.close(end)
            signals.restore(mask)
            _log.error("cannot fork a worker: %s; trying again", error.strerror)
            self._restarts.try_again(assignment, time.monotonic())
            return
        if pid == 0:
            self._become_worker(assignment._replace(orders=reader), writer, mask)
        os.close(reader)
        self._children[pid] = _Child(assignment, writer, time.monotonic())
        signals.restore(mask)

    def _become_worker(self, assignment: Assignment, writer: int, mask: set[int]) -> NoReturn:
        """Be the worker, in the forked child."""
        status: int = WorkerExit.FAILED
        try:
            # The lock of the supervisor would outlive it if a worker kept the descriptor.
            self._lock.close()
            os.close(writer)
            for child in self._children.values():
                os.close(child.orders)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signals.do_nothing)
            if hasattr(signal, "SIGIO"):
                # It comes if somebody opens the log of a job while we ask who has it open.
                signal.signal(signal.SIGIO, signal.SIG_IGN)
            signals.restore(mask)
            titles.set_title(f"queuectl worker {assignment.worker}")
            status = self._worker_main(self._files, assignment)
        except BaseException:  # the outermost loop of a process
            _log.exception("worker %s crashed", assignment.worker)
        finally:
            # Not sys.exit: a worker must not run the exit handlers of the supervisor.
            os._exit(status)

    def _react(self, number: int) -> None:
        """Do what a signal asks for."""
        if number == signal.SIGTSTP:
            signals.suspend()
        if number == signals.SCALE_SIGNAL:
            self._scale()
        before = self._stop
        self._follow(before.after(number))
        if self._stop != before:
            _log.warning("%s", stopping.announcement(before, self._stop))

    def _follow(self, stop: Stop) -> None:
        """Stop in this way from now on; the same way again changes nothing."""
        before, self._stop = self._stop, stop
        if stop != before:
            self._restarts.keep_recoveries()
            self._announcer.stopping()
        if stop.mode is not before.mode and stop.order is not None:
            self._order(stop.order)

    def _give_up(self, code: WorkerExit) -> None:
        """End the pool, whose queue no worker can serve any more, with one line in the log."""
        if not self._gave_up:
            self._gave_up = self._failed = True
            _log.error("%s", _LOST_QUEUES[code].format(path=self._files.database))
        self._follow(self._stop.after(signals.STOP_SIGNAL))

    def _order(self, order: Order) -> None:
        for child in self._children.values():
            _tell(child, order)

    def _reap(self) -> None:
        """Reap all children that have ended."""
        while self._children:
            which = -1
            if self._reaps_orphans:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return
                # Reap exactly this one: meanwhile an orphan may have ended, whose exit status has
                # to be written down before it is reaped.
                which = ended.si_pid
                if which not in self._children:
                    orphans.reap(self._files, which, self._scan.owners())
                    continue
            pid, status = os.waitpid(which, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                os.close(child.orders)
                self._worker_ended(child, status)
                self._leaving.discard(child.assignment.worker)

    def _worker_ended(self, child: _Child, status: int) -> None:
        """Decide what follows the end of a worker."""
        assignment = child.assignment
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        if code in _LOST_QUEUES:
            self._give_up(WorkerExit(code))
        if assignment.recovers_only:
            self._recovery_ended(assignment, code)
        elif code == WorkerExit.DONE or code in _LOST_QUEUES:
            if assignment.worker in self._leaving and not self._is_stopping:
                self._fill_slots()  # the pool may have been made larger again meanwhile
        elif code == WorkerExit.REPLACE_ME:
            if not self._is_stopping and assignment.slot < self._size:
                self._fork(self._assignment(assignment.slot))
        else:
            how = f"exit {code}" if code is not None else f"signal {os.WTERMSIG(status)}"
            _log.warning("worker %s died (%s)", assignment.worker, how)
            if self._is_stopping:
                self._failed = self._failed or code is not None
                self._recover(assignment.worker)
            elif assignment.slot >= self._size:
                self._recover(assignment.worker)
            else:
                self._replace(child)

    def _replace(self, child: _Child) -> None:
        """Start a worker in place of a dead one, which first recovers the job of that."""
        now, dead = time.monotonic(), child.assignment
        replacement = self._assignment(dead.slot, recovers=dead.worker)
        try:
            noted = lockfiles.known_job_process(self._files, dead.worker)
            # An adopted job does not count: it may be what the worker died of.
            ran_a_job = noted is not None and noted.log_owner == dead.worker
        except QueueError:  # unknown: a job that it may have run must not wait
            ran_a_job = True
        if restarts.is_crash_loop(age_seconds=now - child.born, ran_a_job=ran_a_job):
            # It may have died before it recovered the job of the worker that it replaced itself.
            if dead.recovers is not None:
                self._recover(dead.recovers)
            self._restarts.hold_back(replacement, now)
        else:
            self._restarts.reset(dead.slot)
            self._fork(replacement)

    def _recovery_ended(self, assignment: Assignment, code: int | None) -> None:
        """Let another worker try again later if an extra worker could not recover a job."""
        if code == WorkerExit.DONE:
            self._restarts.reset(assignment.slot)
            return
        try:
            if lockfiles.known_job_process(self._files, assignment.worker) is None:
                # It claims nothing, and it had adopted nothing, so it left nothing to recover.
                self._scan.remove_lock(assignment.worker)
        except QueueError:  # it may have adopted a job: a later scan recovers that
            pass
        if self._is_stopping:
            self._failed = True  # the next `worker start` recovers the job
            self._left_behind |= {assignment.recovers or "", assignment.worker}
        else:
            self._restarts.hold_back(assignment, time.monotonic())

    @property
    def _is_stopping(self) -> bool:
        return self._stop.mode is not Mode.RUNNING

    def _start_due(self, now: float) -> None:
        for assignment in self._restarts.take_due(now):
            has_slot = not assignment.recovers_only and assignment.slot < self._size
            if has_slot and not self._is_stopping:
                self._fork(assignment)
            elif assignment.recovers is not None:
                self._recover(assignment.recovers)

    def _recover(self, dead: str) -> None:
        """Fork an extra worker that only recovers the job of a dead one: it needs no free slot."""
        if self._stop.mode is Mode.LEAVING_JOBS:
            return  # the next pool does it
        if any(child.assignment.recovers == dead for child in self._children.values()):
            return
        if lockfiles.is_alive(self._files, dead) is False:
            self._fork(self._assignment(-1, recovers=dead, recovers_only=True))

    def _recover_other_pools(self) -> None:
        """Recover the jobs of workers whose supervisor is dead as well."""
        if self._stop.mode in (Mode.KILLING, Mode.LEAVING_JOBS):
            return  # this pool would kill the jobs of others, or leave them again
        workers = {child.assignment.worker for child in self._children.values()}
        known = workers | self._restarts.recovered() | self._left_behind | {self._id}
        for dead in self._scan.dead_workers(known):
            self._recover(dead)


def _tell(child: _Child, order: Order) -> None:
    """Give a worker an order."""
    try:
        os.write(child.orders, order.value)
    except BrokenPipeError:  # it is just exiting
        pass
