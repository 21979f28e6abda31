"""Testing a hook from its page: `queuectl hook test` in a process of its own.

That process can be ended when a receiver answers too slowly or a command does not end, and it has
its memory to itself: for TLS alone Python loads several MB.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress

from queuectl.core.errors import QueueError
from queuectl.core.named_tuples import NamedTuple
from queuectl.host.files import QueueFiles
from queuectl.host.program import another_call

_SECONDS = 30.0
"""How long a test may take: somebody is looking at a spinning browser."""
_KEPT_BYTES = 4096
_SHOWN_CHARACTERS = 300
_OWN_MESSAGE = "queuectl hook test: "


class Tested(NamedTuple):
    """What became of a test."""

    is_good: bool
    said: str
    """The first line of the answer of a webhook, else the last line that was printed; may be empty.
    """


def run(files: QueueFiles, name: str, *, is_webhook: bool, seconds: float = _SECONDS) -> Tested:
    """Send a test event to a hook, and wait for what becomes of it. Raises QueueError."""
    words = another_call("--db", files.database, "hook", "test", "--", name)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise QueueError(f"the test of {name} cannot be started: {error}") from None
    assert process.stdout is not None
    begin, end = b"", b""
    with process.stdout:
        deadline = time.monotonic() + seconds
        descriptor = process.stdout.fileno()
        while _is_readable(descriptor, deadline - time.monotonic()):
            read = os.read(descriptor, 1 << 16)
            if not read:
                break
            begin = begin or read[:_KEPT_BYTES]
            end = (end + read)[-_KEPT_BYTES:]
        code = _end(process, deadline - time.monotonic())
    if code is None:
        return Tested(False, f"it took longer than {seconds:g} seconds")
    if is_webhook and begin.startswith(b"HTTP "):
        end = begin.partition(b"\n")[0]
    return Tested(code == 0, _last_line(end))


def _is_readable(descriptor: int, seconds: float) -> bool:
    waiting = select.poll()  # select() cannot look at descriptors from 1024 on
    waiting.register(descriptor, select.POLLIN)
    return seconds > 0 and bool(waiting.poll(seconds * 1000))


def _end(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit code; None if the process had to be killed, with all that it started."""
    try:
        return process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Also what the command of a hook left behind.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(output: bytes) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    if last.startswith(_OWN_MESSAGE):
        last = last[len(_OWN_MESSAGE) :]
    return last[:_SHOWN_CHARACTERS]
