"""Outcomes and verdicts that tests record."""

from __future__ import annotations

from queuectl.core.models import Outcome, OutcomeKind, Output, Verdict
from queuectl.core.states import JobState

OK = Outcome(OutcomeKind.OK, exit_code=0)


EXIT_1 = Outcome(OutcomeKind.EXIT, exit_code=1, reason="exit 1")


LOST = Outcome(OutcomeKind.LOST, reason="lost with worker w1")


INTERRUPTED = Outcome(OutcomeKind.INTERRUPTED, signal=15, reason="stopped")


WITH_LOG = Outcome(OutcomeKind.OK, exit_code=0, output=Output(5, False, b"hello", in_file=True))


WITH_TAIL = Outcome(OutcomeKind.OK, exit_code=0, output=Output(5, False, b"hello", in_file=False))


COMPLETED = Verdict(JobState.COMPLETED)


DEAD = Verdict(JobState.DEAD, last_error="exit 1")


def retry_at(instant):
    """The verdict of a failed attempt that is retried at that time."""
    return Verdict(JobState.FAILED, instant, "exit 1")
