"""Commands that run in a fork of the test process."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import traceback
from importlib import import_module
from typing import (
    IO,
    Callable,
    Mapping,
    NamedTuple,
    Union,
)

from queuectl.cli import main
from queuectl.cli.app import SECTIONS
from support.queue import Queue

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


def assert_refused(called: Called, command: str, expected: str, code: int = 2) -> None:
    """Compare with one line on stderr, of which `…` stands for the rest."""
    assert (called.code, called.out) == (code, ""), called
    assert called.err.endswith("\n")
    assert called.err.count("\n") == 1, called.err
    line = called.err[:-1]
    if expected.endswith("…"):
        line = line[: len(command) + 2 + len(expected) - 1] + "…"
    assert line == f"{command}: {expected}"
