"""When a worker is started again: at once, or after a delay that grows while its starts fail."""

from __future__ import annotations

from typing import Iterator

from queuectl.worker.assignment import Assignment

FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 60.0
_YOUNG_SECONDS = 5.0


def is_crash_loop(*, age_seconds: float, ran_a_job: bool) -> bool:
    """Whether a dead worker counts as one that cannot start: it died young and ran nothing.

    A job that kills its worker does not count: it is limited by the number of its attempts.
    """
    return age_seconds < _YOUNG_SECONDS and not ran_a_job


class Restarts:
    """The workers that are to be started later, and how long each slot has to wait.

    `now` is a time of the monotonic clock.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Assignment]] = []
        self._delays: dict[int, float] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Assignment]:
        """Yield the workers that wait to be started."""
        return (one for _, one in self._waiting)

    def hold_back(self, assignment: Assignment, now: float) -> None:
        """Start a worker at once the first time, then after 1, 2, 4 … 60 seconds."""
        delay = self._delays.get(assignment.slot, 0.0)
        longer = max(2 * delay, FIRST_DELAY_SECONDS)
        self._delays[assignment.slot] = min(longer, _LONGEST_DELAY_SECONDS)
        self._waiting.append((now + delay, assignment))

    def try_again(self, assignment: Assignment, now: float) -> None:
        """Start a worker a little later, because it could not be forked."""
        self._waiting.append((now + FIRST_DELAY_SECONDS, assignment))

    def reset(self, slot: int) -> None:
        """Let the next worker of a slot start without a delay."""
        self._delays.pop(slot, None)

    def keep_recoveries(self) -> None:
        """Start no worker any more, except those that recover the job of a dead one; these now."""
        self._waiting = [(0.0, one) for _, one in self._waiting if one.recovers is not None]

    def take_due(self, now: float) -> list[Assignment]:
        """Return the workers whose time has come; they wait no longer."""
        due = [one for at, one in self._waiting if at <= now]
        self._waiting = [(at, one) for at, one in self._waiting if at > now]
        return due

    def next_at(self) -> float:
        """Return when the next worker is to be started; infinity if none waits."""
        return min((at for at, _ in self._waiting), default=float("inf"))

    def recovered(self) -> set[str]:
        """Return the ids of the dead workers whose jobs the waiting workers will recover."""
        return {one.recovers for _, one in self._waiting if one.recovers is not None}
