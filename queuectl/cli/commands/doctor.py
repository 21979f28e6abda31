"""The command `doctor`: problems with the files of the queue, the disk and the environment."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence

import click

from queuectl.cli import output
from queuectl.cli.colors import bad, faint, strong
from queuectl.cli.command import QueueCommand, json_option, open_storage, queue_files
from queuectl.core.cells import wrap
from queuectl.core.counts import and_more, counted
from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape
from queuectl.core.models import Selection
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.retry import CLOCK_TOLERANCE, corrected_retry
from queuectl.core.sizes import size
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, utcnow
from queuectl.host import processes
from queuectl.host.files import QueueFiles, fifo_owner
from queuectl.host.places import file_system, is_network
from queuectl.host.pools import living_pools
from queuectl.host.trust import WeakPlace, weak_place
from queuectl.storage import Storage

OK, WARN, FAIL = "ok", "warn", "fail"

_STYLES: Mapping[str, Callable[[str], str]] = {OK: faint, WARN: strong, FAIL: bad}
_INDENT = 6
_SHORTEST_LINE = 20
_USUAL_WIDTH = 80

_WAL_WARN_BYTES = 64 << 20
_FREE_FAIL_BYTES, _FREE_WARN_BYTES = 16 << 20, 256 << 20
_FEW_DESCRIPTORS = 64
_SMALL_BYTES = 1 << 20
"""The unused space of a file up to this size is not worth a warning."""
_BEHIND_WARN_SECONDS = 60


class Checked(NamedTuple):
    """The result of one check: its name; ok, warn or fail; and a message for people."""

    check: str
    level: str
    message: str


@click.command("doctor", cls=QueueCommand)
@json_option
def doctor(as_json: bool) -> None:
    """Look for problems: damaged files, permissions, disk space, PATH.

    Prints one line per check: ok, warn or fail. Exits with 1 if a check fails.

    \b
    Examples:
      queuectl doctor
      queuectl doctor --json | jq '.[] | select(.level != "ok")'
    """
    files = queue_files()
    results = list(_examine(files))
    if as_json:
        output.print_json([result._asdict() for result in results])
    else:
        _print(results)
    click.get_current_context().exit(any(result.level == FAIL for result in results))


def _print(results: Sequence[Checked]) -> None:
    """Print a line per result; on a terminal broken between words, and with a summary."""
    if not output.on_terminal():
        for result in results:
            output.print_line(f"{result.level:<5} {result.check}: {result.message}")
        return
    room = max(_SHORTEST_LINE, (output.line_width() or _USUAL_WIDTH) - _INDENT)
    for result in results:
        level = _STYLES[result.level](result.level) + " " * (_INDENT - len(result.level))
        for line in wrap(escape(f"{result.check}: {result.message}"), room):
            output.print_data(level + line)
            level = " " * _INDENT
    output.print_line(_summary([result.level for result in results]))


def _summary(levels: Sequence[str]) -> str:
    bad = [
        counted(levels.count(level), word)
        for level, word in ((FAIL, "problem"), (WARN, "warning"))
        if level in levels
    ]
    return f"{' and '.join(bad)} found" if bad else "no problems found"


def _examine(files: QueueFiles) -> Iterator[Checked]:
    yield from _environment(files)
    try:
        if not files.exists():
            yield Checked("database", WARN, f"no queue at {files.database} yet")
            return
        storage = open_storage()
    except QueueError as error:
        yield Checked("database", FAIL, str(error))
        return
    checks: Sequence[Callable[[Storage], Checked]] = (
        _integrity, _schema, _sqlite, _counts, _wal, _unused, _jobs, _stage, _workers, _clock,
        _retries, _schedules, _hooks, _path
    )  # fmt: skip
    for check in checks:
        try:
            yield check(storage)
        except QueueError as error:
            yield Checked(check.__name__.strip("_"), FAIL, str(error))
    yield _permissions(files)


def _environment(files: QueueFiles) -> Iterator[Checked]:
    folder = os.path.dirname(files.database)
    while files.is_default and not os.path.exists(folder):  # the first job creates it
        folder = os.path.dirname(folder)
    kind = file_system(folder)
    if kind is not None:
        network = is_network(kind)
        yield Checked(
            "file system",
            FAIL if network else OK,
            f"{kind}, a network file system: locks do not work there" if network else kind,
        )
    try:
        space = os.statvfs(folder)
    except OSError as error:
        yield Checked("free space", WARN, f"{folder}: {error.strerror}")
    else:
        free = space.f_bavail * space.f_frsize
        level = FAIL if free < _FREE_FAIL_BYTES else WARN if free < _FREE_WARN_BYTES else OK
        no_inodes = space.f_files > 0 and space.f_favail == 0
        yield Checked(
            "free space",
            FAIL if no_inodes else level,
            f"{size(free)} in {folder}" + (", but no inodes are left (df -i)" * no_inodes),
        )
    if processes.are_hidden():
        yield Checked("processes", WARN, processes.HIDDEN)
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    limited = descriptors != resource.RLIM_INFINITY
    yield Checked(
        "open files",
        WARN if limited and descriptors < _FEW_DESCRIPTORS else OK,
        f"at most {descriptors:,} per process (ulimit -n)" if limited else "no limit (ulimit -n)",
    )


def _integrity(storage: Storage) -> Checked:
    errors = storage.integrity_errors()
    if errors:
        return Checked(
            "integrity",
            FAIL,
            f"{errors[0]} ({len(errors)} errors in all; keep a copy: queuectl backup)",
        )
    return Checked("integrity", OK, f"{storage.files.database} is intact")


def _schema(storage: Storage) -> Checked:
    version, known = storage.schema_version()
    return Checked(
        "schema",
        OK if version == known else FAIL,
        f"version {version}, as expected"
        if version == known
        else f"version {version} instead of {known}",
    )


def _sqlite(storage: Storage) -> Checked:
    version = storage.sqlite_version()
    message = ".".join(map(str, version[:3]))
    if _has_wal_reset_bug(version):
        message += (
            " has a known bug (WAL reset), which the write lock of queuectl avoids: do not let "
            "other programs write to this file"
        )
    return Checked("SQLite", OK, message)


def _has_wal_reset_bug(version: Sequence[int]) -> bool:
    """Return whether a checkpoint that races a commit can corrupt the file.

    See https://sqlite.org/wal.html: from 3.7.0 to 3.51.2, fixed in 3.51.3, 3.50.7 and 3.44.6.
    """
    major, minor, patch = version[:3]
    fixed = {50: 7, 44: 6}.get(minor)
    if major != 3 or minor > 51 or (minor == 51 and patch >= 3):
        return False
    return minor >= 7 and not (fixed is not None and patch >= fixed)


def _counts(storage: Storage) -> Checked:
    wrong = storage.miscounts()
    if wrong:
        first = wrong[0]
        return Checked(
            "counts",
            FAIL,
            f"{len(wrong):,} of the kept counts are wrong: {first.kept:,} jobs instead of "
            f"{first.counted:,} are {first.state} in {first.queue}",
        )
    heads = storage.wrong_heads()
    if heads:
        return Checked(
            "counts",
            FAIL,
            f"{len(heads)} queues do not give out their first job: {', '.join(heads[:3])}",
        )
    activity = storage.activity_miscounts()
    if activity:
        return Checked(
            "counts",
            FAIL,
            f"{len(activity):,} counters of activity are wrong: {activity[0]}",
        )
    return Checked("counts", OK, "the kept counts match the jobs")


def _wal(storage: Storage) -> Checked:
    if storage.journal_mode() != "wal":
        return Checked(
            "WAL", OK, "off, as in every backup: the next command that writes turns it on"
        )
    try:
        taken = os.stat(storage.files.wal).st_size
    except FileNotFoundError:
        taken = 0
    level = WARN if taken > _WAL_WARN_BYTES else OK
    shown = f"takes {size(taken)}" if taken else "is empty"
    return Checked("WAL", level, f"the write-ahead log {shown}")


def _unused(storage: Storage) -> Checked:
    total, unused = storage.size()
    if total > _SMALL_BYTES and unused * 2 > total:
        return Checked(
            "unused space",
            WARN,
            f"{100 * unused // total} % of the {size(total)} of the file are unused "
            "(queuectl prune --vacuum gives them back)",
        )
    return Checked("unused space", OK, f"{size(unused)} of the {size(total)} of the file")


def _jobs(storage: Storage) -> Checked:
    read, problems = storage.unreadable_jobs()
    if problems:
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        return Checked("jobs", FAIL, f"{problems[0]}{more}")
    return Checked("jobs", OK, f"all {read:,} jobs can be read" if read else "there are none")


def _stage(storage: Storage) -> Checked:
    """Look for a bulk enqueue or import that was cut short."""
    stage, to_come = storage.stage(), storage.jobs_to_come()
    if stage is None:
        return Checked("bulk enqueue", OK, "none was cut short")
    if storage.is_stage_alive():
        return Checked("bulk enqueue", OK, "one is in progress")
    if stage.is_decided:
        message = f"one was cut short: {to_come:,} of its jobs are enqueued, but not visible yet"
        return Checked("bulk enqueue", WARN, f"{message} (queuectl worker start shows them)")
    message = "one was cut short, and none of its jobs is enqueued"
    return Checked("bulk enqueue", WARN, f"{message} (queuectl worker start removes the rest)")


def _workers(storage: Storage) -> Checked:
    workers = storage.living_workers()
    living = {worker.id for worker in workers}
    running = storage.jobs(Selection(states=(JobState.PROCESSING,)))
    orphans = [job.id for job in running if job.locked_by not in living]
    held_up = [worker for worker in workers if worker.problem is not None]
    stopped = [
        pool
        for pool in living_pools(storage.files)
        if pool.pid is not None and processes.is_suspended(pool.pid) and pool.is_proved
    ]
    if not orphans and not held_up and stopped:
        pool = stopped[0]
        message = f"supervisor {pool.id} is stopped (kill -CONT {pool.pid}): it replaces no workers"
        return Checked("workers", WARN, message)
    if not orphans and held_up:
        first = held_up[0]
        return Checked(
            "workers", WARN, f"{len(held_up)} of {len(living)}: {first.id}: {first.problem}"
        )
    if not orphans:
        return Checked("workers", OK, f"{len(living)} running; no job has lost its worker")
    # While any workers run, they recover these jobs within seconds.
    return Checked(
        "workers",
        WARN,
        f"{counted(len(orphans), 'running job', 'has', 'have')} lost the worker: "
        f"{', '.join(orphans[:3])} (queuectl worker start recovers)",
    )


def _clock(storage: Storage) -> Checked:
    newest = storage.newest_time()
    behind = 0.0 if newest is None else (newest - utcnow()).total_seconds()
    if behind > _BEHIND_WARN_SECONDS:
        return Checked(
            "clock",
            WARN,
            f"the system clock is {format_duration(behind)} behind the newest job (was it set "
            "back?)",
        )
    return Checked("clock", OK, "the system clock is not behind the jobs")


def _retries(storage: Storage) -> Checked:
    """Look for retries that a clock which was ahead has put off."""
    now, settings = utcnow(), storage.settings()
    wrong = sum(
        corrected_retry(found.failed_at, found.run_at, settings, found.delay, now=now) is not None
        for found in storage.retries_after(now + CLOCK_TOLERANCE)
    )
    if wrong:
        attempts = "attempt is" if wrong == 1 else "attempts are"
        return Checked(
            "retries",
            WARN,
            f"the clock was ahead when {counted(wrong, 'job')} failed: the next {attempts} far off "
            "(a running worker corrects this, or queuectl retry --state failed)",
        )
    return Checked("retries", OK, "no retry was put off by a clock that was ahead")


def _schedules(storage: Storage) -> Checked:
    """Look for schedules that make no jobs: a package or a zone is missing, or a row is odd."""
    count, problems = storage.schedule_problems()
    if problems:
        name, problem = problems[0]
        return Checked("schedules", FAIL, f"{name}{and_more(len(problems) - 1)}: {problem}")
    planned = f"{counted(count, 'schedule')} can be planned" if count else "there are none"
    return Checked("schedules", OK, planned)


def _hooks(storage: Storage) -> Checked:
    """Look for hooks that report nothing, because another program wrote what cannot be read."""
    found, unreadable = storage.hooks()
    if unreadable:
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        return Checked(
            "hooks", FAIL, f"{unreadable[0]}{more} (queuectl hook remove, or add --replace)"
        )
    readable = f"{counted(len(found), 'hook')} can be read" if found else "there are none"
    return Checked("hooks", OK, readable)


def _path(storage: Storage) -> Checked:
    """Compare the PATH of this shell with that of the workers."""
    own = os.environ.get("PATH", "")
    captured = {"PATH", "*"} & set(storage.settings().capture_env)
    living = storage.living_workers()
    if not living:
        return Checked("PATH", OK, "there are no workers to compare with")
    different = [worker.id for worker in living if _path_of(worker.pid) not in (own, None)]
    if not different:
        return Checked("PATH", OK, "the workers and this shell use the same PATH")
    if captured:
        return Checked(
            "PATH",
            OK,
            "the workers use another PATH than this shell, but each job has the PATH of the shell "
            "that enqueued it (config key: capture-env)",
        )
    return Checked(
        "PATH",
        WARN,
        f"worker {different[0]} uses another PATH than this shell, and so do its jobs "
        "(queuectl config set capture-env PATH)",
    )


def _path_of(pid: int) -> str | None:
    try:
        variables = processes.environment(pid)
    except OSError:
        return None
    found = [item[5:] for item in variables if item.startswith(b"PATH=")]
    return os.fsdecode(found[0]) if found else None


def _permissions(files: QueueFiles) -> Checked:
    weak = None if files.allow_shared else weak_place(files)
    beside = [Path(path) for path in (files.database, files.wal, files.shm, files.folder)]
    inside = list(Path(files.folder).rglob("*"))
    problems = [weak and _problem_with_place(weak)]
    problems += [_problem_with(path, shared=files.allow_shared) for path in [*beside, *inside]]
    problems.append(_problem_with_key(Path(files.web_key)))
    found = list(dict.fromkeys(problem for problem in problems if problem is not None))
    if found:
        return Checked("owner and mode", FAIL, found[0] + and_more(len(found) - 1))
    whom = "your team" if files.allow_shared else "only you"
    return Checked("owner and mode", OK, f"{whom} can read and write the {1 + len(inside)} files")


def _problem_with_place(weak: WeakPlace) -> str:
    if weak.owner is None:
        return f"others can write {weak.path} (chmod go-w)"
    return f"{weak.path} belongs to user {weak.owner}"


def _problem_with(path: Path, *, shared: bool) -> str | None:
    """Return what is wrong with the owner, the mode or the kind of a file or folder of a queue."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return f"{path} is a symbolic link"
    if not _is_of_a_queue(path, status.st_mode):
        return f"{path} is not a file of queuectl (remove it)"
    if status.st_mode & 0o022 and not shared:
        return f"others can write {path} (chmod go-w)"
    if status.st_uid != os.geteuid() and not shared:
        return f"{path} belongs to user {status.st_uid}"
    others, readable = ("o", 0o004) if shared else ("go", 0o044)
    if status.st_mode & readable:
        return f"others can read {path} (chmod {others}-rx)"
    return None


def _problem_with_key(path: Path) -> str | None:
    """Return what is wrong with the secret of `queuectl web`, which no team shares."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    return f"others can read or change {path} (chmod 600)" if mode & 0o077 else None


def _is_of_a_queue(path: Path, mode: int) -> bool:
    """Return whether a queue has files of this kind; its only FIFOs are those that wake workers."""
    if stat.S_ISFIFO(mode):
        return fifo_owner(path.name) is not None
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
