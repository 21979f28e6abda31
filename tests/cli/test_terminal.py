"""What is shown only on a terminal: `status --watch` and progress bars."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from typing import Iterator, Mapping, Sequence

import click
import pytest

from queuectl.host.processes import is_suspended
from support.calls import COMMAND
from support.processes import linux_only
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
        """Wait until the last picture, without its styles, matches a pattern."""
        wait_until(lambda: re.search(pattern, self.picture()), what=pattern)

    def picture(self) -> str:
        """Return the last picture without its styles."""
        return re.sub(r"\x1b\[[0-9;]*[mK]", "", "".join(self.pictures()[-1:]))

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
    watch.until(r"default .*0 of 1\b")
    queue.enqueue("true")
    watch.until(r"default .*0 of 2\b")

    assert watch.screen.startswith(_ENTER + _HOME)
    assert watch.screen.count(_ENTER) == 1
    assert len(watch.pictures()) > 1
    # The screen is never erased before it is written again, so nothing flickers.
    assert "\x1b[2J" not in watch.screen


def test_the_picture_fits_the_window(watch: Watch) -> None:
    """A line that wraps, or a line too many, would push the first lines off the screen."""
    watch.until("queuectl worker start")
    picture = watch.picture().partition("\x1b[J")[0]

    lines = [line.rstrip("\r") for line in picture.split("\n")]
    assert max(map(len, lines)) <= 49
    assert len(lines) <= 40
    assert not picture.endswith("\n")


def test_another_size_of_the_window_is_followed_at_once(queue: Queue) -> None:
    """The picture is drawn anew when the window changes, not when its next one is due."""
    queue.enqueue("true")
    folder = queue.folder / "rare-pictures"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import queuectl.cli.terminal\nqueuectl.cli.terminal._EVERY_SECONDS = 300\n"
    )
    watch = Watch(queue, env={"PYTHONPATH": str(folder)})
    try:
        watch.until(r"default  ░+  0 of 1")
        watch.resize(60, 20)
        wait_until(lambda: _bar(watch) == 30, what="the bar")
        watch.resize(40, 20)
        wait_until(lambda: _bar(watch) < 30, what="a shorter bar")
    finally:
        watch.close()


def _bar(watch: Watch) -> int:
    return "".join(watch.pictures()[-1:]).count("░")


def test_the_default_queue_is_shown_once_it_is_there(queue: Queue) -> None:
    """The display may be started before the first job is enqueued."""
    env = {"QUEUECTL_DB": ""}
    watch = Watch(queue, env)
    try:
        watch.until("no jobs yet")
        queue.ok("enqueue", "-q", "true", env=env)
        watch.until("0 of 1")
    finally:
        watch.close()


def test_a_queue_that_is_removed_ends_the_display(queue: Queue) -> None:
    """Nobody would see what happens to a file that has no name any more."""
    queue.enqueue("true")
    watch = Watch(queue)
    try:
        watch.until("0 of 1")
        queue.database.unlink()
        assert watch.process.wait(30) == 1
        assert watch.screen.endswith("was removed or replaced\r\n")
        assert _LEAVE in watch.screen
    finally:
        watch.close()


@pytest.mark.parametrize("color", ["never", "always"])
def test_colours_can_be_turned_off(queue: Queue, color: str) -> None:
    """`--color never` and NO_COLOR hold for the display as well."""
    queue.enqueue("true")
    watch = Watch(queue, args=("status", "--watch", "--color", color))
    try:
        watch.until("no worker")
        assert ("\x1b[1m" in watch.screen) == (color == "always")
    finally:
        watch.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored(watch: Watch, number: int) -> None:
    """Cursor and screen are restored, and the signal itself ends the command."""
    watch.until("default")
    watch.process.send_signal(number)
    watch.process.wait(30)

    assert watch.process.returncode == -number
    assert watch.screen.endswith(_LEAVE)
    assert watch.screen.count(_LEAVE) == 1


@linux_only
def test_a_suspended_display_gives_the_screen_back(queue: Queue) -> None:
    """After Ctrl+Z the shell has its screen and its cursor; when continued, the display returns."""
    queue.enqueue("true")
    # In a session of its own, nobody could continue it, so that the kernel would not stop it.
    watch = Watch(queue, start_new_session=False)
    try:
        watch.until("default")
        watch.process.send_signal(signal.SIGTSTP)
        wait_until(lambda: is_suspended(watch.process.pid), what="the stop")
        assert watch.screen.endswith(_LEAVE)
        pictures = len(watch.pictures())
        watch.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(watch.pictures()) > pictures, what="the display")
        assert watch.screen.count(_ENTER) == 2
    finally:
        watch.close()


def test_off_a_terminal_the_status_is_printed_once(queue: Queue) -> None:
    """The same holds on a terminal that cannot redraw."""
    queue.enqueue("true", "--delay", "1d")  # one that waits soon needs attention

    assert queue.ok("status", "--watch") == queue.ok("status")
    dumb = {"TERM": "dumb"}
    once = on_terminal(queue, "status", env=dumb)
    assert on_terminal(queue, "status", "--watch", env=dumb) == once
    assert (once.code, once.screen.count("\x1b")) == (0, 0)


def test_watch_and_json_cannot_be_used_together(queue: Queue) -> None:
    """The exit code is 2."""
    assert queue.fails(2, "status", "--watch", "--json") == (
        "queuectl status: --watch and --json cannot be used together"
    )


def test_more_jobs_are_prepared_first(queue: Queue) -> None:
    """They go through a stage: one bar until all are certain, and one until all are there."""
    (queue.work / "jobs").write_text("true\n" * 3000)
    args = ("enqueue", "--lines", "--file", "jobs")
    shown = on_terminal(queue, *args, streams="stderr", env={"TERM": "xterm"})

    bars = re.findall(r"(\w+)  [█░]+  (\d+) of 3000", click.unstyle(shown.screen))
    assert list(dict(bars)) == ["preparing", "enqueueing"]


def test_a_large_batch_shows_progress_on_a_terminal(queue: Queue) -> None:
    """The bar is on stderr, so stdout has only ids. Off a terminal there is no bar."""
    (queue.work / "jobs").write_text("true\n" * 2000)
    args = ("enqueue", "--lines", "--file", "jobs")
    shown = on_terminal(queue, *args, streams="stderr", env={"TERM": "xterm"})
    piped = queue.run(*args)
    dumb = on_terminal(queue, *args, streams="stderr", env={"TERM": "dumb"})

    assert re.search(r"enqueueing  [█░]+  1000 of 2000", click.unstyle(shown.screen))
    assert "\r\x1b[K2000 jobs queued" in shown.screen  # nothing of it is left at the end
    assert (len(shown.out.split()), len(piped.out.split())) == (2000, 2000)
    queued = "2000 jobs queued in default (@4001 to @6000); timeout 5m each; up to 3 attempts\n"
    assert (piped.err, dumb.screen) == ("", queued)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("args", [("wait", "a", "b"), ("wait", "--all")])
def test_an_interrupted_wait_leaves_a_good_terminal(
    queue: Queue, number: int, args: Sequence[str]
) -> None:
    """Regression: the cursor stayed hidden. The line of progress is erased, and the signal itself
    ends the command.
    """
    for name in ("a", "b"):
        queue.enqueue("true", "--id", name)
    waiting = Watch(queue, args=args)
    try:
        wait_until(lambda: "0 of 2  no worker" in waiting.screen, what="the line")
        waiting.process.send_signal(number)
        assert waiting.process.wait(30) == -number
        assert waiting.screen.endswith("\r\x1b[K")
        assert "\x1b[?25l" not in waiting.screen
    finally:
        waiting.close()
