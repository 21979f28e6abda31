"""What wakes a worker: signals, its supervisor's orders, and its bell."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from typing import Callable

from queuectl.core.models import OutcomeKind
from queuectl.host.signals import KILL_SIGNAL, LEAVE_SIGNAL, SignalStream
from queuectl.host.wakeup import WakeUpFifo
from queuectl.worker.assignment import Order, WorkerExit

_log = logging.getLogger(__name__)

_MUTED_SECONDS = 0.05


class WorkerEvents:
    """All that a worker listens to, read in the loop's own time."""

    def __init__(self, orders: int) -> None:
        # INT and HUP of a terminal reach the whole group; what they mean, the supervisor says.
        self._signals = SignalStream(
            (
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGTERM,
                signal.SIGQUIT,
                signal.SIGCHLD,
                LEAVE_SIGNAL,
                KILL_SIGNAL,
            )
        )
        self._orders = orders
        self._fifo: WakeUpFifo | None = None
        self._muted_until = 0.0
        self._poll = select.poll()
        self._muted_poll = select.poll()
        for poll in (self._poll, self._muted_poll):
            poll.register(self._signals.fileno(), select.POLLIN)
            poll.register(orders, select.POLLIN)
        self.leaving: WorkerExit | None = None
        self.killing = False
        self.leaves_job = False
        self.woken = False

    def listen_to(self, fifo: WakeUpFifo) -> None:
        """Listen to this bell from now on."""
        self._fifo = fifo
        self._poll.register(fifo.fileno(), select.POLLIN)

    def mute(self) -> None:
        """Leave the bell alone for a moment: a busy worker must not run for every new job."""
        self.woken = False
        self._muted_until = time.monotonic() + _MUTED_SECONDS

    def unmute(self) -> None:
        """Hear the bell at once again."""
        self._muted_until = 0.0

    def wait(self, seconds: float) -> None:
        """Sleep until something happened, at most so long; may return early."""
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
                self._read_signals()
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
            self.killing = True
        if Order.LEAVE_JOBS.value in orders:
            self.leaves_job = True
        self.leaving = WorkerExit.DONE

    def _read_signals(self) -> None:
        for number in self._signals.read():
            if number == signal.SIGTERM and self.leaving is None:
                self.leaving = WorkerExit.REPLACE_ME
            elif number == LEAVE_SIGNAL:
                self.leaving = WorkerExit.DONE
            elif number == KILL_SIGNAL:
                self.leaving = WorkerExit.DONE
                self.killing = True
            elif number == signal.SIGQUIT:
                # Of a terminal the supervisor gets it too, and replaces nobody then.
                if self.leaving is None:
                    self.leaving = WorkerExit.REPLACE_ME
                self.killing = True


class JobEvents:
    """What a worker attends to while a job runs."""

    def __init__(self, events: WorkerEvents, cut_short: Callable[[], OutcomeKind | None]) -> None:
        self.wait = events.wait
        self.cut_short = cut_short


class Patience:
    """How long a worker keeps trying: for ever, but for kill-grace once it is told to leave."""

    def __init__(self, events: WorkerEvents, grace_seconds: Callable[[], float]) -> None:
        self._events = events
        self._grace_seconds = grace_seconds
        self._until = float("inf")

    def is_over(self) -> bool:
        """Whether it is to be given up."""
        if self._events.leaving is not None:
            self._until = min(self._until, time.monotonic() + self._grace_seconds())
        return time.monotonic() >= self._until
