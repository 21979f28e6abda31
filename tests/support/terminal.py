"""Commands that run on a terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import (
    Any,
    Callable,
    Iterator,
    Mapping,
    NamedTuple,
    Sequence,
)

from support.calls import COMMAND
from support.queue import Queue


class Terminal(NamedTuple):
    """What a command printed on its terminal, and on the streams that were none."""

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
    size: tuple[int, int] | None = None,
    program: Sequence[str] = (COMMAND,),
    seen: Callable[[str], object] = str,
    **kwargs: Any,
) -> Terminal:
    """Run `queuectl ARGS` with some of its streams, `stdin stdout stderr`, on a terminal.

    `size` is its columns and lines; without it the terminal does not know its size. `program` is
    what is run with ARGS in the place of queuectl, and `typed` what waits for it to be read. `seen`
    is called with the screen so far whenever something was added to it.
    """
    ours, theirs = pty.openpty()
    if size is not None:
        columns, lines = size
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    chosen: dict[str, Any] = {"stdin": subprocess.DEVNULL}
    chosen.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    chosen.update(dict.fromkeys(streams.split(), theirs))
    try:
        # Before the program starts, so that what is typed stands before all that it prints.
        os.write(ours, typed.encode())
        with subprocess.Popen(
            [*program, *args],
            env={**queue.env, **(env or {})},
            cwd=str(queue.work),
            start_new_session=True,
            **{**chosen, **kwargs},
        ) as process:
            os.close(theirs)
            screen = b""
            for chunk in _until_closed(ours):
                screen += chunk
                seen(screen.decode(errors="replace"))
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
            # Linux raises EIO when the other side is closed.
            if error.errno != errno.EIO:
                raise
            return
        if not chunk:
            return
        yield chunk
