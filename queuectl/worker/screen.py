"""The lines of a pool on a terminal: one for each event of an attempt, fitted to the width."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import datetime

from queuectl.core.cells import cut, cut_middle, width
from queuectl.core.escaping import escape
from queuectl.core.models import Claim, Job, Outcome, Recorded, Verdict
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.naming import number, title
from queuectl.core.reasons import short_reason
from queuectl.core.states import SIGNS, JobState
from queuectl.core.times import format_duration, utcnow
from queuectl.runner.output_reader import last_line
from queuectl.worker.reporting import Reporter, time_until_retry
from queuectl.worker.tally import Tally

_START_SECONDS = 1.0
"""How long a job runs before a line says that it has started: shorter ones have one line each."""

_LEAST_TITLE = 10
"""A title with fewer cells says nothing, and is left out."""

_DASH = "\u2013"

# Codes of ECMA-48. Green is only for signs: as text it cannot be read on white.
_RESET, _BOLD, _FAINT, _GREEN, _RED = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m\x1b[1m"


class Event(NamedTuple):
    """The line about a job."""

    state: JobState
    """The state that the sign and the colours stand for."""
    job: Job
    """The job."""
    what: str
    """What happened to it."""
    said: str | None = None
    """The last line of its output, if that explains what happened."""


class Screen:
    """The terminal at stderr, on which all processes of a pool write."""

    def __init__(self, *, colored: bool) -> None:
        self._colored = colored
        # The table of wide characters is loaded now, so that all workers share it.
        width("".join(SIGNS.values()))

    def say(self, text: str, *, faint: bool = False) -> None:
        """Write one line with the time before it."""
        line = cut(f"{_clock(utcnow())} {escape(text)}", columns())
        self._write(f"{_FAINT}{line}{_RESET}" if faint and self._colored else line)

    def show(self, event: Event, at: datetime) -> None:
        """Write the line of an event."""
        self._write(event_line(event, _clock(at), columns(), colored=self._colored))

    def _write(self, line: str) -> None:
        # The terminal may have written ^C at the beginning of this line.
        with suppress(OSError):
            sys.stderr.write(f"\r{line}\n")
            sys.stderr.flush()


class ScreenReporter(Reporter):
    """Names jobs by number and title on a terminal, where `list` would show the same."""

    def __init__(self, screen: Screen, tally: Tally) -> None:
        super().__init__(tally)
        self._screen = screen
        self._starting: tuple[Claim, datetime, float] | None = None
        """The attempt that runs and was not shown yet, when it started, and when to show it."""

    def started(self, claim: Claim) -> None:
        """Show it in a second if it runs for so long."""
        self._starting = claim, utcnow(), time.monotonic() + _START_SECONDS

    def not_started(self) -> None:
        """Show nothing."""
        self._starting = None

    def paused(self, claim: Claim, *, is_paused: bool) -> None:
        """Show that a running job was paused, or was resumed and goes on."""
        self._show(JobState.PROCESSING, claim, "paused" if is_paused else "goes on")

    def waits_for_paused(self, claim: Claim) -> None:
        """Show that this worker is to exit after its job, which is paused."""
        what = f"is paused, and waited for (queuectl resume {number(claim.job)})"
        self._show(JobState.PROCESSING, claim, what)

    def look(self) -> None:
        """Show the running attempt if it is due."""
        if self._starting is None or time.monotonic() < self._starting[2]:
            return
        (claim, at, _), self._starting = self._starting, None
        job = claim.job
        again = f" (attempt {job.attempts} of {job.max_retries})" if job.attempts > 1 else ""
        self._screen.show(Event(JobState.PROCESSING, job, f"started{again}"), at)

    def released(self, claim: Claim, verdict: Verdict, recorded: Recorded) -> None:
        """Show that an attempt was cut short, and how its job was released."""
        self._starting = None
        super().released(claim, verdict, recorded)

    def ended(self, claim: Claim, outcome: Outcome, verdict: Verdict, recorded: Recorded) -> None:
        """Show how an attempt ended and what becomes of its job."""
        self._starting = None
        super().ended(claim, outcome, verdict, recorded)

    def _say_completed(self, claim: Claim, outcome: Outcome) -> None:
        took = "" if outcome.seconds is None else f" in {format_duration(outcome.seconds)}"
        self._show(JobState.COMPLETED, claim, f"completed{took}")

    def _say_failed(self, claim: Claim, outcome: Outcome, verdict: Verdict) -> None:
        job = claim.job
        what = (
            f"failed {job.attempts}/{job.max_retries}: {short_reason(outcome.reason or '')}, "
            f"again in {time_until_retry(verdict)}"
        )
        self._show(JobState.FAILED, claim, what, last_line(outcome.output))

    def _say_dead(self, claim: Claim, reason: str, outcome: Outcome | None) -> None:
        said = None if outcome is None else last_line(outcome.output)
        self._show(JobState.DEAD, claim, f"dead: {short_reason(reason)}", said)

    def _say_released(self, claim: Claim, verdict: Verdict) -> None:
        why = ""
        if verdict.run_at is not None:
            why = f": {verdict.last_error}, again in {time_until_retry(verdict)}"
        self._show(JobState.PENDING, claim, f"put back{why}")

    def _say_cancelled(self, claim: Claim) -> None:
        self._show(JobState.CANCELLED, claim, "cancelled")

    def _show(self, state: JobState, claim: Claim, what: str, said: str | None = None) -> None:
        self._screen.show(Event(state, claim.job, what, said), utcnow())


def event_line(event: Event, at: str, cells: int, *, colored: bool) -> str:
    """Return the line of an event, cut to the width of the terminal (if `what` leaves room).

    `07:29:05 ✗ @17 dead: exit 1 - clip 037.mkv: Invalid data found [ffmpeg … 'clip 037.mp4']`
    """
    sign = SIGNS[event.state]
    what = cut(escape(event.what), max(0, cells - width(f"{at} {sign} {number(event.job)} ")))
    room = cells - width(f"{at} {sign} {number(event.job)} {what}")
    rest = _rest(event, room)
    return _styled(event.state, at, sign, f"{number(event.job)} {what}", rest, colored=colored)


def _rest(event: Event, room: int) -> str:
    """Return the title of the job, and what the job said before it; each may be cut or missing."""
    job, said = event.job, None if event.said is None else escape(event.said)
    name = title(job)
    # Of the title of a hook's job, the name of the hook says most.
    short = name if job.hook is None or job.label is not None else escape(job.hook)
    least = min(_LEAST_TITLE, width(name))
    if said is not None:
        room -= width(f" {_DASH}  []")
        share = max(room // 3, _LEAST_TITLE)
        if short != name:
            share = max(share, min(room // 2, width(short)))
        share = max(room - width(said), share)
        if width(name) > share:
            name = short
        for_name = min(width(name), share)
        if room - for_name < min(_LEAST_TITLE, width(said)):
            return f" {_DASH} {cut(said, room + 3)}" if room > 0 else ""
        return f" {_DASH} {cut(said, room - for_name)} [{cut_middle(name, for_name)}]"
    went_wrong = event.state in (JobState.DEAD, JobState.FAILED)
    before, after = (" [", "]") if went_wrong else (": ", "")
    room -= width(before + after)
    if width(name) > room:
        name = short
    return f"{before}{cut_middle(name, room)}{after}" if room >= least else ""


def _styled(state: JobState, at: str, sign: str, what: str, rest: str, *, colored: bool) -> str:
    if not colored:
        return f"{at} {sign} {what}{rest}"
    if state in (JobState.DEAD, JobState.FAILED):
        marked = f"{_RED}{sign} {what}{_RESET}{rest}"
    elif state is JobState.COMPLETED:
        marked = f"{_GREEN}{sign}{_RESET} {what}{rest}"
    elif state is JobState.PROCESSING:
        marked = f"{_BOLD}{sign}{_RESET} {what}{rest}"
    else:
        marked = f"{_FAINT}{sign} {what}{rest}{_RESET}"
    return f"{_FAINT}{at}{_RESET} {marked}"


def columns() -> int:
    """Return the width of the terminal; COLUMNS comes first."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def _clock(instant: datetime) -> str:
    return f"{instant.astimezone():%H:%M:%S}"
