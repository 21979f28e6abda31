"""What a series of signals makes of a pool."""

from __future__ import annotations

import signal
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM

import pytest

from queuectl.host.signals import KILL_SIGNAL, LEAVE_SIGNAL, STOP_SIGNAL
from queuectl.worker.assignment import Order
from queuectl.worker.stopping import Mode, Stop


def _after(*numbers: int) -> Stop:
    stop = Stop()
    for number in numbers:
        stop = stop.after(number)
    return stop


@pytest.mark.parametrize(
    ("numbers", "mode", "killed_by"),
    [
        ((), Mode.RUNNING, None),
        ((signal.SIGCHLD,), Mode.RUNNING, None),
        ((SIGINT,), Mode.FINISHING, None),
        ((SIGINT, SIGINT), Mode.KILLING, SIGINT),
        ((SIGTERM, SIGTERM), Mode.KILLING, SIGTERM),
        ((SIGHUP, SIGINT), Mode.KILLING, SIGINT),
        # A terminal that closes sends HUP more than once.
        ((SIGHUP, SIGHUP, SIGHUP), Mode.FINISHING, None),
        ((SIGQUIT,), Mode.KILLING, SIGQUIT),
        ((KILL_SIGNAL,), Mode.KILLING, SIGQUIT),
        # `worker stop` does not count as a first Ctrl+C, however often it is called.
        ((STOP_SIGNAL, STOP_SIGNAL), Mode.FINISHING, None),
        ((STOP_SIGNAL, SIGINT), Mode.FINISHING, None),
        ((STOP_SIGNAL, SIGINT, SIGINT), Mode.KILLING, SIGINT),
        ((LEAVE_SIGNAL,), Mode.LEAVING_JOBS, None),
        # A service manager may send TERM while the workers leave: their jobs go on all the same.
        ((LEAVE_SIGNAL, SIGTERM), Mode.LEAVING_JOBS, None),
        ((LEAVE_SIGNAL, STOP_SIGNAL), Mode.LEAVING_JOBS, None),
        ((SIGQUIT, STOP_SIGNAL), Mode.KILLING, SIGQUIT),
    ],
)
def test_signals_stop_a_pool_step_by_step(
    numbers: tuple[int, ...], mode: Mode, killed_by: int | None
) -> None:
    """The first one lets running jobs finish, the second one kills them."""
    stop = _after(*numbers)

    assert (stop.mode, stop.killed_by) == (mode, killed_by)


@pytest.mark.parametrize(
    ("number", "order"),
    [
        (signal.SIGCHLD, None),
        (SIGTERM, Order.STOP),
        (SIGQUIT, Order.KILL),
        (LEAVE_SIGNAL, Order.LEAVE_JOBS),
    ],
)
def test_workers_are_told_what_the_pool_does(number: int, order: Order | None) -> None:
    """A worker that is forked later gets the same order."""
    assert _after(number).order is order
