"""The process of a pool: an interpreter that has never seen the command line.

`worker start` becomes it by exec, so that neither it nor its workers carry what only the command
line needs: 3 MB each.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import sys
from typing import Callable, NamedTuple, NoReturn

from queuectl import POOL_VARIABLE
from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape
from queuectl.host import lockfiles, processes, signals
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import open_private
from queuectl.host.lockfiles import ProcessLock
from queuectl.worker.plan import Plan
from queuectl.worker.supervisor import Supervisor

_log = logging.getLogger(__name__)


class Launch(NamedTuple):
    """What the process is told about the pool that it is to be.

    `life` is the descriptor of its lock. `announce` is a pipe that is told its id when the workers
    are ready; without one a service manager is, if that asked for it.
    """

    files: QueueFiles
    supervisor_id: str
    plan: Plan
    quiet: bool
    life: int
    announce: int | None


def become(order: Launch) -> NoReturn:
    """Replace this process by the pool's; QueueError if that cannot be."""
    _pass_on(order, True)
    # The process keeps its number: whoever inherits the variable by accident has another.
    variables = {**os.environ, POOL_VARIABLE: f"{os.getpid()} {json.dumps(order)}"}
    words = _called_as()
    # A stop that comes before the supervisor has its handlers waits for them.
    mask = signals.block_all()
    try:
        os.execve(words[0], words, variables)
    except OSError as error:
        signals.restore(mask)
        raise QueueError(f"cannot start {words[0]}: {error.strerror}") from None


def _pass_on(order: Launch, inheritable: bool) -> None:
    for descriptor in (order.life, order.announce):
        if descriptor is not None:
            os.set_inheritable(descriptor, inheritable)


def _called_as() -> list[str]:
    """Return how this process was called: in a list of processes the pool looks the same."""
    given: list[str] | None = getattr(sys, "orig_argv", None)  # since Python 3.10
    if given is None:
        is_module = os.path.basename(sys.argv[0]) in ("__main__.py", "-c")
        given = ["", *(("-m", "queuectl") if is_module else sys.argv[:1]), *sys.argv[1:]]
    return [sys.executable, *given[1:]]


def run() -> NoReturn:
    """Be the pool that the environment orders, to its end."""
    _, _, text = os.environ.pop(POOL_VARIABLE).partition(" ")
    files, supervisor_id, plan, *rest = json.loads(text)
    workers, queues, *bounds = plan
    order = Launch(QueueFiles(*files), supervisor_id, Plan(workers, tuple(queues), *bounds), *rest)
    _pass_on(order, False)
    try:
        code = _supervise(order)
    except (QueueError, OSError) as error:
        _log.error("the pool cannot go on: %s", error)
        code = 1
    os._exit(code)


def _supervise(order: Launch) -> int:
    from queuectl.worker import loop  # `worker start` itself needs none of it

    # A bell or a pipe whose reader just left, or a log that nobody reads, must end nobody.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # What cannot be logged, on a full disk say, is let go: by default each line of it would be a
    # traceback.
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    level = logging.WARNING if order.quiet else logging.INFO
    logging.basicConfig(level=level, handlers=[handler])
    files, supervisor_id, plan = order.files, order.supervisor_id, order.plan
    _log.info(
        "%d worker%s on %s of %s; stop with Ctrl+C or: queuectl worker stop %s",
        plan.workers, "" if plan.workers == 1 else "s",
        ", ".join(plan.queues) or "all queues", files.database, supervisor_id,
    )  # fmt: skip
    life = ProcessLock.inherited(files, supervisor_id, order.life)
    announce = _announcer(order)
    return Supervisor(files, supervisor_id, plan, life, loop.work).run(announce)


class _OneLine(logging.Formatter):
    """Shows a message as one line, whatever names are in it; a traceback stays as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name is given)
        """Return the line."""
        return escape(super().formatMessage(record))


def _announcer(order: Launch) -> Callable[[], None]:
    """Return what tells whoever waits for it that the workers are ready."""
    # It leaves the environment in any case: it is not for jobs.
    address = os.environ.pop("NOTIFY_SOCKET", "")
    pipe = order.announce
    if pipe is None:
        return lambda: _notify(address)

    def announce() -> None:
        try:
            os.write(pipe, f"{order.supervisor_id}\n".encode("ascii"))
        except OSError:  # nobody waits for it any more; the workers are here to stay
            pass
        os.close(pipe)

    return announce


def _notify(address: str) -> None:
    """Tell a service manager, see sd_notify(3)."""
    if not address.startswith(("/", "@")):
        return
    import socket  # only where it was asked for

    path = "\0" + address[1:] if address[0] == "@" else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.sendto(b"READY=1", path)
    except OSError:  # it does not listen; nothing depends on it
        pass


def open_pool(
    files: QueueFiles, plan: Plan, *, unless_running: bool
) -> tuple[str, ProcessLock] | None:
    """Make a supervisor known; None if `unless_running` and its queues are served already.

    Decided under a lock, so that of any number that start at once one remains.
    """
    descriptor = open_private(files.start_lock)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if unless_running and any(
            pool.serves(plan.queues) for pool in lockfiles.living_pools(files)
        ):
            return None
        supervisor_id = os.urandom(4).hex()
        pid = os.getpid()
        # Who is seen can be told to stop: that waits until the supervisor listens.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signals.STOP_SIGNAL])
        about = {
            "pid": pid,
            "start_ticks": processes.start_ticks(pid),
            "queues": plan.queues,
            "count": plan.workers,
        }
        return supervisor_id, ProcessLock.take(files, supervisor_id, about)
    finally:
        os.close(descriptor)
