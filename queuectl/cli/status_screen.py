"""The lines of `status --watch`, which `status` also shows on a terminal, below its block."""

from __future__ import annotations

from datetime import datetime
from typing import Callable, List, Mapping, Optional, Sequence, Tuple

from queuectl.cli import colors, output
from queuectl.cli.attention import terminal_lines
from queuectl.cli.progress import LONGEST_BAR, SHORTEST_BAR, QueueProgress, bar_pieces
from queuectl.core import naming
from queuectl.core.cells import cut, cut_middle, pad
from queuectl.core.cells import width as cells
from queuectl.core.counts import counted
from queuectl.core.escaping import escape
from queuectl.core.estimates import HOLD_WORDS, about, rate
from queuectl.core.findings import Finding
from queuectl.core.models import Job, Worker
from queuectl.core.moments import distance, lasting_in_short
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.reasons import short_reason
from queuectl.core.sparkline import sparkline
from queuectl.core.states import SIGNS, JobState

MOST_DEAD = 5
"""How many dead jobs are shown at most."""

MOST_QUEUES = 10
"""How many queues are shown at most."""

_MOST_RUNNING = 20
_NO_LIMIT = 1000
_WIDEST_NAME, _WIDEST_REASON = 20, 24
_GAP = 2

_SHORTEST_PATH = 10

_Piece = Tuple[str, Optional[Callable[[str], str]]]
"""A text, and the function that styles it."""
_Line = List[_Piece]
_SPACE: _Piece = ("  ", None)


class DeadJob(NamedTuple):
    """A dead job, with what it printed last."""

    job: Job
    """The job."""
    last_line: str | None
    """The last line that it printed; None if it printed nothing."""


class Snapshot(NamedTuple):
    """All that the screen shows at one moment."""

    now: datetime
    """The moment."""
    counts: Mapping[JobState, int]
    """The number of all jobs in each of the eight states."""
    queues: Sequence[QueueProgress]
    """The queues with unfinished jobs, in the order in which they are shown."""
    running: Sequence[Job]
    """The running jobs, the one that has run longest first; the last ones may be missing."""
    dead: Sequence[DeadJob]
    """The jobs that died last, newest first."""
    workers: Sequence[Worker]
    """The living workers."""
    database: str
    """The path of the database, as it is shown."""
    findings: Sequence[Finding] = ()
    """The findings, the worst first."""
    ended: Sequence[int] = ()
    """How many jobs ended in each of the last minutes, the present one last."""


def screen(snapshot: Snapshot, width: int, height: int | None = None) -> list[str]:
    """Return styled lines of at most `width` cells, and at most `height` of them.

    In a low window, running jobs are left out before anything else.
    """
    room = _NO_LIMIT if height is None else height
    findings = terminal_lines(snapshot.findings, width, max(3, room // 3))
    queues = _queue_lines(snapshot, width, max(1, min(MOST_QUEUES, room // 4)))
    dead = _dead_lines(snapshot, width)[: room // 6]
    last = [_last_line(snapshot, width)]
    taken = len(findings) + len(queues) + len(dead) + len(last)
    most = _MOST_RUNNING if height is None else room - taken
    running = _running_lines(snapshot, width, most)
    spare = room - taken - len(running)
    groups = [findings, queues, running, dead, last]
    ended = _ended_lines(snapshot, width)
    # It is left out before the groups would have to stand without blank lines between them.
    if spare >= len(ended) + sum(map(bool, groups)):
        groups.insert(-1, ended)
        spare -= len(ended)
    lines: list[_Line] = []
    for group in groups:
        if lines and group and spare > 0:
            lines.append([])
            spare -= 1
        lines += group
    return [_rendered(line, width) for line in lines[-room:]]


def _queue_lines(snapshot: Snapshot, width: int, at_most: int) -> list[_Line]:
    queues = snapshot.queues
    if not queues:
        return [_nothing_left(snapshot.counts)]
    shown = queues if len(queues) <= at_most else queues[: max(1, at_most - 1)]
    lines = _bars(shown, width)
    if len(shown) < len(queues) and len(shown) < at_most:
        more = f"… {len(queues) - len(shown)} more queues: queuectl queue list"
        lines.append([(more, colors.faint)])
    return lines


def _nothing_left(counts: Mapping[JobState, int]) -> _Line:
    if not any(counts.values()):
        return [("no jobs yet (queuectl enqueue COMMAND)", None)]
    line: _Line = [("nothing left to do", None)]
    for state in (JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED):
        if counts[state]:
            line += [_SPACE, _counted(state, counts[state])]
    return line


def _bars(queues: Sequence[QueueProgress], width: int) -> list[_Line]:
    """Return one line per queue: its name, a bar, and what is to be said of it in columns."""
    names = [cut_middle(escape(queue.status.name), _WIDEST_NAME) for queue in queues]
    name_width = max(map(cells, names))
    columns = {column: [column(queue) for queue in queues] for column in _COLUMNS}
    widths = {column: max(cells(text) for text, _ in pieces) for column, pieces in columns.items()}
    for left_out in _LEFT_OUT:
        shown = [column for column in _COLUMNS if widths[column] and column not in left_out]
        room = width - name_width - _GAP - sum(widths[column] + _GAP for column in shown)
        if room >= SHORTEST_BAR:
            break
    lines: list[_Line] = []
    for at, queue in enumerate(queues):
        line: _Line = [(pad(names[at], name_width), colors.strong)]
        if room >= SHORTEST_BAR:
            line += [_SPACE, *_bar(queue, min(room, LONGEST_BAR))]
        for column in shown:
            text, style = columns[column][at]
            line += [_SPACE, (pad(text, widths[column]), style)]
        lines.append(line)
    return lines


def _bar(queue: QueueProgress, length: int) -> _Line:
    total = queue.done + queue.left
    if not total:
        return [(" " * length, None)]
    return [*bar_pieces(queue.done, queue.ended[JobState.DEAD], total, length)]


def _done(queue: QueueProgress) -> _Piece:
    if queue.left:
        return f"{queue.done} of {queue.done + queue.left}", None
    return _counted(JobState.SCHEDULED, queue.status.counts[JobState.SCHEDULED])


def _processing(queue: QueueProgress) -> _Piece:
    return _counted(JobState.PROCESSING, queue.status.counts[JobState.PROCESSING])


def _paused(queue: QueueProgress) -> _Piece:
    paused = sum(queue.status.paused_jobs.values())
    return f"{paused} paused" if paused else "", None


def _limit(queue: QueueProgress) -> _Piece:
    return "" if queue.status.limit is None else f"limit {queue.status.limit}", None


def _failed(queue: QueueProgress) -> _Piece:
    return _counted(JobState.FAILED, queue.status.counts[JobState.FAILED])


def _dead(queue: QueueProgress) -> _Piece:
    return _counted(JobState.DEAD, queue.ended[JobState.DEAD])


def _rate(queue: QueueProgress) -> _Piece:
    per_second = queue.estimate.per_second
    return "" if per_second is None else rate(per_second), None


def _time(queue: QueueProgress) -> _Piece:
    seconds, hold = queue.estimate.seconds, queue.estimate.hold
    if seconds is not None:
        return about(seconds), colors.strong
    return "" if hold is None else HOLD_WORDS[hold], colors.strong


def _time_left(queue: QueueProgress) -> _Piece:
    text, style = _time(queue)
    return text if queue.estimate.seconds is None else f"{text} left", style


_COLUMNS = (_done, _processing, _paused, _limit, _failed, _dead, _rate, _time, _time_left)
_LEFT_OUT = ((_time,), (_time, _rate), (_time_left, _rate), (_time_left, _rate, _failed, _limit))
"""Columns to leave out, those of least worth first, until there is room for a bar."""


def _counted(state: JobState, jobs: int) -> _Piece:
    """Return a number of jobs with the name of their state; empty for none."""
    if not jobs:
        return "", None
    style = colors.bad if state in (JobState.DEAD, JobState.FAILED) else None
    return f"{jobs} {state.value}", style


def _running_lines(snapshot: Snapshot, width: int, at_most: int) -> list[_Line]:
    """Return one line per running job; if some are missing, the last line says how many."""
    running = max(len(snapshot.running), snapshot.counts[JobState.PROCESSING])
    if at_most < 1 or not running:
        return []
    fits = running <= at_most and running == len(snapshot.running)
    jobs = snapshot.running if fits else snapshot.running[: at_most - 1]
    rows = [[naming.number(job), _since(job, snapshot.now), _queue(job, snapshot)] for job in jobs]
    titles: list[list[_Piece]] = [[(naming.title(job), None)] for job in jobs]
    lines = _group(JobState.PROCESSING, rows, titles, width)
    if not fits:
        more = f"… {running - len(jobs)} more: queuectl list --state processing"
        lines.append([(" " * _label_width(JobState.PROCESSING) + more, colors.faint)])
    return lines


def _since(job: Job, now: datetime) -> str:
    if job.paused_at is not None:
        return f"paused {lasting_in_short(job.paused_at, now=now)}"
    return "" if job.locked_at is None else lasting_in_short(job.locked_at, now=now)


def _queue(job: Job, snapshot: Snapshot) -> str:
    """Return the queue of a job, if there is more than one."""
    several = len(snapshot.queues) > 1
    return cut_middle(escape(job.queue), _WIDEST_NAME) if several else ""


def _dead_lines(snapshot: Snapshot, width: int) -> list[_Line]:
    rows, texts = [], []
    for job, last_line in snapshot.dead:
        died = "" if job.finished_at is None else distance(job.finished_at, now=snapshot.now)
        rows.append([naming.number(job), died, _queue(job, snapshot)])
        reason = cut(escape(short_reason(job.last_error or "dead")), _WIDEST_REASON)
        said = naming.title(job) if last_line is None else escape(last_line)
        texts.append([(f"{reason}: ", colors.bad), (said, None)])
    return _group(JobState.DEAD, rows, texts, width)


def _ended_lines(snapshot: Snapshot, width: int) -> list[_Line]:
    """Return how many jobs ended in each of the last minutes, as bars; nothing if none did."""
    ended = snapshot.ended
    if not any(ended):
        return []
    label = pad("ended", _label_width(JobState.PROCESSING))
    bars = sparkline(ended, ascii_only=output.needs_ascii())
    about_them = f"last {len(ended)} min, at most {max(ended):,} per min"
    room = width - cells(label) - len(ended) - _GAP - cells(about_them)
    line: _Line = [(label, colors.strong), (bars, None), _SPACE, (about_them, colors.faint)]
    return [line] if room >= 0 else []


def _group(
    state: JobState, rows: Sequence[Sequence[str]], texts: Sequence[Sequence[_Piece]], width: int
) -> list[_Line]:
    """Return lines that begin with the state, on the first line only, then columns, then a text.

    The last piece of the text is cut in its middle if it is too long.
    """
    if not rows:
        return []
    label = _label(state)
    indent = _label_width(state)
    widths = [max(map(cells, column)) for column in zip(*rows)]
    lines = []
    for number, (row, text) in enumerate(zip(rows, texts)):
        line: _Line = [(pad("" if number else label, indent), _style_of(state))]
        for cell, most in zip(row, widths):
            if most:
                line += [(pad(cell, most), colors.faint if cell is not row[0] else None), _SPACE]
        *before, (last, style) = text
        taken = sum(cells(piece) for piece, _ in [*line, *before])
        lines.append([*line, *before, (cut_middle(last, max(0, width - taken)), style)])
    return lines


def _label(state: JobState) -> str:
    return state.value if output.needs_ascii() else f"{SIGNS[state]} {state.value}"


def _label_width(state: JobState) -> int:
    """Return how wide the label of a state is; those of running and dead jobs are equally wide."""
    return cells(_label(JobState.PROCESSING)) + _GAP


def _style_of(state: JobState) -> Callable[[str], str]:
    return colors.bad if state is JobState.DEAD else colors.strong


def _last_line(snapshot: Snapshot, width: int) -> _Line:
    """Return the line about the workers, how to stop them, and the database."""
    workers = _workers(snapshot)
    stop = "queuectl worker stop" if snapshot.workers else "queuectl worker start"
    separator = " - " if output.needs_ascii() else " · "
    room = width - cells(workers) - cells(stop) - 2 * cells(separator)
    line: _Line = [(workers, None), (separator, colors.faint), (stop, colors.faint)]
    if room >= _SHORTEST_PATH:
        line += [(separator, colors.faint), (cut_middle(snapshot.database, room), colors.faint)]
    return line


def _workers(snapshot: Snapshot) -> str:
    """Return what the workers do, in a few words: `4 workers: 3 busy, 1 idle`."""
    workers = snapshot.workers
    if not workers:
        return "no workers"
    busy = sum(worker.job is not None and worker.problem is None for worker in workers)
    idle = sum(worker.job is None and worker.problem is None for worker in workers)
    said = [f"{many} {word}" for many, word in ((busy, "busy"), (idle, "idle")) if many]
    problems = [escape(worker.problem) for worker in workers if worker.problem is not None]
    said += [f"{problems.count(problem)} {problem}" for problem in dict.fromkeys(problems)]
    return f"{counted(len(workers), 'worker')}: {', '.join(said)}"


def _rendered(line: _Line, width: int) -> str:
    """Return a line with its styles, cut to the width."""
    shown = []
    room = width
    while line and not line[-1][0].strip():
        line = line[:-1]
    for number, (text, style) in enumerate(line):
        if number == len(line) - 1:
            text = text.rstrip()
        text = cut(text, room)
        room -= cells(text)
        shown.append(text if style is None or not text.strip() else style(text))
    return "".join(shown)
