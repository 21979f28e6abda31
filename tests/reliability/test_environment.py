"""Each bad environment gets one clear error that names the path, the right code and no change."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

import pytest

from support.calls import COMMAND
from support.held import UNTIL_GO
from support.processes import linux_only
from support.queue import Queue
from support.small_disk import on_small_disk
from support.tracing import long_only, sample
from support.watch.file_watch import by_hand

pytestmark = [pytest.mark.on_disk, linux_only]

_NOBODY = 65534
_ENQUEUE, _LIST, _DRAIN = ("enqueue", "true"), ("list",), ("worker", "start", "--drain")

Arrange = Callable[[Queue], None]


class Case(NamedTuple):
    """What is wrong with the environment, what is run in it, and the result."""

    name: str
    arrange: Arrange
    says: str = ""
    """A part of the error, in which `{}` is the queue's folder."""
    args: Sequence[str] = _ENQUEUE
    code: int = 1
    shell: str = ""
    """Shell commands that run before."""
    made: bool = True
    """Whether the queue exists before."""


def _nothing(_queue: Queue) -> None:
    pass


def _instead(name: str, kind: str) -> Arrange:
    """Replace a file or folder of the queue by something else."""

    @by_hand()
    def arrange(queue: Queue) -> None:
        path = queue.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "file":
            path.write_bytes(b"")
        elif kind == "link":
            path.symlink_to(queue.folder / "elsewhere")
        elif kind == "loop":
            path.symlink_to(path.name)
        else:
            (queue.folder / "elsewhere").mkdir()
            path.symlink_to("elsewhere")

    return arrange


def _mode(name: str, mode: int) -> Arrange:
    return lambda queue: (queue.folder / name).chmod(mode)


def _given_away(name: str) -> Arrange:
    def arrange(queue: Queue) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(queue.folder / name, _NOBODY, _NOBODY)

    return arrange


def _content(content: bytes) -> Arrange:
    @by_hand()
    def arrange(queue: Queue) -> None:
        queue.database.write_bytes(content)

    return arrange


def _sql(*statements: str) -> Arrange:
    def arrange(queue: Queue) -> None:
        with closing(sqlite3.connect(str(queue.database))) as conn:
            for statement in statements:
                conn.execute(statement)
            conn.commit()

    return arrange


@by_hand()
def _truncated(queue: Queue) -> None:
    content = queue.database.read_bytes()
    queue.database.write_bytes(content[: len(content) // 4])


@by_hand()
def _overwritten(queue: Queue) -> None:
    content = queue.database.read_bytes()
    queue.database.write_bytes(content[:100] + b"\xff" * (len(content) - 100))


def _env(**values: str) -> Arrange:
    def arrange(queue: Queue) -> None:
        for name, value in values.items():
            queue.env[name] = value.replace("{}", str(queue.folder))

    return arrange


_TOO_LOW = "cannot write {}/queue.db: the limit on the size of files is too low (ulimit -f)"
_TOO_LOW_FOR_WORKERS = "the limit on the size of files is too low: "

# Root may do anything with files, unless it drops that capability.
_UNPRIVILEGED = "unprivileged"

CASES = [
    Case(
        "the database is a folder",
        _instead("queue.db", "folder"),
        "{}/queue.db is not a file",
        made=False,
    ),
    Case(
        "the database is a FIFO",
        _instead("queue.db", "fifo"),
        "{}/queue.db is not a file",
        made=False,
    ),
    Case(
        "the database is a loop of links", _instead("queue.db", "loop"), "{}/queue.db", made=False
    ),
    Case(
        "the database is a device",
        _env(QUEUECTL_DB="/dev/null"),
        "/dev/null is not a file",
        made=False,
    ),
    Case(
        "an empty file is read",
        _instead("queue.db", "file"),
        "no queue at {}/queue.db yet",
        _LIST,
        made=False,
    ),
    Case("an empty file becomes a queue", _instead("queue.db", "file"), code=0, made=False),
    Case("a link to nothing is followed", _instead("queue.db", "link"), code=0, made=False),
    Case("one byte", _content(b"x"), "{}/queue.db is not a queue", made=False),
    Case(
        "a text", _content(b"a text\n" * 1000), "{}/queue.db is damaged or not a queue", made=False
    ),
    Case("zeros", _content(bytes(8192)), "{}/queue.db", made=False),
    Case("a truncated queue", _truncated, "{}/queue.db is damaged"),
    Case("a truncated queue, list", _truncated, "{}/queue.db is damaged", _LIST),
    Case("an overwritten queue", _overwritten, "{}/queue.db is damaged"),
    Case("an overwritten queue, worker start", _overwritten, "{}/queue.db is damaged", _DRAIN),
    Case(
        "another program's file",
        _sql("CREATE TABLE t (x)"),
        "{}/queue.db is not a queue",
        made=False,
    ),
    Case(
        "another program's file, list",
        _sql("CREATE TABLE t (x)"),
        "{}/queue.db is not a queue",
        _LIST,
        made=False,
    ),
    Case(
        "another program's application id",
        _sql("PRAGMA application_id = 7"),
        "{}/queue.db is not a queue",
        made=False,
    ),
    Case(
        "a newer version",
        _sql("PRAGMA user_version = 99"),
        "{}/queue.db was made by a newer queuectl",
    ),
    Case(
        "a newer version, worker start",
        _sql("PRAGMA user_version = 99"),
        "{}/queue.db was made by a newer queuectl",
        _DRAIN,
    ),
    Case("a table is gone", _sql("DROP TABLE jobs"), "{}/queue.db"),
    Case("the folder is gone", _env(QUEUECTL_DB="{}/none/queue.db"), "{}/none", made=False),
    Case(
        "the folder is a file",
        _env(QUEUECTL_DB="{}/plain/queue.db"),
        "{}/plain",
        made=False,
        shell="touch {}/plain",
    ),
    Case("the folder is in /proc", _env(QUEUECTL_DB="/proc/queue.db"), "/proc", made=False),
    Case("a name too long", _env(QUEUECTL_DB="{}/" + "x" * 300), "{}/xxx", made=False),
    Case("a folder that everybody can write", _mode(".", 0o777), "chmod go-w {}", made=False),
    Case("a folder that the group can write", _mode(".", 0o770), "chmod go-w {}", made=False),
    Case("the folder is sticky", _mode(".", 0o1777), "chmod go-w {}", made=False),
    Case(
        "an existing queue in a folder that everybody can write", _mode(".", 0o777), "chmod go-w {}"
    ),
    Case(
        "worker start in a folder that everybody can write",
        _mode(".", 0o777),
        "chmod go-w {}",
        _DRAIN,
    ),
    Case(
        "a folder that everybody can write, allowed",
        _mode(".", 0o777),
        args=("--allow-shared", *_ENQUEUE),
        code=0,
    ),
    Case("a database that everybody can write", _mode("queue.db", 0o666), "chmod go-w {}/queue.db"),
    Case(
        "a database that everybody can write, worker start",
        _mode("queue.db", 0o666),
        "chmod go-w {}/queue.db",
        _DRAIN,
    ),
    Case(
        "a database of another user",
        _given_away("queue.db"),
        "{}/queue.db belongs to somebody else",
    ),
    Case(
        "a database of another user, worker start",
        _given_away("queue.db"),
        "{}/queue.db belongs to somebody else",
        _DRAIN,
    ),
    Case(
        "a private folder of another user",
        _given_away("queue.db.d"),
        "{}/queue.db.d belongs to somebody else",
    ),
    Case(
        "a private folder that everybody can write",
        _mode("queue.db.d", 0o777),
        "chmod go-w {}/queue.db.d",
    ),
    Case(
        "the private folder is a file",
        _instead("queue.db.d", "file"),
        "{}/queue.db.d is not a folder",
    ),
    Case(
        "the private folder is a link",
        _instead("queue.db.d", "link to a folder"),
        "{}/queue.db.d is not a folder",
    ),
    Case(
        "the private folder is a link to nothing",
        _instead("queue.db.d", "link"),
        "{}/queue.db.d is not a folder",
    ),
    *(
        Case(
            f"{name} is a {kind}",
            _instead(f"queue.db.d/{name}", kind),
            f"{{}}/queue.db.d/{name} is not a folder",
            _DRAIN,
        )
        for name in ("workers", "logs")
        for kind in ("file", "fifo", "link to a folder")
    ),
    Case(
        "a folder of workers that everybody can write",
        _mode("queue.db.d/workers", 0o777),
        "chmod go-w {}/queue.db.d/workers",
        _DRAIN,
    ),
    Case(
        "a folder of logs of another user",
        _given_away("queue.db.d/logs"),
        "{}/queue.db.d/logs belongs",
        _DRAIN,
    ),
    *(
        Case(
            f"{name} is a {kind}, {' '.join(args[:2])}",
            _instead(f"queue.db.d/{name}", kind),
            f"{{}}/queue.db.d/{name}",
            args,
        )
        for name, args in (
            ("write.lock", _ENQUEUE),
            ("write.lock.turn", _ENQUEUE),
            ("write.lock", _DRAIN),
            ("write.lock.turn", _DRAIN),
            ("start.lock", _DRAIN),
            ("workers.log", ("worker", "start", "--detach")),
        )
        for kind in ("folder", "fifo", "link")
    ),
    Case("the WAL is a folder", _instead("queue.db-wal", "folder"), "{}/queue.db"),
    Case("the index of the WAL is a folder", _instead("queue.db-shm", "folder"), "{}/queue.db"),
    Case("no file may be written", _nothing, _TOO_LOW, code=1, shell="ulimit -f 0"),
    Case("small files only", _nothing, _TOO_LOW, code=1, shell="ulimit -f 8"),
    Case("small files only, list", _nothing, args=_LIST, code=0, shell="ulimit -f 8"),
    *(
        Case("small files only, worker start", _nothing, _TOO_LOW_FOR_WORKERS, _DRAIN, shell=shell)
        for shell in ("ulimit -f 0", "ulimit -f 8", "ulimit -f 1000")
    ),
    Case("large files, worker start", _nothing, args=_DRAIN, code=0, shell="ulimit -f 40000"),
    Case(
        "no home",
        _env(QUEUECTL_DB="", HOME="{}/plain"),
        "{}/plain",
        made=False,
        shell="touch {}/plain",
    ),
    Case("a path that is not UTF-8", _env(QUEUECTL_DB="{}/\udcff"), "UTF-8", code=2, made=False),
    Case("no locale", _env(LANG="C", LC_ALL="C"), args=("enqueue", "echo żółw"), code=0),
    Case("umask 077", _nothing, code=0, shell="umask 077", made=False),
    Case("umask 777", _nothing, code=0, shell="umask 777", made=False),
    Case("umask 000", _nothing, code=0, shell="umask 000", made=False),
    Case("16 descriptors", _nothing, code=0, shell="ulimit -n 16"),
    Case("16 descriptors, worker start", _nothing, "ulimit -n", _DRAIN, shell="ulimit -n 16"),
    Case("26 descriptors, worker start", _nothing, args=_DRAIN, code=0, shell="ulimit -n 26"),
    Case("no PATH", _env(PATH=""), code=0),
    Case("no folder for temporary files", _env(TMPDIR="/nonexistent"), code=0),
    Case(
        "a folder that is gone",
        _nothing,
        "--cwd",
        code=2,
        shell="mkdir {}/gone; cd {}/gone; rmdir {}/gone",
    ),
    Case("a closed stdin", _nothing, code=0, shell="exec <&-"),
    Case("a closed stdout", _nothing, code=0, shell="exec >&-"),
    Case("a full stdout", _nothing, "", code=1, shell="exec >/dev/full"),
    Case("a read-only folder", _mode(".", 0o500), "{}/queue.db.d", shell=_UNPRIVILEGED, made=False),
    Case("a locked folder", _mode(".", 0o000), "{}", shell=_UNPRIVILEGED, made=False),
    Case("a read-only database", _mode("queue.db", 0o400), "{}/queue.db", shell=_UNPRIVILEGED),
    Case("an unreadable database", _mode("queue.db", 0o000), "{}/queue.db", shell=_UNPRIVILEGED),
    Case(
        "an unreadable database, list",
        _mode("queue.db", 0o000),
        "{}/queue.db",
        _LIST,
        shell=_UNPRIVILEGED,
    ),
    Case(
        "a read-only private folder",
        _mode("queue.db.d/workers", 0o500),
        "{}/queue.db.d/workers",
        _DRAIN,
        shell=_UNPRIVILEGED,
    ),
    Case(
        "an unreadable lock",
        _mode("queue.db.d/write.lock", 0o000),
        "{}/queue.db.d/write.lock",
        shell=_UNPRIVILEGED,
    ),
]


def _run(queue: Queue, case: Case) -> subprocess.CompletedProcess[str]:
    words: list[str] = []
    shell = case.shell.replace("{}", str(queue.folder))
    if shell == _UNPRIVILEGED:
        shell = ""
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("root may do anything")
            words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    environ: dict[str, str] = queue.env
    return subprocess.run(
        ["/bin/sh", "-c", f'{shell}\nexec "$@"', "-", *words, COMMAND, *case.args],
        env=environ,
        cwd=str(queue.work),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_there_are_at_least_80_bad_environments() -> None:
    """The long form tries all of them, the short form some."""
    assert len(CASES) >= 80


@pytest.mark.parametrize("case", sample(CASES, 12), ids=lambda case: case.name.replace(" ", "-"))
def test_a_bad_environment_gets_a_clear_error(queue: Queue, case: Case) -> None:
    """One line names the path, with a documented exit code; or the command succeeds."""
    queue.folder.chmod(0o700)
    if case.made:
        queue.enqueue("true")
    case.arrange(queue)
    try:
        done = _run(queue, case)
    finally:
        queue.folder.chmod(0o700)

    assert done.returncode == case.code, done.stdout + done.stderr
    if case.code:
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("queuectl")
        assert case.says.replace("{}", str(queue.folder)) in line
    elif case.args != _DRAIN:
        assert done.stderr == ""


@long_only
@pytest.mark.parametrize("args", [_LIST, _ENQUEUE])
def test_a_queue_that_another_program_has_locked_is_busy(queue: Queue, args: Sequence[str]) -> None:
    """It exits with 75, changes nothing, and says that another program has the lock."""
    queue.enqueue("true")
    with closing(sqlite3.connect(str(queue.database), isolation_level=None)) as conn:
        conn.execute("PRAGMA locking_mode = EXCLUSIVE")
        conn.execute("BEGIN EXCLUSIVE")
        line = queue.fails(75, *args, timeout=90, as_process=True)
        conn.execute("ROLLBACK")

    assert "another program" in line
    assert str(queue.database) in line


def test_the_files_are_private_with_any_umask(queue: Queue) -> None:
    """Files have mode 0600 and folders 0700."""
    _run(queue, Case("", _nothing, shell="umask 000"))
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in [queue.database, Path(queue.files.folder), *Path(queue.files.folder).iterdir()]
    }

    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.parametrize("args", [_LIST, _ENQUEUE, _DRAIN])
def test_a_read_only_file_system_is_named(queue: Queue, args: Sequence[str]) -> None:
    """Regression: the error blamed owner and mode, which were right."""
    with on_small_disk(queue, "8m") as disk:
        queue.enqueue("true")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        line = queue.fails(1, *args)

    command = " ".join(args[: 1 + (args[0] == "worker")])
    assert line == (
        f"queuectl {command}: {queue.database} is on a read-only file system, where a queue "
        "cannot even be read (mount it for writing, or copy the file and its -wal elsewhere and "
        "use --db)"
    )


@pytest.mark.parametrize("args", [_ENQUEUE, _LIST, ("status",)])
def test_a_file_system_without_inodes_is_named(queue: Queue, args: Sequence[str]) -> None:
    """Regression: the line asked to check owner and mode, though `df -i` tells the reason."""
    with on_small_disk(queue, "8m,nr_inodes=40") as disk:
        queue.enqueue("true")
        for number in range(os.statvfs(disk).f_ffree):
            (disk / f"file-{number}").touch()

        assert queue.fails(1, *args) == (
            f"queuectl {args[0]}: cannot make a file beside {disk}/queue.db: "
            "no inodes are left (df -i)"
        )


def test_a_batch_on_a_disk_that_gets_full_goes_on_later(queue: Queue) -> None:
    """Regression: `run` stood still without a word. Each job runs once all the same."""
    with on_small_disk(queue, "4m") as disk:
        words = [f"echo {{}} >> ran; {UNTIL_GO}", ":::", *map(str, range(40))]
        process = queue.spawn("run", "-j", "2", *words)
        queue.text("ran")
        with suppress(OSError), (disk / "filling").open("wb", buffering=0) as filling:
            while filling.write(bytes(4096)):
                pass
        queue.let_go()
        assert process.stderr is not None
        said = process.stderr.readline()
        (disk / "filling").unlink()
        out, err = process.communicate(timeout=60)

        assert said == (
            f"the disk of {queue.database} is full: the batch goes on when there is space\n"
        )
        assert (process.returncode, out, err) == (0, "", "")
        ran = queue.text("ran").split()
        assert sorted(ran, key=int) == [str(number) for number in range(40)]
