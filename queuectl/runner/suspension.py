"""Keeping the processes of an attempt stopped while its job is paused."""

from __future__ import annotations

import time

from queuectl.runner import process_tree
from queuectl.runner.attempt import Events
from queuectl.runner.process_tree import AttemptProcesses

_RETRY_SECONDS = 1.0
"""How long to wait if a process could not be stopped yet."""


class Suspension:
    """The processes of one attempt: whether they are stopped."""

    def __init__(self, attempt: AttemptProcesses, events: Events, *, adopted: bool = False) -> None:
        """`adopted` means that another worker may have stopped them."""
        self._attempt = attempt
        self._events = events
        self._may_be_stopped = False
        self._is_complete = False
        self._adopted = adopted
        self._next_try = 0.0

    def follow(self) -> float:
        """Stop the processes if the job is paused, let them go on if it is not paused any more.

        Returns after how many seconds to call this again, at most.
        """
        pause = self._events.pause
        if not pause.is_known:
            return _RETRY_SECONDS
        if not pause.is_paused:
            # A job that was never paused may have stopped a process of its own.
            if self._may_be_stopped or (self._adopted and pause.seconds > 0):
                self.end()
            self._adopted = False
            return float("inf")
        self._adopted = False
        if self._is_complete:
            return float("inf")
        if time.monotonic() >= self._next_try:
            self._may_be_stopped = True
            self._is_complete = process_tree.stop(
                self._attempt, self._events.may_not_stop, self._events.wait
            )
            self._next_try = time.monotonic() + _RETRY_SECONDS
        return _RETRY_SECONDS

    def end(self) -> None:
        """Let the processes go on if they are stopped, such as those that outlive the attempt."""
        self._may_be_stopped = self._is_complete = False
        self._next_try = 0.0
        process_tree.go_on(self._attempt, self._events.wait)

    def end_with_job(self) -> None:
        """Let go on what a paused job left running: it was ended by somebody else."""
        if self._may_be_stopped:
            self.end()
