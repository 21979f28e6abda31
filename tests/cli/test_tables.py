"""Tables as a terminal shows them, compared with stored pictures: no row ever wraps."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from queuectl.cli import listings, output, shown_times
from queuectl.core.models import Outcome, OutcomeKind, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from support import screens
from support.clock import noon
from support.jobs import a_worker, running
from support.queue import Queue
from support.rows import sql
from support.screens import SIZES, widest
from support.terminal import on_terminal

_PLAIN = {"NO_COLOR": "1"}
_LONG_ID = "import-of-the-third-quarter-2026-attempt-with-new-settings"
_LONG_QUEUE = "transcoding-of-holiday-videos"


@pytest.fixture(params=SIZES, ids=lambda size: "x".join(map(str, size)))
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    chosen: tuple[int, int] = request.param
    return chosen


def _look(queue: Queue, words: str, name: str, size: tuple[int, int]) -> str:
    """Run a command on a terminal of that size and compare its screen with the stored one."""
    shown = on_terminal(queue, *words.split(), env=_PLAIN, size=size, streams="stdout stderr")
    assert shown.code == 0, shown
    assert widest(shown.screen) <= size[0]
    screens.compare(screens.stable(shown.screen), name, size)
    return shown.screen


class _Past:
    """Gives a queue jobs with a past; the relative times stay the same for half a minute."""

    def __init__(self, queue: Queue) -> None:
        self._now = utcnow()
        self._storage = queue.storage
        self._workers = 0

    def _ago(self, minutes: float) -> datetime:
        return self._now - timedelta(minutes=minutes, seconds=30)

    def add(self, command: str, minutes: float = 60, **fields: Any) -> str:
        spec = JobSpec(command=command, **fields)
        return self._storage.enqueue([spec], now=self._ago(minutes))[0].id

    def start(self, command: str, minutes: float, **fields: Any) -> None:
        self._claim(command, minutes, **fields)

    def end(self, command: str, minutes: float, **fields: Any) -> None:
        done = Outcome(OutcomeKind.OK, exit_code=0, seconds=1.0)
        verdict = Verdict(JobState.COMPLETED)
        claim = self._claim(command, minutes + 5, **fields)
        self._storage.record(claim, done, verdict, now=self._ago(minutes))

    def fail(self, command: str, minutes: float, reason: str, **fields: Any) -> None:
        """Let a job die, or wait an hour for its retry if it may run more than once."""
        failed = Outcome(OutcomeKind.EXIT, exit_code=1, reason=reason, seconds=1.0)
        verdict = Verdict(JobState.DEAD, last_error=reason)
        if fields.get("max_retries", 3) > 1:
            retry = self._now + timedelta(minutes=50, seconds=30)
            verdict = Verdict(JobState.FAILED, retry, reason)
        claim = self._claim(command, minutes + 5, **fields)
        self._storage.record(claim, failed, verdict, now=self._ago(minutes))

    def _claim(self, command: str, minutes: float, **fields: Any) -> Any:
        priority = fields.get("priority", 0)
        job = self.add(command, 90, **{**fields, "priority": 100})
        self._workers += 1
        claim = self._storage.claim(f"5a5a5a5a-{self._workers}", now=self._ago(minutes))
        assert claim is not None
        assert claim.job.id == job
        self._storage._database.connection.execute(
            "UPDATE jobs SET priority = ? WHERE id = ?", (priority, job)
        )
        return claim


def _mixed(queue: Queue) -> None:
    """Jobs as different as they can be: long ids, wide characters, labels, queues, priorities."""
    past = _Past(queue)
    timeout = "killed after 5m by its timeout"
    encode = "ffmpeg -nostdin -i '{0}.mkv' -c:v libx265 -preset slow '{0}.mp4'"
    past.start(encode.format("clip 215"), 12, queue=_LONG_QUEUE)
    past.start(encode.format("夏休みの旅行 2026"), 3, queue=_LONG_QUEUE)
    past.fail("rsync -a /srv/data backup:/srv", 2, "exit 23")
    past.fail(encode.format("clip 037"), 4, timeout, max_retries=1, queue=_LONG_QUEUE)
    past.fail("nosuchcommand --with 'some arguments'", 7, "exit 127", max_retries=1, id="once")
    past.fail("./segfault", 9, "killed by signal 11 (SEGV)", max_retries=1, priority=-5)
    past.add("python3 -m reports.quarterly --verbose", id=_LONG_ID)
    past.add("make -C /usr/src/linux all", label="nightly build", priority=7, queue="ビデオ")
    past.add("true", id="ビデオ", queue="動画")
    past.add("echo one\necho \x1b[31mtwo", id="two-lines")
    past.add("sleep 1", run_at=datetime.fromisoformat("2057-10-09T13:46:40+00:00"))
    past.end("gzip -9 access.log", 15)
    past.end("x" * 300, 20, max_retries=10)


def test_list(queue: Queue, size: tuple[int, int]) -> None:
    """Long ids and queues leave room for the others; wide characters shift nothing."""
    _mixed(queue)

    _look(queue, "list", "list-mixed", size)


def test_dlq_list(queue: Queue, size: tuple[int, int]) -> None:
    """Reasons are short; the last death is the last row."""
    _mixed(queue)

    _look(queue, "dlq list", "dlq-mixed", size)


def test_queue_list(queue: Queue, size: tuple[int, int]) -> None:
    """Numbers are aligned on the right, and what is no pause or limit of any queue is left out."""
    _mixed(queue)
    _look(queue, "queue list", "queues-mixed", size)

    queue.close_storage()
    reason = "the disk is full, and nobody who could make it larger is here before Monday"
    queue.ok("queue", "pause", "動画", "--reason", reason, env={"LOGNAME": "ann"})
    queue.ok("queue", "limit", _LONG_QUEUE, "2")
    ago = to_text(utcnow() - timedelta(hours=2, minutes=30))
    sql(queue.storage, "UPDATE queues SET paused_at = ? WHERE paused_at IS NOT NULL", ago)
    queue.close_storage()
    _look(queue, "queue list", "queues-paused", size)


def test_config_list(queue: Queue, size: tuple[int, int]) -> None:
    """Each key takes one line; a long value is cut."""
    queue.ok("config", "set", "capture-env", "PATH,LANG,VIRTUAL_ENV,PYTHONPATH,EDITOR")

    _look(queue, "config list", "config", size)


def test_similar_commands(queue: Queue, size: tuple[int, int]) -> None:
    """300 of them: what they have in common is cut, so that they can be told apart."""
    past = _Past(queue)
    for number in (1, 2, 3, 4):
        past.start(_encode(number), 4 - number)
    past.fail(_encode(5), 2, "exit 1", max_retries=1)
    for number in range(6, 301):
        past.add(_encode(number))

    screen = _look(queue, "list", "list-similar", size)

    commands = [line.split("  ")[-1] for line in screen.splitlines() if line[0] == "@"]
    assert len(set(commands)) == len(commands)


def _encode(number: int) -> str:
    clip = f"/srv/media/holiday 2026/summer/clip {number:03}"
    return f"ffmpeg -nostdin -i '{clip}.mkv' -c:v libx264 -crf 20 -c:a copy '{clip}.mp4'"


def test_many_jobs(queue: Queue, size: tuple[int, int]) -> None:
    """Of 10,000 jobs those are listed for which the screen has room."""
    queue.add_many(*[f"process --item {number}" for number in range(9_998)])
    past = _Past(queue)  # only now, since that may take long
    past.start("sleep 100", 1)
    past.end("sleep 1", 3)
    queue.storage._database.connection.execute(
        "UPDATE jobs SET updated_at = (SELECT max(created_at) FROM jobs WHERE state = 'completed')"
    )

    screen = _look(queue, "list", "list-many", size)

    assert screen.count("\n") == size[1] - 1


def test_workers(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has one line with what it runs, and since when."""
    for module in (listings, output, shown_times):
        monkeypatch.setattr(module, "on_terminal", lambda: True)
    monkeypatch.setattr(output, "line_width", lambda: size[0])
    monkeypatch.setattr(listings, "utcnow", lambda: noon(300))
    jobs = [running(at, _encode(at), noon(0), id=f"j{at}") for at in (9, 10)]
    queues = ("default", _LONG_QUEUE, "動画")
    workers = [a_worker(1, "j9", queues=queues), a_worker(2, "j10"), a_worker(3)]

    listings.print_workers(
        workers, lambda worker: next((job for job in jobs if job.id == worker.job), None)
    )

    screen = capsys.readouterr().out
    assert widest(screen) <= size[0]
    screens.compare(screen, "workers", size)


def test_a_running_worker(queue: Queue) -> None:
    """It is listed with the number and the command of its job."""
    queue.add("sleep 60", label="a nap")
    queue.start()
    queue.until(queue.jobs()[0].id, "processing")
    queue.close_storage()

    shown = on_terminal(queue, "worker", "list", env=_PLAIN, size=(80, 24)).screen

    assert re.search(
        r"^[0-9a-f]{8}-1 +\d+ +\d+ \w+ ago +@1 +for \d+ \w+ +a nap$", shown, re.MULTILINE
    ), shown


def test_pages_have_the_same_columns(queue: Queue) -> None:
    """Regression: each page of 500 rows had its own widths."""
    specs = [
        JobSpec(
            command=f"run {n}",
            id=f"job-{n}" + "x" * (n == 1700) * 9,
            queue=f"q{n // 500}",
            label=f"number {n}" if n > 900 else None,
        )
        for n in range(2000)
    ]
    queue.storage.enqueue(specs, now=utcnow())
    queue.close_storage()

    for env in ({}, {"COLUMNS": "200"}):
        lines = queue.run("list", env=env).out.splitlines()

        assert len(lines) == 2001
        assert {line.index("run " if line[0] == "j" else "COMMAND") for line in lines} == {
            lines[0].index("COMMAND")
        }


@pytest.mark.parametrize("columns", range(1, 60, 7))
def test_a_very_narrow_terminal(queue: Queue, columns: int) -> None:
    """Nothing wraps as long as each column has one cell."""
    _mixed(queue)
    queue.close_storage()

    for words in ("list", "dlq list", "queue list", "config list"):
        shown = queue.run(*words.split(), env={"COLUMNS": str(columns)})
        assert shown.code == 0
        assert widest(shown.out) <= max(columns, 30)


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        (80, "JOB ID STATE QUEUE PRIO RUNS WHEN COMMAND"),
        (44, "JOB ID STATE RUNS WHEN COMMAND"),
        (38, "JOB ID STATE WHEN COMMAND"),
    ],
)
def test_a_narrow_terminal_has_fewer_columns(queue: Queue, columns: int, header: str) -> None:
    """Regression: at 40 columns each one was cut to a few cells, so that none could be read."""
    queue.enqueue("true", "--id", "one")
    queue.enqueue("true", "--id", "two", "--queue", "other", "--priority", "1")
    queue.close_storage()
    shown = on_terminal(queue, "list", env=_PLAIN, size=(columns, 12), streams="stdout stderr")

    assert shown.screen.splitlines()[0].split() == header.split()


def test_columns_is_honoured_off_a_terminal(queue: Queue) -> None:
    """As in `watch queuectl list`. Without it nothing is cut."""
    queue.enqueue("echo " + "x" * 200, "--id", "a")

    assert widest(queue.ok("list", env={"COLUMNS": "80"})) == 80
    assert "x" * 200 in queue.ok("list")
    assert "x" * 200 in queue.ok("list", env={"COLUMNS": "none"})
    assert "x" * 200 in queue.ok("list", env={"COLUMNS": "0"})


def test_times_and_states_are_cut_last(queue: Queue) -> None:
    """Off a terminal, with COLUMNS, times are long; names and commands give way."""
    _mixed(queue)
    queue.close_storage()

    header, *rows = queue.run("list", env={"COLUMNS": "80"}).out.splitlines()

    assert header.split()[1:6] == ["STATE", "QUEUE", "PRIO", "RUNS", "UPDATED"]
    for row in rows:
        assert re.search(r" [a-z]{4,} .* \d/\d+ +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", row), row


def test_an_error_message_in_a_table_is_cut(queue: Queue) -> None:
    """A reason may come from another program."""
    past = _Past(queue)
    past.fail("true", 1, "no such thing " * 30, max_retries=1)
    queue.close_storage()

    shown = on_terminal(queue, "dlq", "list", size=(80, 24), env=_PLAIN).screen

    assert widest(shown) == 80
    assert "no such thing no such thing" in shown
    assert shown.splitlines()[1].endswith("true")
