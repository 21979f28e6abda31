"""What a worker's log says about an attempt that ended."""

from __future__ import annotations

import logging

from queuectl.core.models import Claim, Outcome, OutcomeKind, Recorded, Verdict
from queuectl.core.states import JobState
from queuectl.core.times import format_duration, utcnow

_log = logging.getLogger(__name__)


def log_release(claim: Claim, verdict: Verdict, recorded: Recorded) -> None:
    """Log that an attempt was cut short, and how its job was released."""
    job_id = claim.job.id
    if recorded is not Recorded.DONE:
        _log_unusual(claim, recorded)
    elif verdict.state is JobState.DEAD:
        _log.warning("%s is dead: %s (queuectl dlq retry %s)", job_id, verdict.last_error, job_id)
    elif verdict.run_at is not None:
        _log.warning(
            "%s was cut short and put back, uncounted: %s, runs again in %s",
            job_id,
            verdict.last_error,
            format_duration(max(0.0, (verdict.run_at - utcnow()).total_seconds())),
        )
    else:
        _log.warning("%s was cut short and put back, uncounted", job_id)


def log_end(claim: Claim, outcome: Outcome, verdict: Verdict, recorded: Recorded) -> None:
    """Log how an attempt ended and what becomes of its job."""
    if recorded is not Recorded.DONE:
        _log_unusual(claim, recorded)
    elif verdict.state is JobState.COMPLETED:
        _log_completed(claim, outcome)
    else:
        _log_failed(claim, outcome, verdict)


def _log_unusual(claim: Claim, recorded: Recorded) -> None:
    if recorded is Recorded.SUPERSEDED:
        _log.warning("this attempt of %s was superseded: its result is dropped", claim.job.id)
    else:
        _log.info("%s was cancelled", claim.job.id)


def _log_completed(claim: Claim, outcome: Outcome) -> None:
    if not _log.isEnabledFor(logging.INFO):
        return
    job_id = claim.job.id
    took = "" if outcome.seconds is None else f" in {format_duration(outcome.seconds)}"
    _log.info(
        "%s completed%s (%d bytes: queuectl logs %s)",
        job_id,
        took,
        outcome.output.size_bytes,
        job_id,
    )


def _log_failed(claim: Claim, outcome: Outcome, verdict: Verdict) -> None:
    job = claim.job
    reason = outcome.reason or ""
    if outcome.kind is OutcomeKind.TIMEOUT:
        reason += " (enqueue --timeout, or config set job-timeout; 0 = none)"
    if verdict.run_at is None:
        _log.warning(
            "%s is dead: %s; attempt %d of %d (queuectl dlq retry %s)",
            job.id,
            reason,
            job.attempts,
            job.max_retries,
            job.id,
        )
        return
    # Not a warning: nobody has to do anything yet, and cron would send it as mail.
    _log.info(
        "%s failed: %s; attempt %d of %d, runs again in %s",
        job.id,
        reason,
        job.attempts,
        job.max_retries,
        format_duration(max(0.0, (verdict.run_at - utcnow()).total_seconds())),
    )
