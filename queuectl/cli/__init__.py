"""The command line."""

from __future__ import annotations

import gc
import os
import signal

from queuectl import POOL_VARIABLE


def main() -> None:
    """Run the command line, or the pool that `worker start` has become; end the process."""
    # Before anything slow is imported: Ctrl+C ends the command by the signal itself, so that a
    # calling loop stops, and every step is safe to be killed at. One that was ignored stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is imported stays: looking through it for garbage, again and again, costs 3 ms.
    gc.disable()
    if os.environ.get(POOL_VARIABLE, "").startswith(f"{os.getpid()} "):
        from queuectl.worker.main import run  # and nothing of the command line
    else:
        from queuectl.cli.app import run  # only now
    gc.freeze()
    gc.enable()
    run()
