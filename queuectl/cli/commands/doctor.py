"""The command `doctor`: is the installation, and what lies on the disk, sound?"""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage, queue_files
from queuectl.core.errors import QueueError
from queuectl.core.escaping import escape
from queuectl.core.models import Selection
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, utcnow
from queuectl.host import processes
from queuectl.host.files import QueueFiles, fifo_owner
from queuectl.host.places import file_system, is_network
from queuectl.storage import Storage

OK, WARN, FAIL = "ok", "warn", "fail"

_WAL_WARN_BYTES = 64 << 20
_FREE_FAIL_BYTES, _FREE_WARN_BYTES = 16 << 20, 256 << 20
_FEW_DESCRIPTORS = 64
_AHEAD_WARN_SECONDS = 60


class Finding(NamedTuple):
    """What one check found: its name, ok, warn or fail, and a line for people."""

    check: str
    level: str
    message: str


@click.command("doctor", cls=QueueCommand)
@json_option
def doctor(as_json: bool) -> None:
    """Examine the queue's files and their surroundings.

    A line a check: ok, warn or fail. Exit 1 if one fails.

    Example: queuectl doctor
    """
    files = queue_files()
    findings = list(_examine(files))
    if as_json:
        output.print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            output.print_data(escape(f"{finding.level:<5} {finding.check}: {finding.message}"))
    click.get_current_context().exit(any(finding.level == FAIL for finding in findings))


def _examine(files: QueueFiles) -> Iterator[Finding]:
    yield from _surroundings(files)
    try:
        if not files.exists():
            yield Finding("database", WARN, f"there is none at {files.database} yet")
            return
        storage = open_storage()
    except QueueError as error:
        yield Finding("database", FAIL, str(error))
        return
    checks: Sequence[Callable[[Storage], Finding]] = (
        _integrity, _schema, _sqlite, _counts, _wal, _jobs, _orphans, _clock, _path
    )  # fmt: skip
    for check in checks:
        try:
            yield check(storage)
        except QueueError as error:
            yield Finding(check.__name__.strip("_"), FAIL, str(error))
    yield _owners_and_modes(files)


def _surroundings(files: QueueFiles) -> Iterator[Finding]:
    folder = os.path.dirname(files.database)
    while files.is_default and not os.path.exists(folder):  # it is made with the first job
        folder = os.path.dirname(folder)
    kind = file_system(folder)
    if kind is not None:
        level = FAIL if is_network(kind) else OK
        yield Finding("file system", level, kind + (" (a network)" if level == FAIL else ""))
    try:
        space = os.statvfs(folder)
    except OSError as error:
        yield Finding("free space", WARN, f"{folder}: {error.strerror}")
    else:
        free = space.f_bavail * space.f_frsize
        level = FAIL if free < _FREE_FAIL_BYTES else WARN if free < _FREE_WARN_BYTES else OK
        yield Finding("free space", level, f"{free >> 20} MiB at {folder}")
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    level = WARN if 0 <= descriptors < _FEW_DESCRIPTORS else OK
    yield Finding("open files", level, f"at most {descriptors} a process (ulimit -n)")


def _integrity(storage: Storage) -> Finding:
    errors = storage.integrity_errors()
    if errors:
        return Finding("integrity", FAIL, f"{errors[0]} ({len(errors)} in all; queuectl backup)")
    return Finding("integrity", OK, f"{storage.files.database} is sound")


def _schema(storage: Storage) -> Finding:
    version, known = storage.schema_version()
    return Finding("schema", OK if version == known else FAIL, f"version {version} of {known}")


def _sqlite(storage: Storage) -> Finding:
    version = storage.sqlite_version()
    text = ".".join(map(str, version[:3]))
    if _has_wal_reset_bug(version):
        return Finding(
            "SQLite",
            OK,
            f"{text}; it has the WAL-reset bug, which the write lock keeps queuectl clear of: let "
            "no other program write the file",
        )
    return Finding("SQLite", OK, text)


def _has_wal_reset_bug(version: Sequence[int]) -> bool:
    """Whether a checkpoint that races a commit can corrupt the file (https://sqlite.org/wal.html):
    from 3.7.0 to 3.51.2, mended in 3.51.3, 3.50.7 and 3.44.6.
    """
    major, minor, patch = version[:3]
    mended = {50: 7, 44: 6}.get(minor)
    if major != 3 or minor > 51 or (minor == 51 and patch >= 3):
        return False
    return minor >= 7 and not (mended is not None and patch >= mended)


def _counts(storage: Storage) -> Finding:
    wrong = storage.miscounts()
    if wrong:
        first = wrong[0]
        return Finding(
            "counts",
            FAIL,
            f"{len(wrong)} differ: {first.queue} {first.state.value} is kept as {first.kept}, "
            f"counted {first.counted}",
        )
    return Finding("counts", OK, "as the rows")


def _wal(storage: Storage) -> Finding:
    try:
        size = os.stat(storage.files.wal).st_size
    except FileNotFoundError:
        size = 0
    level = WARN if size > _WAL_WARN_BYTES else OK
    return Finding("WAL", level, f"{size >> 10} KiB")


def _jobs(storage: Storage) -> Finding:
    for _ in storage.jobs(Selection()):
        pass
    return Finding("jobs", OK, "all can be read")


def _orphans(storage: Storage) -> Finding:
    living = {worker.id for worker in storage.living_workers()}
    running = storage.jobs(Selection(states=(JobState.PROCESSING,)))
    orphans = [job.id for job in running if job.locked_by not in living]
    if not orphans:
        return Finding("workers", OK, f"{len(living)} alive, and no job without one")
    # While a pool runs, it settles them within seconds.
    return Finding(
        "workers",
        WARN,
        f"{len(orphans)} jobs are without their worker: {', '.join(orphans[:3])} "
        "(queuectl worker start settles them)",
    )


def _clock(storage: Storage) -> Finding:
    newest = storage.newest_time()
    ahead = 0.0 if newest is None else (newest - utcnow()).total_seconds()
    if ahead > _AHEAD_WARN_SECONDS:
        return Finding(
            "clock", WARN, f"it is {format_duration(ahead)} behind the newest job: was it set back?"
        )
    return Finding("clock", OK, "not behind the newest job")


def _path(storage: Storage) -> Finding:
    """Compare what this shell finds programs in with what the workers do."""
    own = os.environ.get("PATH", "")
    captured = "PATH" in storage.settings().capture_env or "*" in storage.settings().capture_env
    different = [
        worker.id for worker in storage.living_workers() if _path_of(worker.pid) not in (own, None)
    ]
    if not different:
        return Finding("PATH", OK, "the workers have that of this shell")
    if captured:
        return Finding("PATH", OK, "other than the workers', but jobs bring theirs (capture-env)")
    return Finding(
        "PATH",
        WARN,
        f"worker {different[0]} has another than this shell, and jobs do not bring theirs "
        "(config set capture-env PATH)",
    )


def _path_of(pid: int) -> str | None:
    try:
        variables = processes.environment(pid)
    except OSError:
        return None
    found = [item[5:] for item in variables if item.startswith(b"PATH=")]
    return os.fsdecode(found[0]) if found else None


def _is_of_ours(path: Path, mode: int) -> bool:
    """Whether a queue has files of this kind; its only FIFOs are those that wake workers."""
    if stat.S_ISFIFO(mode):
        return fifo_owner(path.name) is not None
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _owners_and_modes(files: QueueFiles) -> Finding:
    wrong: list[str] = []
    strangers, readable = ("o", 0o004) if files.allow_shared else ("go", 0o044)
    parent = Path(files.database).parent
    beside = [Path(path) for path in (files.database, files.wal, files.shm, files.folder)]
    inside = list(Path(files.folder).rglob("*"))
    for path in [parent, *beside, *inside]:
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(status.st_mode):
            wrong.append(f"{path} is a link")
        elif not _is_of_ours(path, status.st_mode):
            wrong.append(f"{path} is no file of ours (remove it)")
        elif status.st_mode & 0o022 and not files.allow_shared:
            wrong.append(f"others can write {path} (chmod go-w)")
        elif path != parent and status.st_uid != os.geteuid() and not files.allow_shared:
            wrong.append(f"{path} belongs to user {status.st_uid}")
        elif path != parent and status.st_mode & readable:
            wrong.append(f"others can read {path} (chmod {strangers}-rx)")
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return Finding("owner and mode", FAIL, wrong[0] + more)
    whose = "your team's" if files.allow_shared else "only yours"
    return Finding("owner and mode", OK, f"{1 + len(inside)} files, {whose}")
