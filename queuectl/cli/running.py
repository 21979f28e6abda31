"""Running a batch in the foreground: a pool of its own, and what becomes of each job."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

from queuectl.cli import output
from queuectl.cli.job_output import print_last_attempt
from queuectl.cli.progress import bar, time_left
from queuectl.cli.status_line import StatusLine
from queuectl.core.cells import cut, cut_middle, width
from queuectl.core.errors import JobDeleted, NoSuchJob, WrongState
from queuectl.core.models import Job, OutcomeKind, Selection
from queuectl.core.naming import number, title
from queuectl.core.reasons import short_reason
from queuectl.core.states import FINISHED_STATES, UNFINISHED_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.host.pools import LivingProcess, living_pools
from queuectl.host.program import another_call
from queuectl.runner.output_reader import last_line
from queuectl.storage import Storage

_POLL_SECONDS = 0.1
_ESTIMATE_SECONDS = 2.0
_LOOKED_AT = 2000
"""How many jobs are looked at, from the first one that was not reported: they end about in order,
and to look at all of 100,000 jobs each time would take 0.1 s."""
_SPACE_FOR_A_RESULT = 4096
_STOPPED_BY_ERROR = "stopping after the running jobs; the same command with --resume goes on"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Reporting:
    """The lines about a job that has ended, and about how far the batch has come."""

    def __init__(self, storage: Storage, queue: str, *, shown: str, quiet: bool) -> None:
        self._storage = storage
        self._queue = queue
        self._shown = shown
        self._line = StatusLine(wanted=not quiet)
        self._time_left: str | None = None
        self._estimate_at = time.monotonic() + _ESTIMATE_SECONDS
        self._said_full = False

    def counts(self) -> dict[JobState, int]:
        """Return how many jobs of the batch are in which state."""
        return self._storage.by_state([self._queue])

    def ended(self, job: Job) -> None:
        """Print what a job printed, if that is wanted, and a line if it did not complete."""
        failed = job.state is not JobState.COMPLETED
        prints = self._shown == "always" or (failed and self._shown == "on-failure")
        if failed or prints:
            self._line.clear()
        if prints:
            print_last_attempt(self._storage, job)
        if failed:
            self._print_failure(job, with_last_line=not prints)

    def _print_failure(self, job: Job, *, with_last_line: bool) -> None:
        """Print why a job did not complete, and the last line of its output on a second line."""
        why = short_reason(job.last_error or job.state.value)
        begin = f"{number(job)} {job.state.value}: {why}: "
        room = output.line_width(of_stderr=True)
        output.message(
            begin + title(job, cells=None if room is None else max(20, room - width(begin)))
        )
        execution = self._storage.last_execution(job) if with_last_line else None
        said = None if execution is None else last_line(execution.output)
        if said is not None:
            output.message("  " + (said if room is None else cut_middle(said, room - 2)))

    def note(self, text: str) -> None:
        """Print a line for people."""
        self._line.clear()
        output.message(text)

    def progress(self) -> None:
        """Show how far the batch has come, and about how long the rest will take."""
        counts = self.counts()
        if time.monotonic() >= self._estimate_at:
            self._estimate_at = time.monotonic() + _ESTIMATE_SECONDS
            self._time_left = time_left(self._storage, self._queue, now=utcnow())
            self._note_full_disk()
        left = sum(counts[state] for state in UNFINISHED_STATES)
        total = sum(counts.values())
        parts = [f"{total - left} of {total}"]
        for state, word in ((JobState.DEAD, "dead"), (JobState.FAILED, "to be retried")):
            if counts[state]:
                parts.append(f"{counts[state]} {word}")
        if counts[JobState.PROCESSING]:
            parts.append(f"{counts[JobState.PROCESSING]} running")
        if self._time_left is not None:
            parts.append(f"{self._time_left} left")
        text = "  ".join(parts)
        bad = counts[JobState.DEAD] + counts[JobState.CANCELLED]
        drawn = bar(total - left, bad, max(1, total), self._line.width - width(text) - 2)
        self._line.show_styled(f"{drawn}  {text}" if drawn else cut(text, self._line.width))

    def _note_full_disk(self) -> None:
        """Say once why nothing seems to happen; the workers could not even write it to their log.

        A worker needs a page for each result, and waits until there is one.
        """
        path = self._storage.files.database
        space = os.statvfs(path)
        if not self._said_full and space.f_bavail * space.f_frsize < _SPACE_FOR_A_RESULT:
            self._said_full = True
            self.note(f"the disk of {path} is full: the batch goes on when there is space")

    def clear(self) -> None:
        """Erase the progress."""
        self._line.clear()


class BatchRun:
    """The run of one batch, from the start of its workers to the summary."""

    def __init__(
        self, storage: Storage, queue: str, reporting: Reporting, *, in_order: bool
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._reporting = reporting
        self._in_order = in_order
        self._unreported = [
            key.seq for key in storage.keys(Selection(queues=(queue,), states=UNFINISHED_STATES))
        ]
        running = Selection(queues=(queue,), states=(JobState.PROCESSING,))
        self._ran_before = {key.seq for key in storage.keys(running)}
        self._retries = 0
        self._pool: subprocess.Popen[bytes] | None = None
        """The pool that we have started; None if that of an earlier call runs the batch."""
        self._signals: list[int] = []

    def run(self, workers: int) -> None:
        """Run the jobs to their end, or until a signal has asked for less."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for each, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(each, lambda received, _frame: self._signals.append(received))
        try:
            with output.calling_before_sigpipe(self._stop):
                self._follow(workers)
                self._in_order = False  # report also the jobs behind an unfinished one
                self._report()
        except BaseException:
            # Nobody would see what becomes of the other jobs.
            self._stop()
            self._reporting.note(_STOPPED_BY_ERROR)
            raise
        finally:
            self._reporting.clear()
            for each, handler in before.items():
                signal.signal(each, handler)

    @property
    def stopped_by(self) -> int | None:
        """The first signal that asked to stop; None if there was none."""
        return self._signals[0] if self._signals else None

    def _follow(self, workers: int) -> None:
        self._pool = pool = None if self._pools() else self._start_pool(workers)
        passed_on = 0
        while True:
            if passed_on < len(self._signals):  # one each time: two at once may arrive as one
                passed_on += 1
                self._stop()
                self._reporting.note(_stopping(passed_on))
            ended = pool.poll() is not None if pool is not None else not self._pools()
            self._report()
            if ended:
                # Start another pool for the remaining jobs if ours ended before a retry, or if the
                # pool of an earlier call has died.
                is_over = pool is not None and not self._retries
                if is_over or self._signals or not self._has_work():
                    break
                self._retries = 0
                self._pool = pool = self._start_pool(workers)
            self._reporting.progress()
            time.sleep(_POLL_SECONDS)

    def _pools(self) -> list[LivingProcess]:
        """Return the pools that run the batch: ours, or that of an earlier call that was killed."""
        pools = living_pools(self._storage.files)
        return [pool for pool in pools if self._queue in pool.queues]

    def _stop(self) -> None:
        """Tell the pool to stop: at first after the running jobs, at once when told again."""
        if self._pool is not None:
            if self._pool.poll() is None:
                self._pool.send_signal(signal.SIGTERM)
            return
        for pool in self._pools():
            if pool.pid is not None and pool.is_proved:
                with suppress(ProcessLookupError):
                    os.kill(pool.pid, signal.SIGTERM)

    def _has_work(self) -> bool:
        counts = self._reporting.counts()
        return any(counts[state] for state in UNFINISHED_STATES)

    def _start_pool(self, workers: int) -> subprocess.Popen[bytes]:
        files = self._storage.files
        shared = ["--allow-shared"] if files.allow_shared else []
        # Its messages would appear between ours.
        options = ["--drain", "-q", "--count", str(workers), "--queue", self._queue]
        options += ["--log-file", files.detached_log]
        return subprocess.Popen(
            another_call("--db", files.database, *shared, "worker", "start", *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # A session of its own: Ctrl+C reaches only us, and we pass it on.
            start_new_session=True,
        )

    def _report(self) -> None:
        """Report the jobs that have ended since the last look."""
        while True:
            looked_at = self._unreported[:_LOOKED_AT]
            states = self._storage.states_of(looked_at)
            reported = 0
            kept: list[int] = []
            for seq in looked_at:
                is_over = states.get(seq) in FINISHED_STATES or seq not in states
                if not is_over or (self._in_order and kept) or self._runs_again(seq):
                    kept.append(seq)
                    continue
                reported += 1
                with suppress(NoSuchJob):  # it was deleted
                    job = self._storage.get(f"@{seq}")
                    if job.state in FINISHED_STATES:
                        self._reporting.ended(job)
            self._unreported[:_LOOKED_AT] = kept
            if not reported or len(looked_at) < _LOOKED_AT:
                return

    def _runs_again(self, seq: int) -> bool:
        """Retry a job that ran in an earlier call, and was lost with it; return whether it was."""
        if seq not in self._ran_before:
            return False
        self._ran_before.remove(seq)
        with suppress(NoSuchJob, JobDeleted, WrongState):  # others act on it, too
            job = self._storage.get(f"@{seq}")
            last = self._storage.last_execution(job)
            if job.state is JobState.DEAD and last is not None and last.outcome is OutcomeKind.LOST:
                self._storage.retry(job, now=utcnow(), states=(JobState.DEAD,))
                self._retries += 1
                return True
        return False


def _stopping(signals: int) -> str:
    if signals == 1:
        return "stopping after the running jobs (Ctrl+C again puts them back)"
    return "putting the running jobs back"
