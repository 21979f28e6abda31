"""The log of a pool about attempts: when they start, and how they end."""

from __future__ import annotations

from typing import Mapping

from queuectl.core.models import Claim, Outcome, OutcomeKind, Recorded, Verdict
from queuectl.core.naming import quoted, title
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, utcnow
from queuectl.host.log import log as _log
from queuectl.worker.tally import Left, Tally

_MOST_CELLS = 200
"""A longer command is cut in its middle."""

_EXITS_AFTER = (
    "this worker exits after it (queuectl resume {} lets it go on,"
    " queuectl worker stop --now puts it back)"
)

_ENDS: Mapping[JobState, bytes] = {
    JobState.COMPLETED: Tally.COMPLETED,
    JobState.DEAD: Tally.DEAD,
}


class Reporter:
    """Logs one line for each event, and keeps the tally of a pool that has one.

    A line names the job by its id. A log may be read by others and kept for long, so command lines,
    which may hold secrets, are in it only if the key log-commands is on.
    """

    def __init__(self, tally: Tally | None = None) -> None:
        self.tally = tally

    def started(self, claim: Claim) -> None:
        """Report that an attempt starts."""
        job = claim.job
        _log.info("%s started (attempt %d of %d)", _name(claim), job.attempts, job.max_retries)

    def not_started(self) -> None:
        """Report that the attempt could not be started and was put back, which is logged."""

    def paused(self, claim: Claim, *, is_paused: bool) -> None:
        """Report that a running job was paused, or was resumed and goes on."""
        _log.info("%s %s", _name(claim), "is paused" if is_paused else "goes on")

    def waits_for_paused(self, claim: Claim) -> None:
        """Report that this worker is to exit after its job, which is paused."""
        exits_after = _EXITS_AFTER.format(quoted(claim.job.id))
        _log.warning("%s is paused; %s", _name(claim), exits_after)

    def look(self) -> None:
        """Report what has become due meanwhile; called about once a second."""

    def left(self, left: Left) -> None:
        """Tell the supervisor how many jobs are left."""
        if self.tally is not None:
            self.tally.show(left)

    def released(self, claim: Claim, verdict: Verdict, recorded: Recorded) -> None:
        """Report that an attempt was cut short, and how its job was released."""
        self._count(claim, verdict, recorded, released=True)
        if recorded is Recorded.SUPERSEDED:
            _log_superseded(claim)
        elif recorded is Recorded.CANCELLED:
            self._say_cancelled(claim)
        elif verdict.state is JobState.DEAD:
            self._say_dead(claim, verdict.last_error or "", None)
        else:
            self._say_released(claim, verdict)

    def ended(self, claim: Claim, outcome: Outcome, verdict: Verdict, recorded: Recorded) -> None:
        """Report how an attempt ended and what becomes of its job."""
        self._count(claim, verdict, recorded)
        if recorded is Recorded.SUPERSEDED:
            _log_superseded(claim)
        elif recorded is Recorded.CANCELLED:
            self._say_cancelled(claim)
        elif verdict.state is JobState.COMPLETED:
            self._say_completed(claim, outcome)
        elif verdict.run_at is None:
            self._say_dead(claim, outcome.reason or "", outcome)
        else:
            self._say_failed(claim, outcome, verdict)

    def _count(
        self, claim: Claim, verdict: Verdict, recorded: Recorded, *, released: bool = False
    ) -> None:
        if self.tally is None or recorded is Recorded.SUPERSEDED:
            return
        if claim.job.hook is not None:  # the exit code with --fail is about what users enqueued
            return
        if recorded is Recorded.CANCELLED:
            self.tally.add(Tally.CANCELLED)
        elif verdict.state in _ENDS:
            self.tally.add(_ENDS[verdict.state])
        elif released:
            self.tally.add(Tally.RELEASED)

    def _say_completed(self, claim: Claim, outcome: Outcome) -> None:
        if not _log.writes_info():
            return
        _log.info(
            "%s completed%s (%d bytes: queuectl logs %s)",
            _name(claim),
            f" in {format_duration(outcome.seconds)}" if outcome.seconds is not None else "",
            outcome.output.size_bytes,
            quoted(claim.job.id),
        )

    # Neither a failed attempt nor a dead job is a warning: both are recorded, and with -q, cron
    # would send a second mail for each.

    def _say_failed(self, claim: Claim, outcome: Outcome, verdict: Verdict) -> None:
        job = claim.job
        _log.info(
            "%s failed: %s; attempt %d of %d, runs again in %s",
            _name(claim),
            _reason(outcome),
            job.attempts,
            job.max_retries,
            time_until_retry(verdict),
        )

    def _say_dead(self, claim: Claim, reason: str, outcome: Outcome | None) -> None:
        job = claim.job
        if outcome is not None:
            reason = f"{_reason(outcome)}; attempt {job.attempts} of {job.max_retries}"
        _log.info("%s is dead: %s (queuectl dlq retry %s)", _name(claim), reason, quoted(job.id))

    def _say_released(self, claim: Claim, verdict: Verdict) -> None:
        if verdict.run_at is None:
            _log.warning("%s was cut short and put back, uncounted", _name(claim))
            return
        _log.warning(
            "%s was cut short and put back, uncounted: %s, runs again in %s",
            _name(claim),
            verdict.last_error,
            time_until_retry(verdict),
        )

    def _say_cancelled(self, claim: Claim) -> None:
        _log.info("%s was cancelled", _name(claim))


def _log_superseded(claim: Claim) -> None:
    _log.warning("this attempt of %s was superseded: its result is dropped", claim.job.id)


def time_until_retry(verdict: Verdict) -> str:
    """Return how long it takes until the retry: `4 s`, or `0.25 s` below one second."""
    assert verdict.run_at is not None
    seconds = max(0.0, (verdict.run_at - utcnow()).total_seconds())
    return format_duration(seconds if seconds < 1 else round(seconds))


def _name(claim: Claim) -> str:
    """Return the id of the job; with the key log-commands also its label or command."""
    job = claim.job
    return (
        job.id
        if claim.settings.log_commands == "off"
        else f"{job.id} ({title(job, cells=_MOST_CELLS)})"
    )


def _reason(outcome: Outcome) -> str:
    hint = " (enqueue --timeout, or config set job-timeout; 0 = none)"
    return (outcome.reason or "") + (hint if outcome.kind is OutcomeKind.TIMEOUT else "")
