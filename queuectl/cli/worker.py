"""The commands `worker start`, `worker stop` and `worker list`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple

import click

from queuectl import liveness
from queuectl.cli import output
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    json_option,
    open_storage,
    queue_files,
    quiet_option,
)
from queuectl.cli.selecting import queue_names, queue_option
from queuectl.cli.status import living_workers
from queuectl.errors import QueueError
from queuectl.files import QueueFiles
from queuectl.models import Worker
from queuectl.storage import Storage
from queuectl.times import parse_duration

if TYPE_CHECKING:
    from queuectl.supervisor import PoolPlan

_POLL_SECONDS = 0.02
_TIME_RAN_OUT = 124


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A duration: `90`, `10m`, `1h30m`; in seconds."""

    name = "duration"

    def convert(self, value: object, param: object, ctx: object) -> float:
        """Return the seconds."""
        return value if isinstance(value, float) else parse_duration(str(value))


@click.group("worker", cls=QueueGroup)
def worker() -> None:
    """Start, stop and list workers."""


@worker.command("start", cls=QueueCommand)
@click.option("-c", "--count", type=click.IntRange(1, 1000), default=1, metavar="N",
              help="How many worker processes (default: 1).")  # fmt: skip
@click.option("--queue", "queues", multiple=True, metavar="Q",
              help="Serve this queue only (repeatable; default: all).")  # fmt: skip
@click.option("--drain", is_flag=True, help="Leave when no job is pending, failed or running.")
@click.option("--max-jobs", type=click.IntRange(min=1), metavar="N",
              help="Each worker leaves after N jobs.")  # fmt: skip
@click.option("--max-runtime", type=Duration(), metavar="D", help="Claim nothing more after D.")
@click.option("--unless-running", is_flag=True, help="Do nothing if these queues are served.")
@click.option("--log-file", type=click.Path(dir_okay=False), metavar="F", help="Log there.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings only.")
@click.pass_context
def worker_start(
    ctx: click.Context,
    count: int,
    queues: Sequence[str],
    drain: bool,
    max_jobs: Optional[int],
    max_runtime: Optional[float],
    unless_running: bool,
    log_file: Optional[str],
    quiet: bool,
) -> None:
    """Run jobs in N worker processes, until it is told to stop.

    Ctrl+C (or TERM) once: running jobs are finished first. Twice: they are killed and put back.

    \b
    queuectl worker start --count 4
    * * * * * queuectl worker start -c 2 --drain --unless-running -q     in a crontab
    """
    from queuectl.supervisor import PoolPlan, close_strange_descriptors

    close_strange_descriptors()
    files = queue_files(ctx)
    plan = PoolPlan(count, queue_names(queues), drain, max_jobs, max_runtime)
    code = _preflight(ctx, files)
    if code:
        ctx.exit(code)
    if log_file is not None:
        _log_to(log_file)
    ctx.exit(_supervise(files, plan, unless_running=unless_running, quiet=quiet))


def _preflight(ctx: click.Context, files: QueueFiles) -> int:
    """Open, make or upgrade the queue and check its place, in a child; return its exit code.

    In a child, since a connection must not cross the forks that follow.
    """
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
    code = 1
    try:
        files.refuse_network()
        open_storage(create=True).close()
        code = 0
    except QueueError as error:
        output.error(ctx.command_path, str(error))
        code = error.exit_code
    finally:
        os._exit(code)


def _log_to(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise QueueError(f"cannot write {path}: {error.strerror}") from None
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _supervise(files: QueueFiles, plan: PoolPlan, *, unless_running: bool, quiet: bool) -> int:
    import logging  # 15 ms, for this command alone

    from queuectl import worker as worker_module
    from queuectl.supervisor import Supervisor, open_pool

    opened = open_pool(files, plan, unless_running=unless_running)
    if opened is None:
        return 0
    supervisor_id, life = opened
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if quiet else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    log = logging.getLogger(__name__)
    served = ", ".join(plan.queues) or "all queues"
    log.info(
        "%d worker%s on %s of %s; stop with Ctrl+C or: queuectl worker stop %s",
        plan.count, "" if plan.count == 1 else "s", served, files.database, supervisor_id,
    )  # fmt: skip
    return Supervisor(files, supervisor_id, plan, life, worker_module.work).run()


@worker.command("stop", cls=QueueCommand)
@click.argument("workers", nargs=-1, metavar="[WORKER]...")
@queue_option
@click.option("--now", is_flag=True, help="Kill the running jobs and put them back, uncounted.")
@click.option("--timeout", type=Duration(), metavar="D", help="Wait no longer (exit 124).")
@quiet_option
@click.pass_context
def worker_stop(
    ctx: click.Context,
    workers: Sequence[str],
    queues: Sequence[str],
    now: bool,
    timeout: Optional[float],
    quiet: bool,
) -> None:
    """Stop workers and wait for them; their running jobs are finished first.

    WORKER is the id of a worker, or of a supervisor with all its workers; none: all.

    Example: queuectl worker stop --timeout 1m
    """
    storage = open_storage()
    targets = _targets(storage, workers, queue_names(queues))
    if not targets:
        if not quiet:
            output.emit("no worker is running")
        return
    for target in targets:
        target.stop(now=now)
    deadline = None if timeout is None else time.monotonic() + timeout
    while any(liveness.is_alive(storage.files.workers, target.id) for target in targets):
        if deadline is not None and time.monotonic() >= deadline:
            output.error(ctx.command_path, "still running, time ran out; nothing was killed")
            ctx.exit(_TIME_RAN_OUT)
        time.sleep(_POLL_SECONDS)
    if not quiet:
        output.emit(f"stopped {', '.join(target.id for target in targets)}")


class _Target:
    """A process to stop: a supervisor, or one worker."""

    def __init__(self, owner: str, pid: int, *, supervises: bool) -> None:
        self.id = owner
        self._pid = pid
        self._supervises = supervises

    def stop(self, *, now: bool) -> None:
        from queuectl.worker import LEAVE_SIGNAL  # imports what only workers need

        order = signal.SIGTERM if self._supervises else LEAVE_SIGNAL
        try:
            os.kill(self._pid, signal.SIGQUIT if now else order)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise QueueError(f"{self.id} (pid {self._pid}) belongs to somebody else") from None


def _targets(storage: Storage, names: Sequence[str], queues: Tuple[str, ...]) -> List[_Target]:
    from queuectl.supervisor import running_pools

    pools = running_pools(storage.files)
    if not names:
        return [
            _Target(pool.id, pool.pid, supervises=True)
            for pool in pools
            if not queues or set(queues) & set(pool.queues)
        ]
    known = {pool.id: _Target(pool.id, pool.pid, supervises=True) for pool in pools}
    for living in living_workers(storage):
        known[living.id] = _Target(living.id, living.pid, supervises=False)
    for name in names:
        if name not in known:
            raise QueueError(f"no such worker is running: {name} (queuectl worker list)")
    return [known[name] for name in dict.fromkeys(names)]


@worker.command("list", cls=QueueCommand)
@json_option
def worker_list(as_json: bool) -> None:
    """List the running workers and what each runs.

    Example: queuectl worker list
    """
    living: List[Worker] = living_workers(open_storage())
    if as_json:
        output.emit_json([output.worker_json(worker) for worker in living])
    elif living:
        output.workers_table(living)
    else:
        output.tell("no worker is running (queuectl worker start)")
