"""The peers: other queues, each told to run two jobs at a time."""

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
    """GNU parallel, which is no queue but keeps a journal of what it ran."""

    name, title, resident = "parallel", "GNU parallel --joblog", False

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._program = program("parallel")
        self._jobs = folder / "jobs"

    def submit(self, commands: Sequence[str]) -> None:
        """Keep them: it runs what it is given."""
        self._jobs.write_text("".join(f"{command}\n" for command in commands))

    def start(self) -> None:
        """Run what was submitted."""
        self._popen(
            self._program, "--will-cite", "-j2", "--joblog", "log", "--resume", "-a", "jobs"
        )

    def finish(self, jobs: int) -> None:
        """Start it and wait for its end, since it starts at once what it has."""
        if not self.started:
            self.start()
        self.started[0].wait(PATIENCE_SECONDS)

    def processes(self) -> list[int]:
        """Return the program itself; the rest below it are jobs."""
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
        """Start a process for each."""
        for command in commands:
            self._run(self._program, "sh", "-c", command)

    def done(self) -> int:
        """Count them in the list of the daemon."""
        return self._run(self._program, "-l").count(" finished ")

    def processes(self) -> list[int]:
        """Find the daemon, which has left us."""
        return [pid for pid in mentioning(self.folder) if is_called(pid, "tsp")]


class Nq(Peer):
    """nq: a folder of files, each locked by the process that will run it."""

    name, title, slow, resident = "nq", "nq, two folders", True, False

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._program = program("nq")
        self._queues = [folder / "0", folder / "1"]
        self._next = 0
        for queue in self._queues:
            queue.mkdir()

    def submit(self, commands: Sequence[str]) -> None:
        """Start a process for each, in turn for one folder and the other."""
        for command in commands:
            self.environment["NQDIR"] = str(self._queues[self._next])
            self._next = 1 - self._next
            self._run(self._program, "-q", "sh", "-c", command)

    def finish(self, jobs: int) -> None:
        """Wait for both."""
        for queue in self._queues:
            self.environment["NQDIR"] = str(queue)
            self._run(self._program, "-w")

    def processes(self) -> list[int]:
        """Find those that wait: they have left us."""
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
        """Enqueue them all from one process."""
        self._run(sys.executable, "tasks.py", text="".join(f"{one}\n" for one in commands))


class HueyFsync(Huey):
    """The same, with each commit on the disk before it counts."""

    name, title, fsync = "huey-fsync", "huey on SQLite, fsync", True


class Rq(Peer):
    """rq on a Redis of its own, as Redis comes; two workers."""

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
        """Start Redis too."""
        self._server()
        self.start()

    def submit(self, commands: Sequence[str]) -> None:
        """Enqueue them all from one process."""
        self._run(sys.executable, "tasks.py", text="".join(f"{one}\n" for one in commands))


class RqFsync(Rq):
    """The same, with each write on the disk before it counts."""

    name, title, append = "rq-fsync", "rq on Redis, appendfsync always", "yes"


class OtherQueuectl(Peer):
    """The package queuectl of the public index, which is another project."""

    name, title, slow = "queuectl", "queuectl of the public index", True

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        if place.peer_environment is None:
            raise Missing("no --peer-queuectl VENV")
        self._program = program(str(Path(place.peer_environment) / "bin" / "queuectl"))
        # It reads no QUEUECTL_DB; its queue is in HOME.
        self.environment.pop("QUEUECTL_DB", None)
        # Two of its processes that make the database at once fail.
        self._run(self._program, "status")

    def start(self) -> None:
        """Start its workers."""
        self._popen(self._program, "worker", "start", "--count", "2")

    def submit(self, commands: Sequence[str]) -> None:
        """Put them in as one batch."""
        batch = self.folder / "batch.json"
        batch.write_text(json.dumps([{"command": command} for command in commands]))
        self._run(self._program, "batch", str(batch))

    def submit_one(self, command: str) -> None:
        """Start the process that a user would."""
        self._run(self._program, "enqueue", "-c", command)

    def done(self) -> int:
        """Count them in its database."""
        path = self.folder / ".queuectl" / "queuectl.db"
        with contextlib.closing(sqlite3.connect(str(path))) as database:
            query = "SELECT count(*) FROM jobs WHERE state = 'completed'"
            return int(database.execute(query).fetchone()[0])


PEERS: Sequence[type[Peer]] = (
    Parallel, TaskSpooler, Nq, Huey, HueyFsync, Rq, RqFsync, OtherQueuectl,
)  # fmt: skip
