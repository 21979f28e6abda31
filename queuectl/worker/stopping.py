"""How a pool stops: what each signal to the supervisor means, and what the workers are told."""

from __future__ import annotations

import signal
from enum import Enum

from queuectl.core.named_tuples import NamedTuple
from queuectl.host import signals
from queuectl.worker.assignment import Order

SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signals.LEAVE_SIGNAL,
    signals.KILL_SIGNAL,
    signals.STOP_SIGNAL,
)
"""The signals that stop a pool, in one way or another."""


class Mode(Enum):
    """The phase of a pool; each value but RUNNING is the order that its workers get."""

    RUNNING = None
    """Workers claim jobs, and dead workers are replaced."""

    FINISHING = Order.STOP
    """Running jobs are finished, nothing more is claimed, and no worker is replaced."""

    KILLING = Order.KILL
    """Running jobs are killed and released."""

    LEAVING_JOBS = Order.LEAVE_JOBS
    """Running jobs are left alone: the next workers adopt them."""


class Stop(NamedTuple):
    """Whether and how a pool stops."""

    mode: Mode = Mode.RUNNING
    """The present phase of the pool."""

    was_signalled: bool = False
    """Whether INT, TERM or HUP came already, so that another INT or TERM kills."""

    killed_by: int | None = None
    """The signal by which the supervisor ends when all workers are gone; None for a plain exit."""

    def after(self, number: int) -> Stop:
        """Return what follows from a signal; the same if it changes nothing."""
        if number == signals.LEAVE_SIGNAL:
            return self._replace(mode=Mode.LEAVING_JOBS)
        if number == signals.STOP_SIGNAL:
            return self._finishing()
        if number == signals.KILL_SIGNAL:
            number = signal.SIGQUIT
        if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) and not self.was_signalled:
            return self._finishing()._replace(was_signalled=True)
        # Never HUP: a terminal that closes sends it twice, from the kernel and from the shell.
        if number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            return self._replace(mode=Mode.KILLING, killed_by=number)
        return self

    @property
    def order(self) -> Order | None:
        """The order for the workers: for all now, and for later ones at their start."""
        order: Order | None = self.mode.value
        return order

    def _finishing(self) -> Stop:
        return self._replace(mode=Mode.FINISHING) if self.mode is Mode.RUNNING else self


def announcement(before: Stop, after: Stop) -> str:
    """Return what the log says of a change."""
    if after.was_signalled and not before.was_signalled:
        return "stopping after the running jobs (a second signal puts them back)"
    if after.mode is Mode.FINISHING:
        return "stopping after the running jobs"
    if after.mode is Mode.KILLING:
        return "killing the running jobs; they are put back"
    return "leaving: running jobs go on, the next workers adopt them"
