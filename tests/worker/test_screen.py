"""The lines that a pool writes on a terminal."""

from __future__ import annotations

import re
import signal
from typing import Sequence

import pytest

from queuectl.core.models import Job
from queuectl.core.states import JobState
from queuectl.worker.screen import Event, event_line
from support import screens
from support.held import UNTIL_GO
from support.queue import Queue
from support.terminal import on_terminal

_CONVERT = "ffmpeg -nostdin -i 'Holiday in Norway 037.mkv' -c:v libx265 'Holiday in Norway 037.mp4'"
_INVALID = "Holiday in Norway 037.mkv: Invalid data found when processing input"


def _job(seq: int, command: str, label: str | None = None) -> Job:
    fields = dict.fromkeys(Job._fields)
    return Job(**{**fields, "seq": seq, "command": command, "label": label})  # type: ignore[arg-type]


_EVENTS = [
    Event(JobState.PROCESSING, _job(7, _CONVERT), "started"),
    Event(JobState.PROCESSING, _job(8, "make\nall"), "started (attempt 2 of 3)"),
    Event(JobState.COMPLETED, _job(9, "true"), "completed in 0.01 s"),
    Event(JobState.COMPLETED, _job(10, _CONVERT, "夏休みの旅行 " * 12), "completed in 12m"),
    Event(JobState.FAILED, _job(11, _CONVERT), "failed 1/3: exit 1, again in 2 s", _INVALID),
    Event(JobState.DEAD, _job(12, _CONVERT), "dead: exit 1", _INVALID),
    Event(JobState.DEAD, _job(13, _CONVERT, "夏休み"), "dead: exit 1", "夏休みの旅行 " * 20),
    Event(JobState.DEAD, _job(14, "exit 3"), "dead: exit 3"),
    Event(JobState.DEAD, _job(15, "exit 3"), "dead: exit 3", "short\x07"),
    Event(JobState.DEAD, _job(16, _CONVERT), "dead: killed after 5m by its timeout", "frame=1"),
    Event(JobState.PENDING, _job(1_234_567, _CONVERT), "put back"),
    Event(JobState.CANCELLED, _job(18, _CONVERT, "nightly build"), "cancelled"),
]


@pytest.mark.parametrize("size", screens.SIZES)
def test_each_event_is_one_line(size: tuple[int, int]) -> None:
    """A line fits into the width whatever the job holds. A title is cut in its middle."""
    lines = [event_line(event, "07:29:05", size[0], colored=False) for event in _EVENTS]

    assert screens.widest("\n".join(lines)) <= size[0]
    screens.compare("\n".join(lines), "worker-start-events", size)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (124, " \u2013 503 Service Unavailable: please try again later [hook photos-done of @17]"),
        (100, " \u2013 503 Service Unavailable: please tr… [photos-done]"),
        (80, " \u2013 503 Service Un… [photos-done]"),
    ],
)
def test_the_name_of_a_hook_is_shown_before_the_number_of_the_job(cells: int, shown: str) -> None:
    """Prevents: in 80 columns the title of its job was `hook … @17`, whichever hook it was."""
    job = _job(18, "deliver")._replace(hook="photos-done", hook_of=17)
    said = "503 Service Unavailable: please try again later"
    event = Event(JobState.FAILED, job, "failed 1/30: exit 1, again in 2 s", said)

    line = event_line(event, "07:29:05", cells, colored=False)
    assert line.partition("in 2 s")[2] == shown


def test_colours_add_no_width() -> None:
    """Without their codes, the lines are the same; only signs are green, and red is bold."""
    lines = [event_line(event, "07:29:05", 80, colored=True) for event in _EVENTS]
    plain = [event_line(event, "07:29:05", 80, colored=False) for event in _EVENTS]

    assert [re.sub("\x1b\\[[0-9;]*m", "", line) for line in lines] == plain
    screens.compare("\n".join(lines), "worker-start-events-in-colour")


@pytest.mark.parametrize("cells", range(12, 60))
def test_a_narrow_terminal_gets_whole_lines_as_well(cells: int) -> None:
    """Whatever is left out, nothing wraps."""
    lines = [event_line(event, "07:29:05", cells, colored=False) for event in _EVENTS]

    assert screens.widest("\n".join(lines)) <= max(cells, len("07:29:05 s @1234567 "))


_START_IS_SHOWN = """
from queuectl.worker import screen
started = screen.ScreenReporter.started
def started_now(reporter, claim):
    screen._START_SECONDS = 0.0 if claim.job.seq == {} else 3600.0
    started(reporter, claim)
screen.ScreenReporter.started = started_now
"""
"""Of which job the start is shown, instead of each that runs for a second on a busy machine."""


def _shown(queue: Queue, *args: str, code: int = 0, go: Sequence[str] = (), **env: str) -> str:
    """Return what a pool shows on its terminal, with the same times in each run.

    Jobs that wait may go on once all of `go` was shown.
    """

    def seen(screen: str) -> None:
        if go and all(text in screen for text in go):
            queue.let_go()

    words = ("worker", "start", "--drain", *args)
    around = {"TERM": "xterm", "HOME": str(queue.folder), **env}
    done = on_terminal(queue, *words, streams="stderr", size=(80, 24), env=around, seen=seen)
    assert (done.code, done.out) == (code, "")
    shown = re.sub(r"again in \d+(\.\d\d)? s", "again in 0.25 s", done.screen.replace("\r", ""))
    return re.sub(r"\d\d:\d\d:\d\d", "07:29:05", screens.stable(shown))


def test_what_a_pool_shows(queue: Queue) -> None:
    """First what was started, then each end with the reason, at last a summary.

    A job that ends soon has one line. No line holds an id.
    """
    queue.env.update(queue.hooked(_START_IS_SHOWN.format(4)))
    queue.configure(backoff_base="1", backoff_jitter="0")
    queue.add("echo ok")
    queue.add(f"echo '{_INVALID}' >&2; exit 1", max_retries=1)
    queue.add("test $QUEUECTL_ATTEMPT = 2 || { echo not yet; exit 7; }", label="flaky")
    queue.add(UNTIL_GO, priority=-1, label="sleep 2.5")
    shown = _shown(queue, "--color", "never", go=["started: sleep 2.5"])

    screens.compare(shown, "worker-start-80x24")


def test_what_a_pool_shows_in_colour(queue: Queue) -> None:
    """NO_COLOR and --color are honoured by the workers as well."""
    queue.add("false", max_retries=1)
    dead = "\x1b[31m\x1b[1m✗ @1 dead: exit 1\x1b[0m [false]"

    assert dead in _shown(queue)
    queue.ok("dlq", "retry", "--all")
    assert "✗ @1 dead: exit 1 [false]" in _shown(queue, NO_COLOR="1")
    queue.ok("dlq", "retry", "--all")
    assert "✗ @1 dead: exit 1 [false]" in _shown(queue, "--color", "never")


def test_with_quiet_a_pool_shows_nothing(queue: Queue) -> None:
    """What fails is recorded."""
    queue.add("false", max_retries=1)

    assert _shown(queue, "-q") == ""


def test_a_pool_with_a_log_file_shows_nothing(queue: Queue) -> None:
    """The log file has ids, since command lines may hold secrets."""
    log = queue.folder / "pool.log"
    job = queue.add("echo secret; false", max_retries=1)

    assert _shown(queue, "--log-file", str(log)) == ""
    assert f"{job} is dead: exit 1; attempt 1 of 1" in log.read_text()
    assert "secret" not in log.read_text()


_INTERRUPT = "kill -INT $(ps -o ppid= $PPID)"
"""A command that does to its pool what Ctrl+C does."""


def test_after_a_stop_the_summary_says_what_is_left(queue: Queue) -> None:
    """Jobs that were not started are pending, and a failed one is to be retried."""
    queue.env.update(queue.hooked(_START_IS_SHOWN.format(1)))
    queue.add(f"{_INTERRUPT}; {UNTIL_GO}; exit 3", label="first")
    queue.add_many("true", "true")
    shown = _shown(queue, "--color", "never", go=["stopping after", "started: first"])

    *begin, end, summary = shown.splitlines()[2:]
    assert sorted(begin) == [
        "07:29:05 stopping after the running jobs (a second signal puts them back)",
        "07:29:05 ▸ @1 started: first",
    ]
    assert end == "07:29:05 ↻ @1 failed 1/3: exit 3, again in 0.25 s [first]"
    assert summary == "07:29:05 1 to be retried, 2 pending"


def test_a_job_that_was_put_back_is_in_the_summary(queue: Queue) -> None:
    """The second Ctrl+C kills the job; the signal itself ends the pool, after the summary."""
    queue.env.update(queue.hooked(_START_IS_SHOWN.format(0)))
    queue.add(f"{_INTERRUPT}; {UNTIL_GO}; {_INTERRUPT}; sleep 60", label="first")
    shown = _shown(queue, "--color", "never", code=-signal.SIGINT, go=["stopping after"])

    assert shown.splitlines()[2:] == [
        "07:29:05 stopping after the running jobs (a second signal puts them back)",
        "07:29:05 killing the running jobs; they are put back",
        "07:29:05 ◦ @1 put back: first",
        "07:29:05 1 put back, 1 pending",
    ]
