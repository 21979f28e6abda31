"""The peers: other queues, each of which runs two jobs at a time."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Sequence

from measurement import Missing
from peer import Peer, is_called, library, mentioning, program
from place import PATIENCE_SECONDS, Place, wait_until

_HUEY_TASKS = """
import os, subprocess, sys
from huey import SqliteHuey
here = os.path.dirname(os.path.abspath(__file__))
huey = SqliteHuey(filename=os.path.join(here, "huey.db"), fsync=os.path.exists(here + "/fsync"))
@huey.task()
def shell(command):
    subprocess.call(["sh", "-c", command])
    with open(os.path.join(here, "done"), "ab", buffering=0) as done:
        done.write(b".")
if __name__ == "__main__":
    import tasks
    for line in sys.stdin:
        tasks.shell(line.rstrip())
"""
_RQ_TASKS = """
import os, subprocess, sys
here = os.path.dirname(os.path.abspath(__file__))
def shell(command):
    subprocess.call(["sh", "-c", command])
    with open(os.path.join(here, "done"), "ab", buffering=0) as done:
        done.write(b".")
if __name__ == "__main__":
    from redis import Redis
    from rq import Queue
    import tasks
    queue = Queue(connection=Redis(unix_socket_path=os.path.join(here, "redis.sock")))
    for line in sys.stdin:
        queue.enqueue(tasks.shell, line.rstrip())
"""


class Parallel(Peer):
    """GNU parallel, which is not a queue, but keeps a journal of the jobs that it ran."""

    name, title, resident = "parallel", "GNU parallel --joblog", False

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._program = program("parallel")
        self._jobs = folder / "jobs"

    def submit(self, commands: Sequence[str]) -> None:
        """Keep the jobs for `start`: parallel runs the jobs of its input."""
        self._jobs.write_text("".join(f"{command}\n" for command in commands))

    def start(self) -> None:
        """Run the submitted jobs."""
        self._popen(
            self._program, "--will-cite", "-j2", "--joblog", "log", "--resume", "-a", "jobs"
        )

    def finish(self, jobs: int) -> None:
        """Start it if necessary, and wait for its end."""
        if not self.started:
            self.start()
        self.started[0].wait(PATIENCE_SECONDS)

    def processes(self) -> list[int]:
        """Return the PID of parallel itself; its children are jobs."""
        return self.running()


class TaskSpooler(Peer):
    """task-spooler: a daemon that holds everything in memory."""

    name, title, slow = "tsp", "task-spooler", True

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._program = program("tsp")
        self.environment.update(TS_SOCKET=str(folder / "s"), TMPDIR=str(folder), TS_SLOTS="2")

    def start(self) -> None:
        """Start its daemon."""
        self._run(self._program, "-S", "2")

    def submit(self, commands: Sequence[str]) -> None:
        """Start one process per job."""
        for command in commands:
            self._run(self._program, "sh", "-c", command)

    def done(self) -> int:
        """Count finished jobs in the list of the daemon."""
        return self._run(self._program, "-l").count(" finished ")

    def processes(self) -> list[int]:
        """Find the daemon, which is not a child of this process."""
        return [pid for pid in mentioning(self.folder) if is_called(pid, "tsp")]


class Nq(Peer):
    """nq: a folder of files; each is locked by the process that will run it."""

    name, title, slow, resident = "nq", "nq, two folders", True, False

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._program = program("nq")
        self._queues = [folder / "0", folder / "1"]
        self._next = 0
        for queue in self._queues:
            queue.mkdir()

    def submit(self, commands: Sequence[str]) -> None:
        """Start one process per job, alternately for the two folders."""
        for command in commands:
            self.environment["NQDIR"] = str(self._queues[self._next])
            self._next = 1 - self._next
            self._run(self._program, "-q", "sh", "-c", command)

    def finish(self, jobs: int) -> None:
        """Wait for both folders."""
        for queue in self._queues:
            self.environment["NQDIR"] = str(queue)
            self._run(self._program, "-w")

    def processes(self) -> list[int]:
        """Find the waiting processes, which are not children of this process."""
        return [pid for pid in mentioning(self.folder) if is_called(pid, "nq")]


class Huey(Peer):
    """huey on SQLite, two processes."""

    name, title = "huey", "huey on SQLite, its default"
    fsync = False

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        library("huey")
        (folder / "tasks.py").write_text(_HUEY_TASKS)
        if self.fsync:
            (folder / "fsync").touch()

    def start(self) -> None:
        """Start the consumer."""
        consumer = "import sys; from huey.bin.huey_consumer import consumer_main; consumer_main()"
        self._popen(sys.executable, "-c", consumer, "tasks.huey", "-w", "2", "-k", "process", "-q")

    def submit(self, commands: Sequence[str]) -> None:
        """Enqueue all jobs with one process."""
        self._run(sys.executable, "tasks.py", text="".join(f"{one}\n" for one in commands))


class HueyFsync(Huey):
    """huey with an fsync at each commit."""

    name, title, fsync = "huey-fsync", "huey on SQLite, fsync", True


class Rq(Peer):
    """rq on a Redis of its own with default settings; two workers."""

    name, title, slow = "rq", "rq on Redis, its default", True
    append = "no"

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        library("redis", "rq")
        self._server_program = program("redis-server")
        (folder / "tasks.py").write_text(_RQ_TASKS)
        self._server()

    def _server(self) -> None:
        socket = self.folder / "redis.sock"
        if socket.exists():
            socket.unlink()
        self._popen(
            self._server_program, "--port", "0", "--unixsocket", str(socket), "--dir",
            str(self.folder), "--save", "3600 1 300 100 60 10000",
            "--appendonly", self.append, "--appendfsync", "always",
        )  # fmt: skip
        wait_until(socket.exists, 20)

    def start(self) -> None:
        """Start the workers."""
        worker = "import sys; from rq.cli import main; main(prog_name='rq')"
        for _ in range(2):
            url = f"unix://{self.folder}/redis.sock"
            self._popen(sys.executable, "-c", worker, "worker", "-u", url, "-q", "--path", ".")

    def restart(self) -> None:
        """Start Redis and the workers."""
        self._server()
        self.start()

    def submit(self, commands: Sequence[str]) -> None:
        """Enqueue all jobs with one process."""
        self._run(sys.executable, "tasks.py", text="".join(f"{one}\n" for one in commands))


class RqFsync(Rq):
    """rq on a Redis with an fsync at each write."""

    name, title, append = "rq-fsync", "rq on Redis, appendfsync always", "yes"


class OtherQueuectl(Peer):
    """The package queuectl of the public index, which is another project."""

    name, title, slow = "queuectl", "queuectl of the public index", True

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        if place.peer_environment is None:
            raise Missing("no --peer-queuectl VENV")
        self._program = program(str(Path(place.peer_environment) / "bin" / "queuectl"))
        # It does not read QUEUECTL_DB; its queue is in HOME.
        self.environment.pop("QUEUECTL_DB", None)
        # Two of its processes that create the database at the same time would fail.
        self._run(self._program, "status")

    def start(self) -> None:
        """Start its workers."""
        self._popen(self._program, "worker", "start", "--count", "2")

    def submit(self, commands: Sequence[str]) -> None:
        """Enqueue all jobs as one batch."""
        batch = self.folder / "batch.json"
        batch.write_text(json.dumps([{"command": command} for command in commands]))
        self._run(self._program, "batch", str(batch))

    def submit_one(self, command: str) -> None:
        """Enqueue with the command that a user would call."""
        self._run(self._program, "enqueue", "-c", command)

    def done(self) -> int:
        """Count finished jobs in its database."""
        path = self.folder / ".queuectl" / "queuectl.db"
        with contextlib.closing(sqlite3.connect(str(path))) as database:
            query = "SELECT count(*) FROM jobs WHERE state = 'completed'"
            return int(database.execute(query).fetchone()[0])


PEERS: Sequence[type[Peer]] = (
    Parallel, TaskSpooler, Nq, Huey, HueyFsync, Rq, RqFsync, OtherQueuectl,
)  # fmt: skip
