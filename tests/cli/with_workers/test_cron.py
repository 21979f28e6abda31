"""Use without a terminal: crontabs, service managers, detached workers, inside jobs."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from queuectl.host import lockfiles
from queuectl.storage.write_lock import WriteLock
from support.calls import COMMAND
from support.processes import alive, words_of
from support.queue import Queue
from support.states import every_state
from support.waiting import wait_until


class Cron:
    """Runs shell lines as cron does: with few variables and without a terminal."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}

    def run(self, line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["/bin/sh", "-c", line.replace("queuectl", shlex.quote(COMMAND), 1)],
            env=self.env, cwd=str(self.home), stdin=subprocess.DEVNULL, capture_output=True,
            start_new_session=True, timeout=60, check=False,
        )  # fmt: skip


def test_the_crontab_lines_work_and_are_silent(tmp_path: Path) -> None:
    """Cron mails all output, so enqueue -q and worker start -q print nothing."""
    cron = Cron(tmp_path)
    lines = [
        "queuectl enqueue -q --unique report --id r 'echo $HOME > out; echo printed'",
        "queuectl worker start -c 2 --drain --unless-running -q",
        "queuectl prune -q",
        "queuectl check > /dev/null",
    ]
    done = [cron.run(line) for line in lines]

    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(0, b"", b"")] * 4
    assert (tmp_path / "out").read_text() == f"{tmp_path}\n"
    assert (tmp_path / ".local/state/queuectl/queue.db").exists()
    assert cron.run("queuectl logs r").stdout == b"printed\n"


def test_a_failure_under_cron_is_one_line(tmp_path: Path) -> None:
    """-q does not hide failures."""
    done = Cron(tmp_path).run("queuectl retry -q zz")

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"queuectl retry: no such job: zz\n"


@pytest.mark.parametrize(
    "args",
    [
        ["enqueue", "-q", "true"],
        ["enqueue", "-q", "-"],
        ["cancel", "-q", "pending"],
        ["cancel", "--quiet", "processing"],
        ["retry", "-q", "dead"],
        ["edit", "-q", "pending", "true"],
        ["queue", "pause", "-q"],
        ["queue", "resume", "-q"],
        ["queue", "limit", "-q", "q", "2"],
        ["prune", "-q"],
        ["dlq", "purge", "-q", "dead"],
        ["dlq", "retry", "-q", "dead"],
        ["import", "-q", "-"],
        ["backup", "-q", "copy.db"],
        ["config", "set", "-q", "retention", "1d"],
        ["worker", "stop", "-q"],
    ],
)
def test_quiet_prints_nothing_on_success(queue: Queue, args: list[str]) -> None:
    """This holds for every command that changes something."""
    every_state(queue)
    done = queue.run(*args, stdin='{"id": "x", "command": "true"}\n')

    assert (done.code, done.out, done.err) == (0, "", "")


def test_variables_of_a_job_do_not_change_a_command_in_it(queue: Queue) -> None:
    """It reads only QUEUECTL_DB: the same file, but not the queue, id or attempt of the job."""
    queue.enqueue(
        "unset QUEUECTL; queuectl enqueue --id in --env '*' --delay 1h true",
        "--id", "out", "--queue", "special", "--priority", "7",
    )  # fmt: skip
    queue.drain()
    inner = queue.json("show", "in", "--show-env")

    assert queue.state("out") == "completed"
    assert (inner["queue"], inner["priority"], inner["attempts"]) == ("default", 0, 0)
    assert [name for name in inner["env"] if name.startswith("QUEUECTL_")] == []


@pytest.fixture
def detached(queue: Queue) -> Iterator[Queue]:
    """A queue whose detached workers are stopped after the test."""
    yield queue
    queue.ok("worker", "stop", "-q")


def test_detach_returns_when_the_workers_are_ready(detached: Queue) -> None:
    """stdout has only the id of the supervisor; its workers are listed, work and can be stopped."""
    done = detached.run("worker", "start", "--detach", "-c", "3")
    listed = detached.json("worker", "list")

    assert (done.code, done.err) == (0, "")
    assert [worker["supervisor"] for worker in listed] == [done.out.strip()] * 3
    assert detached.ok("enqueue", "--wait", "ps -o tty= -p $$; echo ran").split()[-1] == "ran"
    assert detached.ok("worker", "stop", done.out.strip()) == f"stopped {done.out.strip()}"
    assert detached.json("worker", "list") == []


def test_detached_workers_log_beside_the_database(detached: Queue) -> None:
    """Or into --log-file. The log has a line for the end of a job, and is private."""
    detached.ok("worker", "start", "--detach")
    detached.ok("enqueue", "--wait", "--id", "a", "true")
    detached.ok("worker", "stop")
    own = detached.work / "own.log"
    detached.ok("worker", "start", "--detach", "--log-file", "own.log")
    detached.ok("enqueue", "--wait", "--id", "b", "true")
    detached.ok("worker", "stop")

    beside = Path(detached.files.detached_log)
    assert "a completed in " in beside.read_text()
    assert beside.parent in (detached.folder, detached.folder / "queue.db.d")
    assert "b completed in " in own.read_text()
    assert "b completed" not in beside.read_text()
    assert {path.stat().st_mode & 0o777 for path in (own, beside)} == {0o600}


def test_a_log_that_cannot_be_written_is_one_line(queue: Queue) -> None:
    """No worker is started. Regression: the line was printed twice."""
    assert queue.fails(1, "worker", "start", "--detach", "--log-file", "/none/x") == (
        "queuectl worker start: cannot write /none/x: No such file or directory"
    )
    assert queue.json("worker", "list") == []


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_detach_unless_running_prints_nothing_the_second_time(
    detached: Queue, quiet: list[str]
) -> None:
    """The exit code is 0, and there is still one pool."""
    first = detached.run("worker", "start", "--detach", "--unless-running", *quiet)
    second = detached.run("worker", "start", "--detach", "--unless-running", *quiet)

    assert (first.code, len(first.out.split())) == (0, 0 if quiet else 1)
    assert (second.code, second.out, second.err) == (0, "", "")
    assert len(detached.json("worker", "list")) == 1


def test_detached_workers_survive_the_process_that_started_them(detached: Queue) -> None:
    """Regression: if it was killed before they were ready, they could not report and left."""
    detached.enqueue("true")
    lock = WriteLock(detached.files.write_lock)
    lock.acquire(10)
    starting = detached.spawn("worker", "start", "--detach")
    wait_until(lambda: lockfiles.owners(detached.files), what="the workers")
    starting.kill()
    starting.wait()
    lock.release()
    lock.close()

    assert wait_until(detached.workers, what="the workers")
    assert detached.ok("enqueue", "--wait", "true") == ""


def test_detach_does_not_wait_for_ever(detached: Queue, tmp_path: Path) -> None:
    """While the queue is busy, the workers are not ready: exit code 1, and they keep trying."""
    detached.enqueue("true")
    (tmp_path / "sitecustomize.py").write_text(
        "import queuectl.worker.start\nqueuectl.worker.start.WAIT_SECONDS = 0.2\n"
    )
    lock = WriteLock(detached.files.write_lock)
    lock.acquire(10)
    line = detached.fails(
        1, "worker", "start", "--detach", env={"PYTHONPATH": str(tmp_path)}, as_process=True
    )
    lock.release()
    lock.close()

    log = detached.files.detached_log
    assert line == f"queuectl worker start: the workers are not ready yet (see {log})"
    assert detached.ok("enqueue", "--wait", "true") == ""


def test_detached_workers_survive_the_terminal_that_started_them(detached: Queue) -> None:
    """The hang-up ends the shell, not the workers."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(detached.work)
        line = "queuectl worker start --detach > id; trap '' TERM; sleep 60; sleep 60"
        os.execve("/bin/sh", ["sh", "-c", line], dict(detached.env))
    detached.text("id")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)

    assert os.WTERMSIG(status) == signal.SIGHUP
    assert detached.ok("enqueue", "--wait", "echo alive") == "alive"
    wait_until(lambda: not _sleepers(detached), what="what the shell had started to end")


def _sleepers(queue: Queue) -> list[int]:
    """Return the processes `sleep 60`, which the hang-up leaves for a moment."""
    return [pid for pid in queue.pids() if words_of(pid)[:2] == [b"sleep", b"60"] and alive(pid)]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """The socket of a service manager, at a path that is short enough."""
    folder = tempfile.mkdtemp()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.settimeout(30)
        yield manager
    shutil.rmtree(folder)


@pytest.mark.parametrize("is_journal", [True, False])
def test_the_journal_adds_the_time_itself(queue: Queue, is_journal: bool) -> None:
    """The time is left out only if stderr is what JOURNAL_STREAM names, see systemd.exec(5)."""
    queue.add("true", id="a")
    with open(queue.folder / "journal", "w+") as journal:
        status = os.fstat(journal.fileno())
        stream = f"{status.st_dev}:{status.st_ino if is_journal else status.st_ino + 1}"
        pool = queue.spawn(
            "worker", "start", "--drain", env={"JOURNAL_STREAM": stream}, stderr=journal
        )
        assert pool.wait(30) == 0
        journal.seek(0)
        line = journal.readlines()[1]

    assert line == "a started (attempt 1 of 3)\n" if is_journal else line.startswith("20")


def test_a_service_manager_is_told_when_the_workers_are_ready(
    queue: Queue, listening: socket.socket
) -> None:
    """READY=1 is sent once, when all workers are listed; jobs do not inherit the address."""
    queue.enqueue("true")
    env = {"NOTIFY_SOCKET": listening.getsockname()}
    queue.spawn("worker", "start", "-c", "2", env=env, stderr=subprocess.DEVNULL)
    told = listening.recv(100)
    listed = queue.json("worker", "list")
    seen = queue.ok("enqueue", "--wait", 'echo "${NOTIFY_SOCKET-none}"')

    assert (told, len(listed), seen) == (b"READY=1", 2, "none")


def test_a_service_manager_is_told_what_the_pool_does(
    queue: Queue, listening: socket.socket
) -> None:
    """`systemctl status` shows how many jobs run and wait, and that the service stops.

    Prevents a bug: jobs of a batch were counted, which other workers run.
    """
    queue.add("true", queue="@gzip.1")
    queue.add("sleep 60")
    queue.add_many("true", "true")
    env = {"NOTIFY_SOCKET": listening.getsockname()}
    pool = queue.spawn("worker", "start", env=env, stderr=subprocess.DEVNULL)
    told = {listening.recv(100)}
    while b"STATUS=1 running, 2 pending" not in told:
        told.add(listening.recv(100))
    pool.send_signal(signal.SIGINT)
    while b"STOPPING=1" not in told:
        told.add(listening.recv(100))
    pool.send_signal(signal.SIGINT)

    assert pool.wait(30) == -signal.SIGINT
    assert told <= {
        b"READY=1", b"STATUS=0 running, 3 pending", b"STATUS=1 running, 2 pending", b"STOPPING=1"
    }  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's own")
def test_the_address_of_the_service_manager_may_be_abstract(queue: Queue) -> None:
    """An address that begins with @ has no file."""
    name = f"queuectl-test-{os.getpid()}-{os.urandom(4).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(30)
        queue.spawn("worker", "start", "-q", env={"NOTIFY_SOCKET": "@" + name})
        told = manager.recv(100)

    assert told == b"READY=1"


@pytest.mark.parametrize("address", ["/none/at/all", "", "nonsense", "@"])
def test_an_address_without_a_listener_is_ignored(detached: Queue, address: str) -> None:
    """The workers run, detached or not, and jobs do not inherit it."""
    env: dict[str, str] = {"NOTIFY_SOCKET": address}
    detached.ok("worker", "start", "--detach", env=env)

    assert detached.ok("enqueue", "--wait", 'echo "${NOTIFY_SOCKET-none}"') == "none"
