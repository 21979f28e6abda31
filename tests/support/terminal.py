"""Commands that run on a terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
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
from support.waiting import wait_until

HOME = "\x1b[H"
"""Each picture of a display begins with it: the cursor goes to the top left."""
_BELOW = "\x1b[J"
"""Each picture ends with it: everything below is erased."""


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


class Watch:
    """A running command, by default `status --watch`, on a terminal of its own."""

    def __init__(
        self,
        queue: Queue,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = ("status", "--watch"),
        start_new_session: bool = True,
    ) -> None:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self.process = subprocess.Popen(
            [COMMAND, *args],
            env={**queue.env, "TERM": "xterm", **(env or {})}, cwd=str(queue.work),
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=start_new_session,
            preexec_fn=None if start_new_session else os.setpgrp,  # noqa: PLW1509 (one thread)
        )  # fmt: skip
        os.close(theirs)
        self._screen = b""

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size; the kernel tells the process."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self._ours, keys.encode())

    def is_canonical(self) -> bool:
        """Whether the terminal passes on whole lines, and echoes them, as shells expect it."""
        flags = int(termios.tcgetattr(self._ours)[3])
        return flags & (termios.ICANON | termios.ECHO) == termios.ICANON | termios.ECHO

    @property
    def screen(self) -> str:
        """Everything that was written to the terminal so far."""
        while True:
            try:
                chunk = os.read(self._ours, 65536)
            except OSError:  # nothing more by now, or closed
                chunk = b""
            if not chunk:
                return self._screen.decode(errors="replace")
            self._screen += chunk

    def pictures(self) -> list[str]:
        """Return what was drawn, one after the other, as far as it is complete."""
        return [one for one in self.screen.split(HOME)[1:] if _BELOW in one]

    def until(self, pattern: str) -> None:
        """Wait until the last picture, without its styles, matches a pattern."""
        wait_until(lambda: re.search(pattern, self.picture()), what=pattern)

    def picture(self) -> str:
        """Return the last picture without its styles."""
        return re.sub(r"\x1b\[[0-9;]*[mK]", "", "".join(self.pictures()[-1:]))

    def close(self) -> None:
        """End the command."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
