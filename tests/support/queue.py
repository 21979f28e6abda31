"""The queue of one test: its commands, its worker processes and its jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from queuectl.cli.json_shapes import worker_json
from queuectl.core.errors import QueueError
from queuectl.core.models import Execution, Job, Outcome, OutcomeKind, Selection, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.host import files
from queuectl.storage import Storage
from support.calls import COMMAND, Argument, Called, in_fork, in_process
from support.new_queues import open_new
from support.processes import alive
from support.waiting import PATIENCE_SECONDS, wait_until
from support.watch import file_watch

_WATCH = Path(file_watch.__file__).parent
"""On PYTHONPATH it makes each Python process of a queue report what SQLite forbids."""


_with_storage: set[Queue] = set()
"""The queues whose storage is open."""


def close_storages() -> None:
    """Close the storages of all queues: this process is about to fork."""
    for queue in list(_with_storage):
        queue.close_storage()


class Queue:
    """One queue in a folder of its own.

    Commands run in forks of the test process: the same code as that of the console script, and
    twenty times as fast. Pools are processes as ever. Jobs can also be added and looked at through
    the storage, which takes no process at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self.database = folder / "queue.db"
        self.work = folder / "work"
        """The current folder of commands, workers and jobs."""
        self.work.mkdir()
        self.processes: list[subprocess.Popen[str]] = []
        self.env: dict[str, str] = {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "QUEUECTL_DB": str(self.database),
            "TEST_QUEUE": str(folder),
            "PYTHONPATH": str(_WATCH),
            "TEST_WATCH": os.environ["TEST_WATCH"],
        }
        self._storage: Storage | None = None

    @property
    def files(self) -> files.QueueFiles:
        return files.find(str(self.database), None, False)

    # Commands

    def run(
        self,
        *args: Argument,
        stdin: Argument | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 60,
        user: tuple[int, int] | None = None,
        before: Sequence[str] = (),
        as_process: bool = False,
    ) -> Called:
        """Run `queuectl ARGS` to its end, whatever its exit code; not on a terminal.

        It runs in a fork of this process, unless `as_process` or what is put `before` the command
        demand a process of the console script. `user` is a user and a group that the fork becomes.
        """
        given = stdin.encode() if isinstance(stdin, str) else stdin
        whole = {**self.env, **(env or {})}
        folder = cwd or self.work
        if not (as_process or before):
            close_storages()
            return in_fork(args, env=whole, cwd=folder, stdin=given, timeout=timeout, user=user)
        assert user is None, "only a fork can become another user"
        return in_process(args, env=whole, cwd=folder, stdin=given, timeout=timeout, before=before)

    def ok(self, *args: Argument, **kwargs: Any) -> str:
        """Run `queuectl ARGS`, which must succeed; return its stdout, stripped."""
        done = self.run(*args, **kwargs)
        assert done.code == 0, (args, done)
        return done.out.strip()

    def fails(self, code: int, *args: Argument, **kwargs: Any) -> str:
        """Run `queuectl ARGS`, which must fail with this exit code and print nothing on stdout;
        return its one line on stderr.
        """
        done = self.run(*args, **kwargs)
        assert (done.code, done.out) == (code, ""), (args, done)
        lines = done.err.splitlines()
        assert len(lines) == 1, done.err
        assert lines[0].startswith("queuectl"), lines
        return lines[0]

    def json(self, *args: str, **kwargs: Any) -> Any:
        """Run `queuectl ARGS --json`; return what it printed."""
        return json.loads(self.ok(*args, "--json", **kwargs))

    def enqueue(self, command: str, *options: str, **kwargs: Any) -> str:
        """Run `queuectl enqueue OPTIONS -- COMMAND`; return the job's id."""
        return self.ok("enqueue", *options, "--", command, **kwargs)

    def show(self, job: str) -> dict[str, Any]:
        """Return what `show JOB --json` prints."""
        return self.json("show", job)

    def ids(self, *args: str) -> list[str]:
        """Return what `list --ids ARGS` prints."""
        return self.ok("list", "--ids", *args).splitlines()

    def export(self, *args: str) -> list[str]:
        """Return the lines of `export ARGS`."""
        return self.ok("export", *args).splitlines()

    # Pools

    def spawn(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        **kwargs: Any,
    ) -> subprocess.Popen[str]:
        """Start `BEFORE queuectl ARGS` in a session of its own; it is ended with the test."""
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(
            [*before, COMMAND, *args],
            env={**self.env, **(env or {})},
            cwd=str(self.work),
            start_new_session=True,
            text=True,
            **kwargs,
        )
        self.processes.append(process)
        return process

    def start(self, *args: str, workers: int = 1, **kwargs: Any) -> subprocess.Popen[str]:
        """Run `worker start --count WORKERS ARGS`; return once these workers are there.

        A pool that a job ends at once may be gone before its workers are seen.
        """
        known = {worker["id"] for worker in self.workers()}
        with (self.folder / "workers.log").open("a") as log:
            kwargs.setdefault("stderr", log)
            process = self.spawn("worker", "start", "--count", str(workers), *args, **kwargs)
        wait_until(
            lambda: (
                len({worker["id"] for worker in self.workers()} - known) >= workers
                or process.poll() is not None
            ),
            what="the workers",
        )
        return process

    def drain(self, *args: str, workers: int = 2, **kwargs: Any) -> str:
        """Run `worker start --drain` to its end; return what it logged."""
        done = self.run("worker", "start", "--drain", "--count", str(workers), *args, **kwargs)
        assert done.code == 0, done.err
        return done.err

    def hooked(self, code: str) -> dict[str, str]:
        """Return the environment of a pool whose processes run `code` first, after earlier ones."""
        folder = self.folder / "hooked"
        folder.mkdir(exist_ok=True)
        with (folder / "sitecustomize.py").open("a") as hook:
            hook.write("import os\nif '_QUEUECTL_POOL' in os.environ:\n")
            hook.write(textwrap.indent(textwrap.dedent(code), "    ") + "\n")
        return {"PYTHONPATH": str(folder)}

    def workers(self) -> list[dict[str, Any]]:
        """Return what `worker list --json` prints, without a process; [] if there is no queue."""
        try:
            storage = Storage.open(self.files)
        except QueueError:
            return []
        try:
            return [worker_json(worker) for worker in storage.living_workers()]
        finally:
            storage.close()

    def worker(self) -> dict[str, Any]:
        """Return the only worker, once it is the only one.

        While a dead worker is recovered its lock is held, so that it seems to live for a moment.
        """

        def alone() -> dict[str, Any] | None:
            workers = self.workers()
            return workers[0] if len(workers) == 1 else None

        return wait_until(alone, what="one worker")

    # Jobs, through the storage

    @property
    def storage(self) -> Storage:
        """The queue's storage, opened when it is first asked for; it makes the queue.

        Each command closes it, since an open database must not cross a fork.
        """
        if self._storage is None:
            self._storage = open_new(self.files)
            _with_storage.add(self)
        return self._storage

    def close_storage(self) -> None:
        if self._storage is not None:
            self._storage.close()
            self._storage = None
            _with_storage.discard(self)

    @contextmanager
    def opened(self) -> Iterator[Storage]:
        """Open a storage of its own for a while; no command may run in a fork meanwhile."""
        storage = open_new(self.files)
        try:
            yield storage
        finally:
            storage.close()

    def exists(self) -> bool:
        """Whether the queue has been made, and by now is complete."""
        try:
            Storage.open(self.files).close()
        except QueueError:
            return False
        return True

    def configure(self, **keys: str) -> None:
        """Set configuration keys, each under its name with `_` for `-`."""
        for key, value in keys.items():
            self.storage.set_key(key.replace("_", "-"), value)

    def add(self, command: str, **fields: Any) -> str:
        """Enqueue one job that runs in the work folder; return its id."""
        return self.add_many(command, **fields)[0]

    def add_many(self, *commands: str, **fields: Any) -> list[str]:
        """Enqueue one job per command, all in one transaction; return their ids."""
        fields.setdefault("cwd", str(self.work))
        specs = [JobSpec(command=command, **fields) for command in commands]
        return [one.id for one in self.storage.enqueue(specs, now=utcnow(), environ=self.env)]

    def run_as_if(self, state: str, *, code: int = 1) -> None:
        """Claim the next job and record, without a worker, that it became dead, failed, completed.

        A failed one has its retry in an hour.
        """
        good = state == "completed"
        kind = OutcomeKind.OK if good else OutcomeKind.EXIT
        reason = None if good else f"exit {code}"
        outcome = Outcome(kind, exit_code=0 if good else code, reason=reason, seconds=1.5)
        run_at = utcnow() + timedelta(hours=1) if state == "failed" else None
        verdict = Verdict(JobState(state), run_at, reason)
        claim = self.storage.claim("5a5a5a5a-1", now=utcnow())
        assert claim is not None
        self.storage.record(claim, outcome, verdict, now=utcnow())

    def get(self, job: str) -> Job:
        return self.storage.get(job)

    def jobs(self) -> list[Job]:
        """Return all jobs."""
        return list(self.storage.jobs(Selection()))

    def state(self, job: str) -> str:
        return self.get(job).state.value

    def counts(self) -> dict[str, int]:
        """Return the states that hold jobs, with their counts."""
        return {state.value: n for state, n in self.storage.by_state().items() if n}

    def attempts(self, job: str) -> list[Execution]:
        return list(self.storage.executions(self.storage.get(job)))

    def outcomes(self, job: str) -> list[str | None]:
        """Return how each attempt ended, None for one that runs."""
        return [one.outcome and one.outcome.value for one in self.attempts(job)]

    def until(self, job: str, *states: str, timeout: float = PATIENCE_SECONDS) -> Job:
        """Wait until a job is in one of these states; return it."""
        wait_until(lambda: self.state(job) in states, timeout, f"{job} to be {' or '.join(states)}")
        return self.get(job)

    # What jobs write, and what is left of them

    def text(self, name: str, timeout: float = PATIENCE_SECONDS) -> str:
        """Wait until a job has written a whole line into a file; return its text, stripped."""
        path = self.work / name
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), timeout, name)
        return path.read_text().strip()

    def pid(self, name: str) -> int:
        """Wait until a job has written a process id into a file; return it."""
        return int(self.text(name))

    def let_go(self) -> None:
        """Let jobs go on that wait for the file `go` (see support.held)."""
        (self.work / "go").touch()

    def pids(self) -> list[int]:
        """Return the processes that were started for this queue, jobs included (Linux only)."""
        mark = f"TEST_QUEUE={self.folder}".encode()
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/environ", "rb") as stream:
                    environment = stream.read()
            except OSError:
                continue
            if mark in environment.split(b"\0") and alive(int(name)):
                found.append(int(name))
        return found

    def close(self) -> list[int]:
        """End everything of this queue; return the processes that had to be killed.

        Workers that a test left running are told to stop first: that is no fault.
        """
        self.close_storage()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + PATIENCE_SECONDS
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        left = self.pids()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return left
