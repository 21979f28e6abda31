"""What is shown only on a terminal: `status --watch` and progress bars."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from typing import Iterator, Mapping, Sequence

import pytest

from support.calls import COMMAND
from support.queue import Queue
from support.terminal import on_terminal
from support.waiting import wait_until

_ENTER, _LEAVE, _HOME = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H"


class Watch:
    """A running command, by default `status --watch`, on a terminal of its own."""

    def __init__(
        self,
        queue: Queue,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = ("status", "--watch"),
    ) -> None:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self.process = subprocess.Popen(
            [COMMAND, *args],
            env={**queue.env, "TERM": "xterm", **(env or {})}, cwd=str(queue.work),
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._screen = b""

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
        return self.screen.split(_HOME)[1:]

    def until(self, pattern: str) -> None:
        """Wait until the last picture matches a pattern."""
        wait_until(lambda: re.search(pattern, "".join(self.pictures()[-1:])), what=pattern)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def watch(queue: Queue) -> Iterator[Watch]:
    queue.enqueue("true", "--id", "a")
    made = Watch(queue, {"COLUMNS": "50", "LINES": "40"})
    yield made
    made.close()


def test_each_picture_overwrites_the_last_one(queue: Queue, watch: Watch) -> None:
    """The display has a screen of its own and shows changes."""
    watch.until(r"Total: +1\b")
    queue.enqueue("true")
    watch.until(r"Total: +2\b")

    assert watch.screen.startswith(_ENTER + _HOME)
    assert watch.screen.count(_ENTER) == 1
    assert len(watch.pictures()) > 1
    # The screen is never erased before it is written again, so nothing flickers.
    assert "\x1b[2J" not in watch.screen


def test_a_line_that_is_too_long_is_cut(queue: Queue, watch: Watch) -> None:
    """A line that wraps would push the first lines off the screen."""
    watch.until("Database:")
    picture = watch.pictures()[-1].partition("\x1b[J")[0]

    lines = [line.replace("\x1b[K", "").rstrip("\r") for line in picture.split("\n")]
    assert max(map(len, lines)) == 50
    assert len(str(queue.database)) > 40


def test_the_last_line_says_how_many_are_missing(queue: Queue) -> None:
    """Regression: in a low window the workers were missing without a hint."""
    queue.enqueue("true")
    low = Watch(queue, {"COLUMNS": "80", "LINES": "10"})
    try:
        low.until(r"… \d+ more lines: enlarge the window")
        assert low.pictures()[-1].count("\r\n") == 9
    finally:
        low.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored(watch: Watch, number: int) -> None:
    """Cursor and screen are restored, and the signal itself ends the command."""
    watch.until("Total:")
    watch.process.send_signal(number)
    watch.process.wait(30)

    assert watch.process.returncode == -number
    assert watch.screen.endswith(_LEAVE)
    assert watch.screen.count(_LEAVE) == 1


def test_off_a_terminal_the_status_is_printed_once(queue: Queue) -> None:
    """The same holds on a terminal that cannot redraw."""
    queue.enqueue("true")
    once = queue.ok("status")

    assert queue.ok("status", "--watch") == once
    dumb = on_terminal(queue, "status", "--watch", env={"TERM": "dumb"})
    assert (dumb.code, dumb.screen.rstrip("\n")) == (0, once)


def test_watch_and_json_cannot_be_used_together(queue: Queue) -> None:
    """The exit code is 2."""
    assert queue.fails(2, "status", "--watch", "--json") == (
        "queuectl status: --watch and --json cannot be used together"
    )


def test_a_large_batch_shows_progress_on_a_terminal(queue: Queue) -> None:
    """The bar is on stderr, so stdout has only ids. Off a terminal there is no bar."""
    (queue.work / "jobs").write_text("true\n" * 2000)
    args = ("enqueue", "--lines", "--file", "jobs")
    shown = on_terminal(queue, *args, streams="stderr")
    piped = queue.run(*args)
    dumb = on_terminal(queue, *args, streams="stderr", env={"TERM": "dumb"})

    assert "enqueueing" in shown.screen
    assert "100%" in shown.screen
    assert (len(shown.out.split()), len(piped.out.split())) == (2000, 2000)
    assert (piped.err, dumb.screen) == ("", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("args", [("wait", "a", "b"), ("wait", "--all")])
def test_an_interrupted_progress_bar_restores_the_cursor(
    queue: Queue, number: int, args: Sequence[str]
) -> None:
    """Regression: the cursor stayed hidden. The signal itself ends the command."""
    for name in ("a", "b"):
        queue.enqueue("true", "--id", name)
    waiting = Watch(queue, args=args)
    try:
        wait_until(lambda: "[?25l" in waiting.screen, what="the bar")
        waiting.process.send_signal(number)
        assert waiting.process.wait(30) == -number
        assert waiting.screen.rindex("\x1b[?25h") > waiting.screen.rindex("\x1b[?25l")
    finally:
        waiting.close()
