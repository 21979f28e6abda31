"""The events that wake a worker: signals, orders of its supervisor, and its wake-up FIFO."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Callable

from queuectl.core.errors import QueueError, QueueLost
from queuectl.core.models import Claim, OutcomeKind
from queuectl.host.log import log as _log
from queuectl.host.signals import KILL_SIGNAL, LEAVE_SIGNAL, SignalStream, suspend
from queuectl.host.wakeup import WakeUpFifo
from queuectl.runner.attempt import PauseState
from queuectl.storage.for_workers import WorkerStorage
from queuectl.worker.assignment import Order, WorkerExit
from queuectl.worker.reporting import Reporter

_MUTED_SECONDS = 0.05
_CANCEL_LOOK_SECONDS = 1.0
_LOOK_SECONDS = 1.0


class WorkerEvents:
    """Everything that a worker listens to, read when its loop waits."""

    def __init__(self, orders: int) -> None:
        # A terminal sends INT and HUP to the whole process group. The supervisor decides what they
        # mean for the workers; here they must only not end the process.
        self._signals = SignalStream(
            (
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGTERM,
                signal.SIGQUIT,
                signal.SIGCHLD,
                signal.SIGTSTP,
                LEAVE_SIGNAL,
                KILL_SIGNAL,
            )
        )
        self._orders = orders
        self._fifo: WakeUpFifo | None = None
        self._muted_until = 0.0
        self._look: Callable[[], None] | None = None
        self._next_look = 0.0
        self._poll = select.poll()
        self._muted_poll = select.poll()
        for poll in (self._poll, self._muted_poll):
            poll.register(self._signals.fileno(), select.POLLIN)
            poll.register(orders, select.POLLIN)
        self.leaving: WorkerExit | None = None
        """Why the worker is to exit after its running job; None as long as it is not."""
        self.kills_job = False
        """Whether the running job is to be killed and released."""
        self.leaves_job = False
        """Whether the worker is to exit at once and leave its running job alone."""
        self.woken = False
        """Whether the FIFO woke this worker since it was last muted."""

    def listen_to(self, fifo: WakeUpFifo) -> None:
        """Let this FIFO wake the worker from now on."""
        self._fifo = fifo
        self._poll.register(fifo.fileno(), select.POLLIN)

    def mute(self) -> None:
        """Ignore the FIFO for a moment: a busy worker must not wake up for every new job."""
        self.woken = False
        self._muted_until = time.monotonic() + _MUTED_SECONDS

    def unmute(self) -> None:
        """Listen to the FIFO again."""
        self._muted_until = 0.0

    def each_second(self, look: Callable[[], None]) -> None:
        """Call `look` about once a second from now on, during any wait, busy or idle."""
        self._look = look

    def wait(self, seconds: float) -> None:
        """Sleep until something happens, at most so long; may return early."""
        if self._look is not None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            self._look()
        poll = self._poll
        if self._muted_until:
            left = self._muted_until - time.monotonic()
            if left > 0:
                poll, seconds = self._muted_poll, min(seconds, left)
            else:
                self._muted_until = 0.0
        # Rounded up: a wait that ends just before its time would spin.
        for descriptor, _event in poll.poll(max(0, int(seconds * 1000 + 0.999))):
            if descriptor == self._orders:
                self._read_orders()
            elif descriptor == self._signals.fileno():
                self.read_signals()
            elif self._fifo is not None:
                self._fifo.drain()
                self.woken = True

    def _read_orders(self) -> None:
        orders = os.read(self._orders, 64)
        if not orders:
            for poll in (self._poll, self._muted_poll):
                poll.unregister(self._orders)
            if self.leaving is None:
                _log.warning("the supervisor is gone: leaving after the running job")
        if Order.KILL.value in orders:
            self.kills_job = True
        if Order.LEAVE_JOBS.value in orders:
            self.leaves_job = True
        self.leaving = WorkerExit.DONE

    def read_signals(self) -> None:
        """Follow the signals that have arrived."""
        for number in self._signals.read():
            if number == signal.SIGTERM and self.leaving is None:
                self.leaving = WorkerExit.REPLACE_ME
            elif number == LEAVE_SIGNAL:
                self.leaving = WorkerExit.DONE
            elif number == KILL_SIGNAL:
                self.leaving = WorkerExit.DONE
                self.kills_job = True
            elif number == signal.SIGTSTP:
                # Here this worker does not hold the write lock.
                suspend()
            elif number == signal.SIGQUIT:
                # From a terminal the supervisor gets QUIT as well, and then replaces no worker.
                if self.leaving is None:
                    self.leaving = WorkerExit.REPLACE_ME
                self.kills_job = True


class JobLeft(BaseException):
    """Exit now without recording the running job, which goes on: the next workers adopt it."""


class JobEvents:
    """The events that a worker watches for while one job runs."""

    def __init__(
        self,
        events: WorkerEvents,
        storage: WorkerStorage,
        claim: Claim,
        reporter: Reporter,
        *,
        adopted: bool = False,
    ) -> None:
        self.wait = events.wait
        self.pause = PauseState(is_known=not adopted)
        self._events = events
        self._storage = storage
        self._claim = claim
        self._reporter = reporter
        self._has_said_why = False
        # An adopted job may have been cancelled or paused while no worker watched it: look at once.
        self._next_cancel_look = 0.0 if adopted else time.monotonic() + _CANCEL_LOOK_SECONDS

    def cut_short(self) -> OutcomeKind | None:
        """Return CANCELLED or INTERRUPTED if the job is to be ended now, else None.

        Raises JobLeft if the worker is to exit and leave the job alone.
        """
        events = self._events
        if events.leaves_job:
            raise JobLeft
        if events.kills_job:
            return OutcomeKind.INTERRUPTED
        now = time.monotonic()
        if events.woken or now >= self._next_cancel_look:
            events.mute()
            self._next_cancel_look = now + _CANCEL_LOOK_SECONDS
            try:
                requests = self._storage.requests(self._claim)
                if requests.is_cancelled:
                    return OutcomeKind.CANCELLED
                self._follow(PauseState(requests.is_paused, requests.paused_seconds))
            except QueueLost:  # the worker meets that again when it records the end, and leaves
                pass
            except QueueError as error:
                _log.warning("cannot look for a cancel of %s: %s", self._claim.job.id, error)
        if self.pause.is_paused and events.leaving is not None and not self._has_said_why:
            self._has_said_why = True
            self._reporter.waits_for_paused(self._claim)
        return None

    def _follow(self, pause: PauseState) -> None:
        if self.pause.is_paused != pause.is_paused:
            self._reporter.paused(self._claim, is_paused=pause.is_paused)
        self.pause = pause

    def may_not_stop(self) -> set[int]:
        """Return the PIDs of processes that hold a lock for which users of the queue wait.

        A job may call queuectl itself. Were it stopped while it writes, nobody else could write,
        not even to resume the job.
        """
        from queuectl.host.held_locks import holders  # only for a paused job

        return holders(self._storage.files)
