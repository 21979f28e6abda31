"""The lines of `status` and `status --watch` on a terminal, compared with stored pictures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Sequence

import click
import pytest

from queuectl.cli.progress import QueueProgress
from queuectl.cli.status_screen import DeadJob, Snapshot, screen
from queuectl.core.estimates import Estimate, Hold
from queuectl.core.findings import Finding, Severity
from queuectl.core.models import Job, QueueStatus, Worker
from queuectl.core.states import UNFINISHED_STATES, JobState
from support import screens
from support.clock import noon
from support.jobs import a_worker, dead, running

_NOW = noon(0)
_HOME = "~/.local/state/queuectl/queue.db"
_INVALID = "Invalid data found when processing input"
_HALF_AN_HOUR = Estimate(35 * 60.0, 2.46 / 60)


def _queue(
    name: str,
    found: Estimate,
    *,
    limit: int | None = None,
    completed: int = 0,
    dead: int = 0,
    **counts: int,
) -> QueueProgress:
    """Return a queue with so many jobs; so many of those to do now have completed or died."""
    counted = {state: counts.get(state.value, 0) for state in JobState}
    left = sum(counted[state] for state in UNFINISHED_STATES if state is not JobState.SCHEDULED)
    paused = found.hold is Hold.PAUSED
    status = QueueStatus(name, paused, None, None, None, limit, counted)
    ended = {JobState.COMPLETED: completed, JobState.DEAD: dead, JobState.CANCELLED: 0}
    return QueueProgress(status, left, ended, found)


def _snapshot(
    queues: Sequence[QueueProgress] = (),
    running: Sequence[Job] = (),
    died: Sequence[DeadJob] = (),
    workers: Sequence[Worker] = (),
    **counts: int,
) -> Snapshot:
    """Return what there is to show; the counts are those of the queues, unless others are given."""
    total = {state: counts.get(state.value, 0) for state in JobState}
    for queue in queues:
        for state in JobState:
            total[state] += queue.status.counts[state] + queue.ended.get(state, 0)
    return Snapshot(_NOW, total, queues, running, died, workers, _HOME)


def _convert(number: int) -> str:
    return f"ffmpeg -nostdin -i 'clip {number}.mkv' -c:v libx265 'clip {number}.mp4'"


def _minutes(minutes: float) -> Any:
    return _NOW - timedelta(minutes=minutes)


def _dead_clips(count: int) -> list[DeadJob]:
    return [
        DeadJob(dead(190 - 20 * n, _convert(190 - 20 * n), _minutes(3 + 21 * n)), said)
        for n, said in zip(range(count), [f"clip 190.mkv: {_INVALID}", None] + ["x"] * count)
    ]


def _empty() -> Snapshot:
    return _snapshot()


def _finished() -> Snapshot:
    return _snapshot(
        died=_dead_clips(5), workers=[a_worker(1), a_worker(2)],
        completed=292, dead=8, cancelled=300,
    )  # fmt: skip


def _batch() -> Snapshot:
    """300 jobs were enqueued; 4 run and 8 are dead."""
    return _snapshot(
        [_queue("default", _HALF_AN_HOUR, completed=206, dead=8, pending=80, failed=2,
                processing=4)],
        [running(215 + n, _convert(215 + n), _minutes(12.7 - 3 * n)) for n in range(4)],
        _dead_clips(5),
        [a_worker(n, "x") for n in range(4)],
    )  # fmt: skip


def _sixteen() -> Snapshot:
    """16 workers run jobs of a batch of 300."""
    jobs = [running(41 + n, _convert(41 + n), _minutes(33 - 2 * n)) for n in range(16)]
    jobs[3] = running(44, "true", _minutes(27), label="nightly build")
    return _snapshot(
        [_queue("default", Estimate(7810.0, 1.2 / 60), completed=36, dead=4, pending=244,
                processing=16)],
        jobs,
        _dead_clips(4),
        [a_worker(n, "x") for n in range(16)],
    )  # fmt: skip


def _queues() -> Snapshot:
    """Four queues: a limited one, a paused one, and one with jobs for later."""
    workers = [a_worker(1, "x"), a_worker(2, "x"), a_worker(3)]
    return _snapshot(
        [
            _queue("builds", Estimate(43.0, 1.5), completed=118, pending=52, processing=1),
            _queue("gpu", Estimate(), limit=1, completed=1, pending=11, processing=1),
            _queue("mail", Estimate(hold=Hold.PAUSED), pending=40, failed=3),
            _queue("nightly", Estimate(hold=Hold.SCHEDULED), scheduled=3),
        ],
        [running(90, "python train.py --epochs 90", _minutes(200), queue="gpu"),
         running(171, "make -C /srv/build all", _minutes(0.4), queue="builds")],
        [DeadJob(dead(7, "mail -s 'a' b", _minutes(2000), queue="mail",
                      last_error="killed after 5m by its timeout"), "connecting\x1b[31m…")],
        [*workers, a_worker(4, problem="stopped (kill -CONT 104)")],
    )  # fmt: skip


def _wide() -> Snapshot:
    """Names, commands and output with wide characters."""
    archive, video = "動画の変換とアーカイブのための順番待ち", "夏休みの旅行の動画"
    return _snapshot(
        [_queue(archive, _HALF_AN_HOUR, completed=3, dead=1,
                pending=80, processing=2),
         _queue("e\u0301te\u0301", Estimate(hold=Hold.NO_WORKER), pending=2)],
        [running(8, f"ffmpeg -i {video}.mkv {video}の変換済み.mp4", _minutes(3), queue=archive),
         running(9, "true", _minutes(1), label="夏休み" * 20, queue="default")],
        [DeadJob(dead(5, "x", _minutes(1)), f"{video}: " + "無効なデータ" * 12)],
        [a_worker(1, "x"), a_worker(2, "x")],
    )  # fmt: skip


def _wrong() -> Snapshot:
    """No worker serves a queue, one is paused, and jobs died."""
    return _snapshot(
        [_queue("default", _HALF_AN_HOUR, completed=206, dead=8, pending=80, processing=2),
         _queue("mail", Estimate(hold=Hold.NO_WORKER), pending=1204),
         _queue("x", Estimate(hold=Hold.PAUSED), pending=1)],
        [running(215 + n, _convert(215 + n), _minutes(12.7 - 3 * n)) for n in range(2)],
        _dead_clips(5),
        [a_worker(n, "x") for n in range(2)],
    )._replace(
        findings=[
            _critical("No worker serves the queue mail: 1,204 jobs wait, the oldest for 41 min",
                      "queuectl worker start --queue mail"),
            _critical("14 jobs died in the last hour, 11 of them in the same way: exit 12",
                      "queuectl dlq list --since 1h"),
            Finding("paused", Severity.WARNING,
                    "The queue x was paused 2 h ago by ada: 1 job waits", None,
                    "queuectl queue resume x"),
            Finding("clock", Severity.WARNING, "The clock was set back: the last change of a job "
                    "lies 12 min in the future"),
        ],
        ended=[*range(9), 0, 0, 30, *range(18)],
    )  # fmt: skip


def _critical(message: str, remedy: str) -> Finding:
    return Finding("a-code", Severity.CRITICAL, message, None, remedy)


_CASES = [_wrong, _empty, _finished, _batch, _sixteen, _queues, _wide]


@pytest.mark.parametrize("size", screens.SIZES, ids=str)
@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.__name__)
def test_the_screen(case: Any, size: tuple[int, int]) -> None:
    """Each line fits, the lines are no more than there is room for, and they look as stored."""
    width, height = size
    lines = [click.unstyle(line) for line in screen(case(), width - 1, height)]

    assert screens.widest("\n".join(lines)) < width
    assert len(lines) <= height
    screens.compare("\n".join(lines), f"watch{case.__name__.replace('_', '-')}", size)


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("width", [1, 10, 39, 60, 79, 100, 300])
@pytest.mark.parametrize("height", [1, 2, 5, 12, 24, None])
def test_every_size_is_kept_to(case: Any, width: int, height: int | None) -> None:
    """No line wraps and nothing is pushed off the screen, however small the window is."""
    lines = screen(case(), width, height)

    assert screens.widest("\n".join(lines)) <= width
    assert 0 < len(lines) <= (height or 100)


def test_a_low_window_says_what_is_missing() -> None:
    """Regression: in a low window the workers were missing without a hint."""
    lines = [click.unstyle(line) for line in screen(_sixteen(), 79, 10)]

    assert len(lines) == 10
    assert [line for line in lines if "…" in line and "more" in line] == [
        "              … 10 more: queuectl list --state processing"
    ]
    assert lines[-1].startswith("16 workers: 16 busy")


def test_a_long_finding_has_a_second_line() -> None:
    """Regression: `status` cut it just before it said why the jobs had died."""
    message = "2,205 jobs died in the last hour, 21 of the last 100 in the same way: timeout 0.05 s"
    shown = _wrong()._replace(findings=[_critical(message, "queuectl dlq list --since 1h")])

    assert [click.unstyle(line) for line in screen(shown, 79, 24)][:4] == [
        "Attention:",
        "  ! 2,205 jobs died in the last hour, 21 of the last 100 in the same way:",
        "    timeout 0.05 s",
        "    queuectl dlq list --since 1h",
    ]


def test_nothing_drives_the_terminal() -> None:
    """Names, commands, reasons, output and problems may hold anything."""
    evil = "a\x1b]0;b\x07\r\n\u202e"
    shown = _snapshot(
        [_queue(evil, Estimate(), pending=1, processing=1), _queue("b", Estimate(), pending=1)],
        [running(1, evil, _minutes(1), queue=evil), running(2, "x", _minutes(1), label=evil)],
        [DeadJob(dead(3, "x", _minutes(1), last_error=evil, queue=evil), evil)],
        [a_worker(1, problem=evil)],
    )._replace(findings=[_critical(evil, evil)])
    lines = [click.unstyle(line) for line in screen(shown, 200)]

    assert all(line.isprintable() for line in lines)
    assert sum("a\\x1b]0;b" in line for line in lines) == 6


def test_many_queues() -> None:
    """The last line about queues says how many are missing."""
    many = [_queue(f"q{n:02}", Estimate(), pending=1) for n in range(40)]
    lines = [click.unstyle(line) for line in screen(_snapshot(many), 79, 24)]

    assert lines[:6] == [f"q{n:02}  {'░' * 30}  0 of 1" for n in range(5)] + [
        "… 35 more queues: queuectl queue list"
    ]


def test_styles() -> None:
    """Dead jobs are bold red, and neither yellow, cyan nor bright black is used."""
    text = "\n".join(screen(_batch(), 119, 40))

    assert "\x1b[31m\x1b[1m✗ dead" in text
    assert not [code for code in ("\x1b[33m", "\x1b[36m", "\x1b[90m") if code in text]
