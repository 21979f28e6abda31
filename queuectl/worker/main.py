"""The process that `worker start` becomes: it runs a supervisor to the end of the pool."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Callable, NoReturn

from queuectl import POOL_VARIABLE
from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape
from queuectl.host import lockfiles, processes
from queuectl.worker import loop, titles
from queuectl.worker.plan import Launch
from queuectl.worker.supervisor import Supervisor

_log = logging.getLogger(__name__)


def run() -> NoReturn:
    """Run the pool that the environment describes, to its end."""
    _, _, text = os.environ.pop(POOL_VARIABLE).partition(" ")
    launch = Launch.from_text(text)
    for descriptor in (launch.lock, launch.announce):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    try:
        code = _supervise(launch)
    except (QueueError, OSError) as error:
        _log.error("the pool cannot go on: %s", error)
        code = 1
    os._exit(code)


def _supervise(launch: Launch) -> int:
    # A FIFO or pipe whose reader has just left, or a log that nobody reads, must end no process.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _begin_log(quiet=launch.quiet)
    files, supervisor_id, plan = launch.files, launch.supervisor_id, launch.plan
    titles.set_title(f"queuectl supervisor {supervisor_id}")
    _log.info(
        "%d worker%s on %s of %s; stop with Ctrl+C or: queuectl worker stop %s",
        plan.workers, "" if plan.workers == 1 else "s",
        ", ".join(plan.queues) or "all queues", files.database, supervisor_id,
    )  # fmt: skip
    if processes.are_hidden():
        _log.warning("%s", processes.HIDDEN)
    lock = lockfiles.ProcessLock.inherited(files, supervisor_id, launch.lock)
    return Supervisor(files, supervisor_id, plan, lock, loop.work).run(_announcer(launch))


def _begin_log(*, quiet: bool) -> None:
    """Log to stderr from now on."""
    # A line that cannot be logged, on a full disk for example, is dropped. By default Python would
    # print a traceback for each.
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, handlers=[handler])


class _OneLine(logging.Formatter):
    """Prints each message as one line, whatever names are in it; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name is given)
        """Return the line."""
        return escape(super().formatMessage(record))


def _announcer(launch: Launch) -> Callable[[], None]:
    """Return the function that tells the waiting caller that the workers are ready."""
    # Removed from the environment in any case: it is not meant for jobs.
    address = os.environ.pop("NOTIFY_SOCKET", "")
    pipe = launch.announce
    if pipe is None:
        return lambda: _notify(address)

    def announce() -> None:
        try:
            os.write(pipe, f"{launch.supervisor_id}\n".encode("ascii"))
        except OSError:  # the caller does not wait any more; the workers stay
            pass
        os.close(pipe)

    return announce


def _notify(address: str) -> None:
    """Tell a service manager that the pool is ready, see sd_notify(3)."""
    if not address.startswith(("/", "@")):
        return
    import socket  # only a service manager asks for it

    path = "\0" + address[1:] if address[0] == "@" else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.sendto(b"READY=1", path)
    except OSError:  # it does not listen; nothing depends on it
        pass
