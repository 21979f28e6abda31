"""What is shown only on a terminal: `status --watch` and progress bars."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Iterator, Sequence

import click
import pytest

from queuectl.cli import terminal
from queuectl.host.processes import is_suspended
from support.processes import linux_only
from support.queue import Queue
from support.terminal import HOME, Watch, on_terminal
from support.waiting import PATIENCE_SECONDS, wait_until
from support.watch.file_watch import by_hand

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


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

    assert watch.screen.startswith(_ENTER + HOME)
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


@pytest.mark.parametrize("is_being_made", [False, True])
def test_the_default_queue_is_shown_once_it_is_there(queue: Queue, is_being_made: bool) -> None:
    """The display may be started before the first job is enqueued.

    Prevents a bug: if the file was there without tables, the display never showed any job.
    """
    env = {"QUEUECTL_DB": ""}
    place = Path(queue.home, ".local/state/queuectl/queue.db")
    if is_being_made:
        place.parent.mkdir(parents=True, mode=0o700)
        with by_hand():
            place.touch(mode=0o600)
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
        assert watch.process.wait(PATIENCE_SECONDS) == 1
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
    wait_until(lambda: not watch.is_canonical(), what="the keys")
    watch.process.send_signal(number)
    watch.process.wait(PATIENCE_SECONDS)

    assert watch.process.returncode == -number
    assert watch.screen.endswith(_LEAVE)
    assert watch.screen.count(_LEAVE) == 1
    assert watch.is_canonical()


def test_the_key_q_ends_the_display(watch: Watch) -> None:
    """As in less and top, without an Enter. Other keys do nothing, and are not echoed."""
    wait_until(lambda: not watch.is_canonical(), what="the keys")
    watch.press("xyz\n")
    pictures = len(watch.pictures())
    wait_until(lambda: len(watch.pictures()) > pictures, what="a picture after the keys")
    watch.press("q")

    assert watch.process.wait(30) == 0
    assert watch.screen.endswith(_LEAVE)
    assert "xyz" not in watch.screen
    assert watch.is_canonical()


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
        assert watch.is_canonical()
        pictures = len(watch.pictures())
        watch.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(watch.pictures()) > pictures, what="the display")
        assert watch.screen.count(_ENTER) == 2
        wait_until(lambda: not watch.is_canonical(), what="the keys")
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


class _BusyMachine:
    """The clocks of a process that gets hardly any CPU time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now / 1000


def test_progress_goes_on_if_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a bug: a line that took 10 s to make stayed as it was for 200 s."""
    clock = _BusyMachine()
    monkeypatch.setattr(terminal, "time", clock)
    drawn = []

    def text(_width: int) -> str:
        drawn.append(clock.now)
        clock.now += 10
        return ""

    with terminal.progress_line() as line:
        for _ in range(3):
            line.show(text)
            clock.now += 1

    assert drawn == [0, 11, 22]


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
        assert waiting.process.wait(PATIENCE_SECONDS) == -number
        assert waiting.screen.endswith("\r\x1b[K")
        assert "\x1b[?25l" not in waiting.screen
    finally:
        waiting.close()
