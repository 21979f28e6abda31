"""How the tests of the command line call it: in a fork, on a terminal, or as a process."""

from __future__ import annotations

import errno
import io
import os
import pty
import subprocess
import sys
import tempfile
import traceback
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import (
    IO,
    Any,
    Callable,
    Iterator,
    Mapping,
    NamedTuple,
    Union,
)

import pytest
from conftest import COMMAND, Queue

from queuectl.cli import main
from queuectl.cli.app import SECTIONS
from queuectl.core.models import Job, Outcome, OutcomeKind, Output, Selection, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage import Storage

Argument = Union[str, bytes]

# A fork of a process that has imported everything is three times as fast as one that has yet to.
for _names in SECTIONS.values():
    for _place in _names.values():
        import_module("queuectl.cli.commands." + _place.partition(":")[0])
import_module("queuectl.storage.full")


class Called(NamedTuple):
    """How a call ended. `code` is that of the process, negative when a signal ended it."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


@pytest.fixture
def call(queue: Queue) -> Call:
    """Run `queuectl ARGS` in a fork of this process, 20 times as fast as a new interpreter.

    What runs is the function that the installed command runs, with descriptors, an environment
    and an end of its own, and for root as the user and the group that are named.
    """

    return partial(call_forked, queue)


def call_forked(
    queue: Queue,
    *args: Argument,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    user: tuple[int, int] | None = None,
) -> Called:
    """Run `queuectl ARGS` on a queue as `call` does."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            pid = os.fork()
            if not pid:
                _become(queue, [os.fsdecode(arg) for arg in args], env or {}, user, given, out, err)
        status = os.waitpid(pid, 0)[1]
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "surrogateescape"))
    ended = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Called(ended, *texts)


def _become(
    queue: Queue,
    args: list[str],
    env: Mapping[str, str],
    user: tuple[int, int] | None,
    *streams: IO[bytes],
) -> None:
    code = 70
    try:
        if user is not None:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])
        for descriptor, stream in enumerate(streams):
            os.dup2(stream.fileno(), descriptor)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(descriptor, mode, closefd=False), encoding="utf-8")
            for descriptor, mode in enumerate("rww")
        )
        os.environ.clear()
        os.environ.update({**queue.env, **env})
        os.chdir(queue.work)
        sys.argv = ["queuectl", *args]
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        if sys.exc_info()[0] is not None:
            os.write(2, traceback.format_exc().encode())
        os._exit(code)


class Terminal(NamedTuple):
    """What a command printed to its terminal, and to the streams that were not one."""

    code: int
    screen: str
    out: str
    err: str


def on_terminal(
    queue: Queue,
    *args: str,
    streams: str = "stdout",
    typed: str = "",
    env: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Terminal:
    """Run `queuectl ARGS` with some of its streams, `stdin stdout stderr`, on a terminal."""
    ours, theirs = pty.openpty()
    chosen: dict[str, Any] = {"stdin": subprocess.DEVNULL}
    chosen.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    chosen.update(dict.fromkeys(streams.split(), theirs))
    try:
        with subprocess.Popen(
            [COMMAND, *args],
            env={**queue.env, **(env or {})},
            cwd=str(queue.work),
            start_new_session=True,
            **chosen,
            **kwargs,
        ) as process:
            os.close(theirs)
            if typed:
                os.write(ours, typed.encode())
            screen = b"".join(_until_closed(ours))
            out, err = process.communicate(timeout=60)
    finally:
        os.close(ours)
    texts = [(text or b"").decode() for text in (screen, out, err)]
    return Terminal(process.returncode, texts[0].replace("\r\n", "\n"), *texts[1:])


def _until_closed(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError as error:
            # What Linux says when the other side is closed.
            if error.errno != errno.EIO:
                raise
            return
        if not chunk:
            return
        yield chunk


@contextmanager
def opened(queue: Queue) -> Iterator[Storage]:
    """Open the queue's storage for a while; never over a call, since it must not cross a fork."""
    storage = Storage.open(queue.files, create=True)
    try:
        yield storage
    finally:
        storage.close()


def jobs(queue: Queue) -> list[Job]:
    """Return all jobs of a queue."""
    with opened(queue) as storage:
        return list(storage.jobs(Selection()))


def every_state(queue: Queue) -> None:
    """Make a job in each state, its id the state's name; times are seconds after `noon`."""
    failed = Outcome(OutcomeKind.EXIT, exit_code=3, reason="exit code 3", pid=7, seconds=2.0)
    killed = Outcome(OutcomeKind.SIGNAL, signal=9, reason="killed by SIGKILL", pid=8, seconds=3.0)
    done = Outcome(
        OutcomeKind.OK, exit_code=0, pid=9, seconds=0.25, cpu_seconds=0.01,
        max_rss_bytes=10 << 20, output=Output(3, False, b"ok\n", False),
    )  # fmt: skip
    with opened(queue) as storage:

        def enqueue(state: str, seconds: int, **fields: Any) -> None:
            spec = JobSpec(command=f"run {state}", id=state, cwd="/tmp", **fields)
            storage.enqueue([spec], now=noon(seconds))

        def end(outcome: Outcome, verdict: Verdict, seconds: int) -> None:
            claim = storage.claim("5a5a5a5a-1", now=noon(seconds))
            assert claim is not None
            storage.record(claim, outcome, verdict, now=noon(seconds + 1))

        enqueue("completed", 0, env={"TOKEN": "secret"}, label="a label", queue="q", priority=7)
        end(done, Verdict(JobState.COMPLETED), 10)
        enqueue("failed", 1, max_retries=5)
        end(failed, Verdict(JobState.FAILED, noon(10**9), "exit code 3"), 20)
        enqueue("dead", 2, max_retries=1)
        end(killed, Verdict(JobState.DEAD, last_error="killed by SIGKILL"), 30)
        enqueue("processing", 3)
        storage.claim("5a5a5a5a-2", now=noon(40))
        enqueue("pending", 4)
        enqueue("scheduled", 5, run_at=noon(10**9))
        enqueue("blocked", 6, after=("pending",))
        enqueue("cancelled", 7)
        storage.cancel(storage.get("cancelled"), now=noon(50))


def noon(seconds: int) -> datetime:
    """Return an instant so many seconds after a certain noon."""
    return datetime(2026, 1, 31, 12, tzinfo=timezone.utc) + timedelta(seconds=seconds)


def everything(queue: Queue) -> Any:
    """Return all that a command could change in a queue."""
    with opened(queue) as storage:
        kept = storage.counts(), storage.stored_settings(), storage.workers()
    return jobs(queue), kept


def tree(folder: Path) -> list[str]:
    """Return the paths of all that is in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_refused(called: Called, command: str, expected: str, code: int = 2) -> None:
    """Compare with one line on stderr, of which `…` stands for the rest."""
    assert (called.code, called.out) == (code, ""), called
    assert called.err.endswith("\n")
    assert called.err.count("\n") == 1, called.err
    line = called.err[:-1]
    if expected.endswith("…"):
        line = line[: len(command) + 2 + len(expected) - 1] + "…"
    assert line == f"{command}: {expected}"
