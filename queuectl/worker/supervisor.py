"""Forking N workers, replacing the dead, passing orders on. It never opens the database."""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import time
from typing import Callable, NamedTuple

from queuectl.core.errors import QueueError
from queuectl.host import lockfiles, processes, signals, wakeup
from queuectl.host.files import QueueFiles
from queuectl.host.processes import become_subreaper
from queuectl.runner import exit_status
from queuectl.worker.assignment import Assignment, Order, WorkerExit
from queuectl.worker.plan import Plan

_log = logging.getLogger(__name__)

_SCAN_SECONDS = 2.0
_READY_POLL_SECONDS = 0.02
_YOUNG_SECONDS = 5.0
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 60.0


WorkerMain = Callable[[QueueFiles, Assignment], WorkerExit]


class _Child(NamedTuple):
    assignment: Assignment
    orders: int
    """The writing end of the pipe that it takes orders from."""
    born: float


class Supervisor:
    """A pool of worker processes."""

    def __init__(
        self,
        files: QueueFiles,
        supervisor_id: str,
        plan: Plan,
        life: lockfiles.ProcessLock,
        worker_main: WorkerMain,
    ) -> None:
        self._files = files
        self._id = supervisor_id
        self._plan = plan
        self._life = life
        self._worker_main = worker_main
        self._children: dict[int, _Child] = {}
        self._born = 0
        self._stopping = False
        self._was_signalled = False
        self._killed_by: int | None = None
        self._failed = False
        self._waiting: list[tuple[float, Assignment]] = []
        """Replacements that are held back, each with the time it may start at."""
        self._backoff: dict[int, float] = {}
        self._reaps_orphans = False
        self._last_order: Order | None = None
        """KILL or LEAVE_JOBS: those that are forked after it, to settle the dead, are told too."""
        self._left_behind: set[str] = set()
        """Dead workers that could not be settled after a stop: the next pool does."""
        self._is_blind = False
        self._until = None if plan.max_runtime is None else time.monotonic() + plan.max_runtime

    def run(self, ready: Callable[[], None] = lambda: None) -> int:
        """Run the pool to its end; return the exit code, or end by the signal that killed it.

        `ready` is called once, when the workers can be seen and woken, or one has ended already.
        """
        stream = signals.SignalStream(
            (
                signal.SIGINT,
                signal.SIGTERM,
                signal.SIGHUP,
                signal.SIGQUIT,
                signal.SIGCHLD,
                signals.LEAVE_SIGNAL,
                signals.KILL_SIGNAL,
                signals.STOP_SIGNAL,
            )
        )
        # Frozen before they are forked, what all workers have in common stays in memory once.
        gc.collect()
        gc.freeze()
        for slot in range(self._plan.workers):
            self._fork(self._assignment(slot))
        # After the forks: workers need not carry what this imports.
        self._reaps_orphans = become_subreaper()
        next_scan, told = 0.0, False
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLIN)
        while self._children or self._waiting:
            now = time.monotonic()
            if now >= next_scan:
                next_scan = now + _SCAN_SECONDS
                self._recover_other_pools()
            self._start_waiting(now)
            wake = min([next_scan] + [at for at, _ in self._waiting])
            if not told:
                wake = min(wake, now + _READY_POLL_SECONDS)
            poll.poll(max(0, int((wake - now) * 1000 + 0.999)))
            for number in stream.read():
                self._heed(number)
            self._reap()
            if not told and self._are_ready():
                told = True
                ready()
        self._life.remove()
        if self._killed_by is not None:
            signals.die_by(self._killed_by)
        _log.info("all workers have left")
        return 1 if self._failed else 0

    def _are_ready(self) -> bool:
        mine = {child.assignment.worker for child in self._children.values()}
        try:
            return mine <= wakeup.owners(self._files)
        except OSError:  # ask again
            return False

    def _owners(self) -> list[str]:
        """Return whose lock files are there; none, with a warning, if that cannot be known now."""
        try:
            owners = lockfiles.owners(self._files)
        except QueueError as error:
            if not self._is_blind:
                _log.warning("%s; trying again", error)
            self._is_blind = True
            return []
        self._is_blind = False
        return owners

    def _assignment(self, slot: int, recovers: str | None = None) -> Assignment:
        self._born += 1
        return Assignment(
            worker=f"{self._id}-{self._born}",
            supervisor=self._id,
            slot=slot,
            queues=self._plan.queues,
            orders=-1,
            drain=self._plan.drain,
            max_jobs=self._plan.max_jobs,
            until=self._until,
            recovers=recovers,
        )

    def _fork(self, assignment: Assignment) -> None:
        ends: tuple[int, ...] = ()
        # No signal may meet the child before it has handlers of its own.
        mask = signals.block_all()
        try:
            ends = reader, writer = os.pipe()
            # Who comes to settle what is left must not wait for the queue for ever either.
            order = self._last_order or (Order.STOP if self._stopping else None)
            if order is not None:
                os.write(writer, order.value)
            pid = os.fork()
        except OSError as error:
            for end in ends:
                os.close(end)
            signals.restore(mask)
            _log.error("cannot fork a worker: %s; trying again", error.strerror)
            self._waiting.append((time.monotonic() + _FIRST_BACKOFF_SECONDS, assignment))
            return
        if pid == 0:
            self._become_worker(assignment._replace(orders=reader), writer, mask)
        os.close(reader)
        self._children[pid] = _Child(assignment, writer, time.monotonic())
        signals.restore(mask)

    def _become_worker(
        self, assignment: Assignment, writer: int, mask: set[signal.Signals]
    ) -> None:
        """Be the worker, in the forked child; never returns."""
        status: int = WorkerExit.FAILED
        try:
            # Held here too, the supervisor's lock would outlive it.
            self._life.close()
            os.close(writer)
            for child in self._children.values():
                os.close(child.orders)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signals.nothing)
            signals.restore(mask)
            status = self._worker_main(self._files, assignment)
        except BaseException:  # noqa: BLE001 (the outermost loop of a process)
            _log.exception("worker %s crashed", assignment.worker)
        finally:
            # Not sys.exit: what the supervisor has open or registered is not the worker's to end.
            os._exit(status)

    def _heed(self, number: int) -> None:
        if number == signals.LEAVE_SIGNAL:
            self._stop_replacing()
            self._last_order = Order.LEAVE_JOBS
            self._order(Order.LEAVE_JOBS)
            _log.warning("leaving: running jobs go on, the next workers answer for them")
            return
        if number == signals.STOP_SIGNAL:
            if not self._stopping:
                self._stop()
                _log.warning("stopping: running jobs are finished first")
            return
        if number == signals.KILL_SIGNAL:
            number = signal.SIGQUIT
        if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) and not self._was_signalled:
            self._was_signalled = True
            if not self._stopping:
                self._stop()
            _log.warning("stopping: running jobs are finished first (again: they are put back)")
        # Never HUP: a terminal that closes sends it twice, from the kernel and from the shell.
        elif number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            self._stop_replacing()
            self._killed_by = number
            self._last_order = Order.KILL
            self._order(Order.KILL)
            _log.warning("killing the running jobs; they are put back")

    def _stop(self) -> None:
        self._stop_replacing()
        self._order(Order.STOP)

    def _stop_replacing(self) -> None:
        """Start no worker from now on; what the dead left is settled at once."""
        self._stopping = True
        self._waiting = [
            (0.0, assignment) for _, assignment in self._waiting if assignment.recovers
        ]

    def _order(self, order: Order) -> None:
        for child in self._children.values():
            try:
                os.write(child.orders, order.value)
            except BrokenPipeError:  # it is just leaving
                pass

    def _reap(self) -> None:
        while self._children:
            which = -1
            if self._reaps_orphans:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return
                # Just this one: another may have ended meanwhile, an orphan with a word to leave.
                which = ended.si_pid
                if which not in self._children:
                    self._reap_orphan(which)
                    continue
            pid, status = os.waitpid(which, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                os.close(child.orders)
                self._replace(child, status)

    def _reap_orphan(self, pid: int) -> None:
        """Reap what a dead worker's job started; of the job itself tell how it ended."""
        ticks = processes.start_ticks(pid)
        known = [lockfiles.job_process(self._files, owner) for owner in self._owners()]
        jobs = [job for job in known if job and job.pid == pid and job.start_ticks in (ticks, None)]
        # Told before it is reaped: the heir waits until the number is gone.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        for job in jobs:
            path = self._files.worker_status(job.log_owner)
            if ended is None:
                continue
            by_signal = ended.si_code != os.CLD_EXITED
            status = exit_status.Status(
                None if by_signal else ended.si_status, ended.si_status if by_signal else None
            )
            # Whatever its shell said: of some signals bash says 0.
            if exit_status.read(path, job.execution_id) != status:
                try:
                    exit_status.write(path, job.execution_id, status)
                except (OSError, QueueError) as error:
                    _log.warning("cannot tell how process %d ended: %s", pid, error)
        os.waitpid(pid, 0)

    def _replace(self, child: _Child, status: int) -> None:
        """Decide what follows a worker that ended."""
        assignment = child.assignment
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        if assignment.recovers_only:
            self._recover_again(assignment, code)
            return
        if code == WorkerExit.DONE:
            return
        if code == WorkerExit.QUEUE_CHANGED:
            self._failed = True
            self._heed(signals.STOP_SIGNAL)
            return
        if code == WorkerExit.REPLACE_ME:
            if not self._stopping:
                self._fork(self._assignment(assignment.slot))
            return
        how = f"exit {code}" if code is not None else f"signal {os.WTERMSIG(status)}"
        _log.warning("worker %s died (%s)", assignment.worker, how)
        if self._stopping:
            self._failed = self._failed or code is not None
            self._recover(assignment.worker)
            return
        heir = self._assignment(assignment.slot, recovers=assignment.worker)
        young = time.monotonic() - child.born < _YOUNG_SECONDS
        if young and not lockfiles.job_process(self._files, assignment.worker):
            # Its own predecessor may still be unsettled if it died that early.
            if assignment.recovers is not None:
                self._recover(assignment.recovers)
            self._hold_back(heir, assignment.slot)
        else:
            self._backoff.pop(assignment.slot, None)
            self._fork(heir)

    def _recover_again(self, assignment: Assignment, code: int | None) -> None:
        """Let another try, later, what an extra heir did not come to."""
        if code == WorkerExit.DONE:
            self._backoff.pop(assignment.slot, None)
            return
        if not lockfiles.job_process(self._files, assignment.worker):
            # It claims nothing and had adopted nothing: so it needs no heir of its own.
            self._remove_lock_of(assignment.worker)
        if self._stopping:
            self._failed = True  # the next `worker start` settles it
            self._left_behind |= {assignment.recovers or "", assignment.worker}
        else:
            self._hold_back(assignment, assignment.slot)

    def _hold_back(self, assignment: Assignment, slot: int) -> None:
        """Start it later: at once the first time, then after 1, 2, 4 … 60 seconds."""
        delay = self._backoff.get(slot, 0.0)
        self._backoff[slot] = min(max(2 * delay, _FIRST_BACKOFF_SECONDS), _LONGEST_BACKOFF_SECONDS)
        self._waiting.append((time.monotonic() + delay, assignment))

    def _start_waiting(self, now: float) -> None:
        due = [entry for entry in self._waiting if entry[0] <= now]
        self._waiting = [entry for entry in self._waiting if entry[0] > now]
        for _, assignment in due:
            if not self._stopping and not assignment.recovers_only:
                self._fork(assignment)
            elif assignment.recovers is not None:
                self._recover(assignment.recovers)

    def _recover(self, worker_id: str) -> None:
        """Fork an extra heir that settles a dead worker and exits; it needs no free slot."""
        if self._last_order is Order.LEAVE_JOBS:
            return  # the next pool does
        if any(child.assignment.recovers == worker_id for child in self._children.values()):
            return
        if lockfiles.is_alive(self._files, worker_id) is False:
            self._fork(self._assignment(-1, recovers=worker_id)._replace(recovers_only=True))

    def _recover_other_pools(self) -> None:
        """Settle what workers of other supervisors left when all of them were killed."""
        if self._last_order is not None:
            return  # what runs there is not ours to end
        mine = {child.assignment.worker for child in self._children.values()}
        expected = {entry[1].recovers for entry in self._waiting}
        try:
            lockfiles.remove_unfinished(self._files)
            bells = wakeup.owners(self._files)
        except OSError:  # at the next scan, then
            bells = set()
        owners = self._owners()
        # A worker has its lock before it has a bell, and for longer.
        for silent in bells.difference(owners) if owners else ():
            wakeup.remove(self._files, silent)
        for owner in owners:
            if owner == self._id or owner in mine or owner in expected | self._left_behind:
                continue
            if lockfiles.is_alive(self._files, owner) is not False:
                continue
            if lockfiles.is_supervisor(owner):
                self._remove_lock_of(owner)
            else:
                self._recover(owner)

    def _remove_lock_of(self, owner: str) -> None:
        """Take away the lock file of somebody dead who leaves nothing to settle."""
        try:
            lock = lockfiles.take_stale(self._files, owner)
            if lock is not None:
                lock.remove()
        except (OSError, QueueError):  # at a later scan, then
            pass
