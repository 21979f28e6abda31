"""A queue of one test, driven through the installed command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Mapping

from queuectl.cli.json_shapes import worker_json
from queuectl.core.errors import QueueError
from queuectl.host import files
from queuectl.storage import Storage
from support.processes import alive
from support.waiting import PATIENCE_SECONDS, wait_until
from support.watch import file_watch

COMMAND = str(Path(sys.executable).with_name("queuectl"))
"""The installed console script."""


_WATCH = Path(file_watch.__file__).parent
"""On PYTHONPATH it makes every Python of a queue tell of what SQLite forbids."""


class Queue:
    """One queue in a folder of its own, driven through the installed command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self.database = folder / "queue.db"
        self.work = folder / "work"
        self.work.mkdir()
        self.processes: list[subprocess.Popen[str]] = []
        self.env: dict[str, str] = {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "QUEUECTL_DB": str(self.database),
            "TEST_QUEUE": str(folder),
            "PYTHONPATH": str(_WATCH),
            "TEST_WATCH": str(_watch_report(folder.parent)),
        }

    @property
    def files(self) -> files.QueueFiles:
        return files.find(str(self.database), None, False)

    def run(
        self,
        *args: str | bytes,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run `queuectl ARGS` to its end, whatever its exit code; off a terminal."""
        raw = subprocess.run(
            [COMMAND, *args],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**self.env, **(env or {})},
            cwd=str(cwd or self.work),
            timeout=timeout,
            check=False,
        )
        return subprocess.CompletedProcess(
            raw.args,
            raw.returncode,
            raw.stdout.decode("utf-8", "surrogateescape"),
            raw.stderr.decode("utf-8", "surrogateescape"),
        )

    def ok(self, *args: str, **kwargs: Any) -> str:
        """Run `queuectl ARGS`, which must succeed; return its stdout, stripped."""
        done = self.run(*args, **kwargs)
        assert done.returncode == 0, (args, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()

    def fails(self, code: int, *args: str | bytes, **kwargs: Any) -> str:
        """Run `queuectl ARGS`, which must fail so, with nothing on stdout; return its one line."""
        done = self.run(*args, **kwargs)
        assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("queuectl"), lines
        return lines[0]

    def json(self, *args: str, **kwargs: Any) -> Any:
        """Run `queuectl ARGS --json` and return what it printed."""
        return json.loads(self.ok(*args, "--json", **kwargs))

    def enqueue(self, command: str, *options: str, **kwargs: Any) -> str:
        """Enqueue a shell command and return its id."""
        return self.ok("enqueue", *options, "--", command, **kwargs)

    def show(self, job: str) -> dict[str, Any]:
        """Return `show JOB --json`."""
        return self.json("show", job)

    def state(self, job: str) -> str:
        return self.show(job)["state"]

    def counts(self) -> dict[str, int]:
        """Return the states that hold jobs, with their counts."""
        return {state: n for state, n in self.json("status")["jobs"].items() if n}

    def wait_for(self, job: str, *states: str, timeout: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until a job is in one of these states; return it as `show --json` does."""

        def there() -> dict[str, Any] | None:
            shown = self.show(job)
            return shown if shown["state"] in states else None

        return wait_until(there, timeout, f"{job} to be {' or '.join(states)}")

    def spawn(
        self, *args: str, env: Mapping[str, str] | None = None, **kwargs: Any
    ) -> subprocess.Popen[str]:
        """Start `queuectl ARGS` in a session of its own; it is ended with the test."""
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(
            [COMMAND, *args],
            env={**self.env, **(env or {})},
            cwd=str(self.work),
            start_new_session=True,
            text=True,
            **kwargs,
        )
        self.processes.append(process)
        return process

    def start(self, *args: str, workers: int = 1, **kwargs: Any) -> subprocess.Popen[str]:
        """Run `worker start --count WORKERS ARGS`; return once these workers are there."""
        before = {worker["id"] for worker in self.workers()}
        with (self.folder / "workers.log").open("a") as log:
            kwargs.setdefault("stderr", log)
            process = self.spawn("worker", "start", "--count", str(workers), *args, **kwargs)
        wait_until(
            lambda: len({worker["id"] for worker in self.workers()} - before) >= workers,
            what="the workers",
        )
        return process

    def hooked(self, code: str) -> dict[str, str]:
        """Return the environment of a pool whose process, and so its workers, run `code` first."""
        folder = self.folder / "hooked"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(
            "import os\nif '_QUEUECTL_POOL' in os.environ:\n"
            + textwrap.indent(textwrap.dedent(code), "    ")
        )
        return {"PYTHONPATH": str(folder)}

    def workers(self) -> list[dict[str, Any]]:
        """Return what `worker list --json` prints, without a process; nothing of no queue.

        Who asks again and again need not start an interpreter each time.
        """
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

        Who settles a dead worker holds its lock, so that for a moment it seems to live.
        """

        def alone() -> dict[str, Any] | None:
            workers = self.workers()
            return workers[0] if len(workers) == 1 else None

        return wait_until(alone, what="one worker")

    def exists(self) -> bool:
        """Whether the queue has been made, and by now is complete."""
        try:
            Storage.open(self.files).close()
        except QueueError:
            return False
        return True

    def drain(self, *args: str, workers: int = 2, timeout: float = 60) -> str:
        """Run `worker start --drain` to its end; return what it logged."""
        done = self.run(
            "worker", "start", "--drain", "--count", str(workers), *args, timeout=timeout
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def pids(self) -> list[int]:
        """Return the processes that were started for this queue, jobs included (Linux only)."""
        mark = f"TEST_QUEUE={self.folder}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes().split(b"\0") and alive(int(path.name)):
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    def close(self) -> list[int]:
        """End all that is left of this queue; return the processes that had to be killed.

        Workers that a test left running are told to stop first: that is no fault.
        """
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + 15
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


def _watch_report(base: Path) -> Path:
    return base / "watch-report"
