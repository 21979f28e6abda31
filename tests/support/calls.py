"""Running a command to its end, as a process or in a fork of the test process."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import IO, Mapping, NamedTuple, Sequence, Union

import pytest

from queuectl.cli import main
from queuectl.cli.app import SECTIONS

COMMAND = str(Path(sys.executable).with_name("queuectl"))
"""The installed console script."""

Argument = Union[str, bytes]

# A fork of a process that has imported everything is three times as fast as one that has yet to.
for _names in SECTIONS.values():
    for _place in _names.values():
        import_module("queuectl.cli.commands." + _place.partition(":")[0])
for _name in (
    "queuectl.cli.help_layout",
    "queuectl.core.time_words",
    "queuectl.storage.full",
    "queuectl.worker.start",
    "tabulate",
):
    import_module(_name)


class Called(NamedTuple):
    """How a command ended."""

    code: int
    """The exit code, or the negative number of the signal that ended it."""
    out: str
    """What it printed on stdout, bytes that are not UTF-8 as surrogates."""
    err: str
    """What it printed on stderr, in the same way."""


def in_process(
    args: Sequence[Argument],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdin: bytes | None = None,
    timeout: float = 60,
    before: Sequence[str] = (),
) -> Called:
    """Run `BEFORE queuectl ARGS` as a process of the installed console script."""
    done = subprocess.run(
        [*before, COMMAND, *args],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env=dict(env),
        cwd=str(cwd),
        timeout=timeout,
        check=False,
    )
    return Called(done.returncode, *map(_text, (done.stdout, done.stderr)))


def in_fork(
    args: Sequence[Argument],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdin: bytes | None = None,
    timeout: float = 60,
    user: tuple[int, int] | None = None,
) -> Called:
    """Run `queuectl ARGS` in a fork of this process, 20 times as fast as a new interpreter.

    It runs the function that the console script runs, with descriptors, an environment and an
    exit of its own; for root as the user and the group that are given. `worker start` executes
    the console script, as ever. No database may be open here.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with tempfile.TemporaryFile() as given:
            given.write(stdin or b"")
            given.seek(0)
            pid = os.fork()
            if not pid:
                _become([os.fsdecode(arg) for arg in args], env, cwd, user, given, out, err)
        status = _waited_for(pid, timeout, args)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(_text(stream.read()))
    ended = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Called(ended, *texts)


def _waited_for(pid: int, timeout: float, args: Sequence[Argument]) -> int:
    deadline = time.monotonic() + timeout
    nap = 0.0005
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail(f"{args} did not end within {timeout:g} s")
        time.sleep(nap)
        nap = min(nap * 1.2, 0.01)


def _become(
    args: list[str],
    env: Mapping[str, str],
    cwd: Path,
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
        os.environ.update(env)
        time.tzset()
        os.chdir(cwd)
        sys.argv = [COMMAND, *args]
        # `worker start` executes what it was called as; this list exists since Python 3.10.
        sys.orig_argv = [sys.executable, COMMAND, *args]  # novm
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        if sys.exc_info()[0] is not None:
            os.write(2, traceback.format_exc().encode())
        os._exit(code)


def _text(printed: bytes) -> str:
    return printed.decode("utf-8", "surrogateescape")


def assert_refused(called: Called, command: str, expected: str, code: int = 2) -> None:
    """The command printed one line on stderr only; `…` at the end of `expected` is any rest."""
    assert (called.code, called.out) == (code, ""), called
    assert called.err.endswith("\n")
    assert called.err.count("\n") == 1, called.err
    line = called.err[:-1]
    if expected.endswith("…"):
        line = line[: len(command) + 2 + len(expected) - 1] + "…"
    assert line == f"{command}: {expected}"
