"""The command `restore`: a backup takes the place of the queue."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from queuectl.core.models import Worker
from queuectl.core.times import utcnow
from queuectl.host import processes
from queuectl.host.lockfiles import JobProcess, ProcessLock
from queuectl.storage import restoring
from support.processes import linux_only, waits_for_lock
from support.queue import Queue
from support.terminal import on_terminal
from support.waiting import wait_until
from support.watch.file_watch import by_hand


@pytest.fixture
def backup(queue: Queue) -> Path:
    """A backup with the job `kept`, of a queue that has the job `later` since then."""
    queue.enqueue("true", "--id", "kept")
    path = queue.folder / "backup.db"
    queue.ok("backup", str(path))
    queue.enqueue("true", "--id", "later")
    return path


def ids(queue: Queue) -> list[str]:
    return queue.ok("list", "--ids").split()


def test_the_queue_is_what_it_was(queue: Queue, backup: Path) -> None:
    """The backup stays as it is, and the queue is private and in order."""
    before = queue.export("--db", str(backup))

    assert queue.ok("restore", "--yes", str(backup)) == f"restored 1 job from {backup}"
    assert ids(queue) == ["kept"]
    assert queue.export() == queue.export("--db", str(backup)) == before
    assert stat.S_IMODE(queue.database.stat().st_mode) == 0o600
    assert queue.enqueue("true", "--id", "next") == "next"
    assert "fail" not in queue.ok("doctor")
    assert sorted(path.name for path in Path(queue.files.folder).iterdir()) == [
        "logs", "start.lock", "workers", "write.lock", "write.lock.turn",
    ]  # fmt: skip


def test_the_log_of_the_old_file_does_not_come_back(queue: Queue, backup: Path) -> None:
    """Prevents: after `cp backup.db queue.db` the old log was applied to it, also after a crash."""
    with queue.opened() as storage:
        storage.set_key("retention", "9d")  # so that the log is not empty
        assert os.stat(queue.files.wal).st_size > 0
        queue.ok("restore", "--yes", str(backup), as_process=True)
        assert not os.path.exists(queue.files.wal)

    assert ids(queue) == ["kept"]
    assert queue.ok("config", "get", "retention") == "30d"


def test_the_right_way_also_after_the_wrong_one(queue: Queue, backup: Path) -> None:
    """A copy beside the log of another file is refused by all commands but this one."""
    with queue.opened() as storage:
        storage.set_key("retention", "9d")
        with by_hand():
            log = Path(queue.files.wal).read_bytes()
    with by_hand():
        queue.database.write_bytes(backup.read_bytes())
        Path(queue.files.wal).write_bytes(log)
        Path(queue.files.wal).chmod(0o600)
    assert "belongs to another database" in queue.fails(1, "list")
    line = queue.fails(2, "restore", str(backup))
    assert line.startswith("queuectl restore: this deletes the queue, which cannot be read: ")

    queue.ok("restore", "--yes", str(backup))
    assert ids(queue) == ["kept"]


def test_the_restored_queue_is_one_of_its_own(queue: Queue, backup: Path) -> None:
    """The queue of the backup may still be in use elsewhere; no worker takes it for a copy."""
    queue.ok("restore", "--yes", str(backup))
    with queue.opened() as storage:
        restored = storage.queue_id
        assert storage.name_copy(now=utcnow()) is None
    queue.ok("restore", "--yes", str(backup))
    with queue.opened() as storage:
        assert storage.queue_id != restored


def test_jobs_that_ran_in_a_plain_copy_are_lost(queue: Queue) -> None:
    """As in a backup, and its workers are forgotten."""
    queue.enqueue("true", "--id", "ran")
    with queue.opened() as storage:
        storage.register_worker(Worker("w-1", "w", 1, None, None, "host", (), utcnow()))
        storage.claim("w-1", now=utcnow())
    copy = queue.folder / "copy.db"
    with by_hand():
        copy.write_bytes(queue.database.read_bytes())
    queue.ok("restore", "--yes", str(copy))

    shown = queue.json("show", "ran")
    assert (shown["state"], shown["attempts"]) == ("failed", 1)
    assert shown["last_error"] == "lost: it ran when the copy was made"
    with queue.opened() as storage:
        assert storage.workers() == []


def test_a_queue_that_loses_nothing_is_replaced_without_a_question(
    queue: Queue, backup: Path
) -> None:
    """Only unfinished jobs are worth a question."""
    line = queue.fails(2, "restore", str(backup))
    kept = ids(queue)
    queue.ok("cancel", "kept", "later")
    queue.ok("restore", "-q", str(backup))

    assert line == (
        "queuectl restore: this deletes 2 unfinished jobs of the queue (confirm with --yes)"
    )
    assert kept == ["kept", "later"]
    assert ids(queue) == ["kept"]


@pytest.mark.parametrize(("answer", "left"), [("y\n", ["kept"]), ("\n", ["kept", "later"])])
def test_it_asks_on_a_terminal(queue: Queue, backup: Path, answer: str, left: list[str]) -> None:
    shown = on_terminal(queue, "restore", str(backup), streams="stdin stderr", typed=answer)

    assert "This deletes 2 unfinished jobs of the queue. Go on? [y/N]: " in shown.screen
    assert shown.code == (0 if left == ["kept"] else 1)
    assert ids(queue) == left


def test_a_place_without_a_queue_gets_one(queue: Queue, backup: Path) -> None:
    """Also the default place, whose folders are made."""
    place = queue.folder / "new"
    place.mkdir(0o700)
    queue.ok("--db", str(place / "queue.db"), "restore", str(backup))
    home = {"QUEUECTL_DB": "", "HOME": str(queue.home)}
    queue.ok("restore", str(backup), env=home)

    assert queue.ok("--db", str(place / "queue.db"), "list", "--ids") == "kept"
    assert queue.ok("list", "--ids", env=home) == "kept"
    with pytest.raises(AssertionError):
        queue.ok("--db", str(queue.folder / "missing" / "queue.db"), "restore", str(backup))


def test_it_is_refused_while_workers_run(queue: Queue, backup: Path) -> None:
    """They would go on with the old file. Nobody is asked to confirm what is refused."""
    about = {"pid": os.getpid(), "start_ticks": processes.start_ticks(os.getpid()), "queues": []}
    lock = ProcessLock.take(queue.files, "abcd1234", about)
    lines = {queue.fails(1, "restore", *options, str(backup)) for options in ((), ("--yes",))}
    lock.remove()

    assert lines == {"queuectl restore: workers are running: abcd1234 (queuectl worker stop)"}
    assert ids(queue) == ["kept", "later"]


def test_it_is_refused_while_a_job_runs_on(queue: Queue, backup: Path) -> None:
    """Its worker is dead. The restored queue would run the same job beside it."""
    pid = os.getpid()
    lock = ProcessLock.take(queue.files, "abcd1234-1", {"pid": 7})
    lock.show_job(JobProcess(1, pid, processes.start_ticks(pid), "abcd1234-1"))
    lock.close()

    assert queue.fails(1, "restore", "--yes", str(backup)) == (
        f"queuectl restore: a job runs on without a worker, as process {pid} (end it, or let "
        "workers adopt it: queuectl worker start --drain)"
    )
    assert ids(queue) == ["kept", "later"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text", "{}/text is damaged or not a queue: file is not a database"),
        ("empty", "{}/empty is not a queue"),
        ("cut", "{}/cut is damaged"),
        ("other", "{}/other is not a queue"),
        ("newer", "{}/newer was made by a newer queuectl (install that one)"),
        ("looping", "{}/looping is damaged or not a queue: another program made loop"),
        ("nothing", "cannot read {}/nothing: there is no such file"),
        ("folder", "{}/folder is not a file"),
        ("queue.db", "{}/queue.db is the queue itself"),
    ],
)
def test_what_is_no_backup_is_refused(queue: Queue, backup: Path, name: str, says: str) -> None:
    """One line, and the queue stays as it was.

    Prevents: without --yes, the unfinished jobs were asked about first.
    """
    path = queue.folder / name
    with by_hand():
        content = backup.read_bytes()
    if name in ("text", "empty", "cut"):
        path.write_bytes({"text": b"a text\n" * 999, "empty": b"", "cut": content[:20_000]}[name])
    elif name == "folder":
        path.mkdir()
    elif name == "other":
        with closing(sqlite3.connect(str(path))) as conn:
            conn.execute("CREATE TABLE t (x)")
    elif name in ("newer", "looping"):
        path.write_bytes(content)
        with closing(sqlite3.connect(str(path))) as conn:
            conn.execute(
                "PRAGMA user_version = 99"
                if name == "newer"
                else "CREATE TRIGGER loop AFTER UPDATE ON jobs BEGIN SELECT 1; END"
            )

    expected = "queuectl restore: " + says.replace("{}", str(queue.folder))
    for options in ((), ("--yes",)):
        line = queue.fails(1, "restore", *options, f"{queue.folder}/{name}")
        assert line.startswith(expected)
    assert ids(queue) == ["kept", "later"]
    assert not os.path.exists(f"{queue.files.folder}/restored.unfinished")


def test_a_job_that_is_enqueued_meanwhile_is_not_lost_silently(
    queue: Queue, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the caller agreed to lose is counted again under the lock."""
    from queuectl.storage import restoring

    queue.ok("cancel", "kept", "later")
    copied = restoring._copy

    def copy_and_enqueue(*args: object) -> int:
        jobs = copied(*args)  # type: ignore[arg-type]
        if os.fork() == 0:
            os.execvpe(
                "queuectl", ["queuectl", "enqueue", "-q", "--id", "meanwhile", "true"], queue.env
            )
        os.wait()
        return jobs

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "_copy", copy_and_enqueue)
        line = queue.fails(1, "restore", str(backup))

    assert line == "queuectl restore: jobs were enqueued meanwhile (restore again)"
    assert ids(queue) == ["kept", "later", "meanwhile"]


@linux_only
def test_a_command_that_waited_writes_nothing_into_the_old_file(queue: Queue, backup: Path) -> None:
    """Prevents: `enqueue` printed an id, and the job was in a file that had no name any more."""
    with queue.opened() as storage:
        with storage._transaction():  # others wait for the lock
            waiting = queue.spawn("enqueue", "--id", "late", "true")
            wait_until(lambda: waits_for_lock(waiting.pid), what="the command to wait")
            os.replace(backup, queue.database)
            for path in (queue.files.wal, queue.files.shm):
                os.unlink(path)
    out, err = waiting.communicate(timeout=60)

    assert (waiting.returncode, out) == (1, "")
    assert err == f"queuectl enqueue: {queue.database} was removed or replaced\n"
    assert json.loads(queue.ok("status", "--json"))["total"] == 1


def test_outputs_of_another_queue_are_removed(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: `logs` printed the output of a job of the queue that was replaced.

    Both queues number their attempts from 1. Of the own output, the end in the database is left.
    """
    other = tmp_path / "other"
    other.mkdir(0o700)
    queue.ok("--db", f"{other}/q.db", "enqueue", "--id", "theirs",
             "head -c 9000 /dev/zero | tr '\\0' y")  # fmt: skip
    queue.ok("--db", f"{other}/q.db", "worker", "start", "--drain", "-q")
    queue.ok("--db", f"{other}/q.db", "backup", f"{other}/b.db")
    queue.add("head -c 8000 /dev/zero | tr '\\0' x", id="ours")
    queue.drain("-q")
    backup = queue.folder / "backup.db"
    queue.ok("backup", str(backup))

    for _ in range(2):  # its own backup, also a second time, keeps the outputs
        queue.ok("restore", "--yes", str(backup))
        assert queue.ok("logs", "ours") == 8000 * "x"
    monkeypatch.setattr(restoring, "_remove_logs", lambda _: os._exit(9))
    queue.run("restore", "--yes", f"{other}/b.db")  # as if it was killed at this point
    assert os.listdir(queue.files.logs) == ["1.log"]
    assert queue.ok("logs", "theirs") == "[queuectl: 7976 bytes not kept]\n" + 1024 * "y"
    monkeypatch.undo()
    queue.ok("restore", "--yes", str(backup))
    assert os.listdir(queue.files.logs) == []
    assert queue.ok("logs", "ours") == "[queuectl: 6976 bytes not kept]\n" + 1024 * "x"
