"""The process that `worker start` becomes: it runs a supervisor to the end of the pool."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

from queuectl import POOL_VARIABLE
from queuectl.core.counts import counted
from queuectl.core.errors import QueueError
from queuectl.core.settings import effective
from queuectl.host import lockfiles, processes
from queuectl.host.files import QueueFiles, with_tilde
from queuectl.host.log import log as _log
from queuectl.worker import loop, titles
from queuectl.worker.announcing import (
    Announcer,
    CallerAnnouncer,
    CountingAnnouncer,
    ServiceAnnouncer,
    TerminalAnnouncer,
)
from queuectl.worker.assignment import Assignment, WorkerExit
from queuectl.worker.commands import inherited_environ
from queuectl.worker.plan import Launch, Plan
from queuectl.worker.reporting import Reporter
from queuectl.worker.supervisor import Supervisor
from queuectl.worker.tally import Tally

if TYPE_CHECKING:
    from queuectl.worker.screen import Screen


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
    # Removed from the environment in any case: it is not meant for jobs.
    address = os.environ.pop("NOTIFY_SOCKET", "")
    files, supervisor_id, plan = launch.files, launch.supervisor_id, launch.plan
    titles.set_title(f"queuectl supervisor {supervisor_id}")
    screen = _screen(launch)
    _begin_log(quiet=launch.quiet, on_screen=screen is not None)
    if screen is not None:
        _greet(screen, launch)
    else:
        _log.info(
            "%s of %s; stop with Ctrl+C or: queuectl worker stop %s",
            _workers(plan), files.database, supervisor_id,
        )  # fmt: skip
    if processes.are_hidden():
        _log.warning("%s", processes.HIDDEN)
    tally = Tally()
    reporter, announcer = _speakers(launch, screen, address, tally)
    lock = lockfiles.ProcessLock.inherited(files, supervisor_id, launch.lock)

    # Done once, before the forks: it would take 0.1 MB of the memory of each worker. (`effective`
    # keeps its result.)
    effective((), shared=files.allow_shared)
    environ = inherited_environ()

    def work(files: QueueFiles, assignment: Assignment) -> WorkerExit:
        return loop.work(files, assignment, environ, reporter)

    code = Supervisor(files, supervisor_id, plan, lock, work, announcer).run()
    return 1 if plan.fails and tally.dead else code


def _screen(launch: Launch) -> Screen | None:
    """Return the terminal that the pool speaks on; None if it writes a log, or says little."""
    if launch.quiet or not os.isatty(2):
        return None
    from queuectl.worker.screen import Screen  # 0.04 MB of each worker

    return Screen(colored=launch.colored is not False)


def _greet(screen: Screen, launch: Launch) -> None:
    """Say what was started and what stops it."""
    screen.say(f"{_workers(launch.plan)} of {with_tilde(launch.files.database)}")
    them = "it" if launch.plan.workers == 1 else "them"
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        screen.say(f"Ctrl+C stops {them}")
    else:
        screen.say(f"Ctrl+C or closing this terminal stops {them}; --detach keeps {them} running")


def _workers(plan: Plan) -> str:
    return f"{counted(plan.workers, 'worker')} on {', '.join(plan.queues) or 'all queues'}"


def _speakers(
    launch: Launch, screen: Screen | None, notify_address: str, tally: Tally
) -> tuple[Reporter, Announcer]:
    """Return what reports on jobs, in workers, and what reports on the pool, in the supervisor."""
    if launch.announce is not None:
        return Reporter(), CallerAnnouncer(launch.announce, launch.supervisor_id)
    is_service = notify_address.startswith(("/", "@"))
    if screen is None and not is_service:
        if launch.plan.fails:
            return Reporter(tally), CountingAnnouncer(tally)
        return Reporter(), Announcer()
    reporter = Reporter(tally)
    if screen is not None:
        from queuectl.worker.screen import ScreenReporter  # as above

        reporter = ScreenReporter(screen, tally)
    if is_service:
        return reporter, ServiceAnnouncer(notify_address, tally)
    assert screen is not None
    return reporter, TerminalAnnouncer(screen.say, tally)


def _begin_log(*, quiet: bool, on_screen: bool) -> None:
    """Log to stderr from now on."""
    if on_screen:
        # The terminal may have written ^C at the beginning of this line.
        _log.begin("%H:%M:%S", before="\r", quiet=quiet)
    elif _is_journal(2):
        _log.begin("", quiet=quiet)  # systemd adds the time
    else:
        _log.begin("%Y-%m-%d %H:%M:%S", quiet=quiet)


def _is_journal(descriptor: int) -> bool:
    """Whether a descriptor leads to the journal of systemd, see systemd.exec(5)."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
