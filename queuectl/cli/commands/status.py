"""The command `status`: how many jobs are in which state, and what the workers do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

import click

from queuectl.cli import output
from queuectl.cli.attention import plain_lines
from queuectl.cli.command import QueueCommand, json_option, open_storage, option, usage_error
from queuectl.cli.json_shapes import finding_json, progress_json, running_json, worker_json
from queuectl.cli.selection import queue_names, queue_option
from queuectl.core.diagnosis import diagnose
from queuectl.core.escaping import escape
from queuectl.core.models import Job, Worker
from queuectl.core.moments import local
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import utcnow
from queuectl.host.files import with_tilde
from queuectl.storage import Storage

if TYPE_CHECKING:
    from queuectl.cli.status_screen import Snapshot
    from queuectl.core.facts import Facts

_MOST_RUNNING = 60
_MOST_QUEUES = 20
_MINUTES = 30
"""How many minutes of the past are shown."""
_TELL_TO_START = {"no-worker", "unattended"}
"""Findings whose remedy is to start workers."""
_RULE = "=" * 50
_THIN_RULE = "-" * 50
_ROWS = (
    ("Pending", JobState.PENDING),
    ("Processing", JobState.PROCESSING),
    ("Completed", JobState.COMPLETED),
    ("Failed", JobState.FAILED),
    ("Dead (DLQ)", JobState.DEAD),
)
_OPTIONAL_ROWS = (
    ("Scheduled", JobState.SCHEDULED),
    ("Blocked", JobState.BLOCKED),
    ("Cancelled", JobState.CANCELLED),
)


@click.command("status", cls=QueueCommand)
@option("--watch", is_flag=True, help="On a terminal, show it anew each second, until q or Ctrl+C.")
@queue_option
@json_option
def status(watch: bool, queues: Sequence[str], as_json: bool) -> None:
    """Show how many jobs are in each state, what runs, and time left.

    Below "Attention:" it says what is wrong, each with the command that fixes it.

    \b
    Examples:
      queuectl status
      queuectl status --watch
      queuectl status --queue photos
    """
    if watch and as_json:
        usage_error("--watch and --json cannot be used together")
    among = queue_names(queues)
    storage = open_storage()
    if as_json:
        output.print_json(_json(storage, among))
    elif watch and output.can_animate():
        _watch(storage, among)
    elif output.on_terminal():
        _print_for_terminal(storage, among)
    else:
        for line in _lines(storage, among):
            output.print_line(line)


def _watch(storage: Storage, among: Sequence[str]) -> None:
    from queuectl.cli.status_screen import screen  # only on a terminal
    from queuectl.cli.terminal import watch_lines

    taking = _Snapshots(storage, among)
    watch_lines(lambda width, height: screen(taking.take(), width, height))


def _print_for_terminal(storage: Storage, among: Sequence[str]) -> None:
    from queuectl.cli.status_screen import screen  # only on a terminal

    snapshot = _Snapshots(storage, among).take(minutes=0)
    for line in [*_block(snapshot.counts), *_ended(snapshot.counts), ""]:
        output.print_line(line)
    for line in screen(snapshot, output.line_width() or 80):
        output.print_styled(line)


class _Snapshots:
    """Takes what there is to show, again and again; only of some queues, if any is named."""

    def __init__(self, storage: Storage, among: Sequence[str]) -> None:
        self._among = among
        self._open(storage)

    def _open(self, storage: Storage) -> None:
        from queuectl.cli.progress import EndedJobs  # only on a terminal

        self._storage = storage
        self._ended = EndedJobs(storage)

    def take(self, *, minutes: int = _MINUTES) -> Snapshot:
        """Return what there is to show now, and how many jobs ended in each of the last minutes."""
        from queuectl.cli.progress import measure
        from queuectl.cli.status_screen import MOST_DEAD, MOST_QUEUES, DeadJob, Snapshot

        self._follow_the_file()
        storage, now, among = self._storage, utcnow(), self._among
        facts = storage.facts(among, now=now)
        running, workers = storage.running_jobs(among), facts.workers
        queues = measure(storage, workers, running, now=now, among=among)
        return Snapshot(
            now=now,
            counts=storage.by_state(among),
            queues=[*self._ended.add_to(queues[:MOST_QUEUES]), *queues[MOST_QUEUES:]],
            running=[
                job
                for job in storage.jobs_by_seq([job.seq for job in running[:_MOST_RUNNING]])
                if job.state is JobState.PROCESSING  # others have ended since
            ],
            dead=[
                DeadJob(job, _last_line(storage, job))
                for job in storage.died_last(MOST_DEAD, among)
            ],
            workers=workers,
            database=_shown_path(storage),
            findings=diagnose(facts),
            ended=storage.ended_by_minute(among, minutes=minutes, now=now) if minutes else (),
        )

    def _follow_the_file(self) -> None:
        """Open the queue at the default place once it is there; refuse one that was replaced."""
        if not self._storage.in_memory:
            self._storage.refuse_replaced()
        elif self._storage.files.exists():
            self._open(open_storage())


def _last_line(storage: Storage, job: Job) -> str | None:
    from queuectl.runner.output_reader import last_line  # only on a terminal

    last = storage.last_execution(job)
    return None if last is None else last_line(last.output)


def _shown_path(storage: Storage) -> str:
    """Return the path of the database, with `~` for the home folder."""
    shown = escape(with_tilde(storage.files.database))
    return shown if storage.files.exists() else f"{shown} (not created yet)"


def _lines(storage: Storage, among: Sequence[str]) -> list[str]:
    counts, facts = storage.by_state(among), storage.facts(among, now=utcnow())
    findings = diagnose(facts)
    found = {finding.code for finding in findings}
    lines = [*_block(counts), *_ended(counts), ""]
    attention = plain_lines(findings)
    lines += [*attention, ""] if attention else []
    lines += _workers(facts.workers, counts, is_told=bool(found & _TELL_TO_START))
    lines += _paused(facts, is_told="paused" in found)
    lines += _time_left(storage, facts.workers, among)
    if counts[JobState.DEAD] and "deaths" not in found:
        lines.append("Dead jobs: queuectl dlq list")
    absent = "" if storage.files.exists() else " (not created yet)"
    lines.append(f"Database: {storage.files.database}{absent}")
    return lines


def _block(counts: Mapping[JobState, int]) -> list[str]:
    total = sum(counts.values())
    rows = [f"  {label + ':':<13}{counts[state]:>6}" for label, state in _ROWS]
    rows += [
        f"  {label + ':':<13}{counts[state]:>6}" for label, state in _OPTIONAL_ROWS if counts[state]
    ]
    return [
        "Job Queue Status",
        _RULE,
        "",
        "Jobs by State:",
        *rows,
        _THIN_RULE,
        f"  {'Total:':<13}{total:>6}",
        "",
        "Completion Rate:",
        _rate(counts[JobState.COMPLETED], total),
        "",
        "Permanent Failures:",
        _rate(counts[JobState.DEAD], total),
        "",
        f"Active/Pending Work: {counts[JobState.PENDING] + counts[JobState.PROCESSING]} job(s)",
        _RULE,
    ]


def _ended(counts: Mapping[JobState, int]) -> list[str]:
    """Return a line that says how jobs ended; the rates above also count those that did not."""
    completed, dead, cancelled = (counts[state] for state in FINISHED_STATES)
    if not completed + dead:
        return []
    others = f" ({cancelled} cancelled)" if cancelled else ""
    return [f"Of {completed + dead} ended: {completed} completed, {dead} dead{others}"]


def _rate(part: int, total: int) -> str:
    return f"  {100 * part / total if total else 0:.1f}% ({part}/{total})"


def _workers(
    workers: Sequence[Worker], counts: Mapping[JobState, int], *, is_told: bool
) -> list[str]:
    if not workers:
        to_run = (JobState.PENDING, JobState.FAILED, JobState.SCHEDULED, JobState.PROCESSING)
        needed = any(counts[state] for state in to_run) and not is_told
        return ["Workers: none" + " (start some: queuectl worker start)" * needed]
    lines = [f"Workers: {len(workers)}"]
    for worker in workers:
        queues = ", ".join(worker.queues) or "all queues"
        doing = "idle"
        if worker.job is not None:
            started = "-" if worker.job_since is None else local(worker.job_since)
            doing = f"runs {worker.job}, started {started}"
        problem = "" if worker.problem is None else f"; {worker.problem}"
        lines.append(f"  {worker.id} (pid {worker.pid}, {queues}): {doing}{problem}")
    return lines


def _time_left(storage: Storage, workers: Sequence[Worker], among: Sequence[str]) -> list[str]:
    """Return a line per queue that says how many jobs are left, and about how long they take."""
    from queuectl.cli.progress import measure  # only when it is needed
    from queuectl.core.estimates import HOLD_WORDS, about

    measured = measure(storage, workers, storage.running_jobs(), now=utcnow(), among=among)
    lines = []
    for queue in measured[:_MOST_QUEUES]:
        seconds, hold = queue.estimate.seconds, queue.estimate.hold
        words = "" if hold is None else f", {HOLD_WORDS[hold]}"
        if seconds is not None:
            words = f", {about(seconds)}"
        lines.append(f"Left in {queue.status.name}: {queue.left} job(s){words}")
    if len(measured) > _MOST_QUEUES:
        lines.append(f"Left in {len(measured) - _MOST_QUEUES} more queues: queuectl queue list")
    return lines


def _paused(facts: Facts, *, is_told: bool) -> list[str]:
    """Return lines about pauses: of queues in which no job waits, and of single jobs."""
    if facts.all_paused:
        lines = [] if is_told else ["Paused: all queues (queuectl queue resume)"]
    else:
        lines = [
            f"Paused: {queue.status.name} (queuectl queue resume)"
            for queue in facts.queues
            if queue.status.paused and not queue.ready
        ]
    paused_jobs = sum(sum(queue.status.paused_jobs.values()) for queue in facts.queues)
    if paused_jobs:
        lines.append(f"Paused jobs: {paused_jobs} (queuectl resume --all)")
    return lines


def _json(storage: Storage, among: Sequence[str]) -> dict[str, object]:
    from queuectl.cli.progress import measure  # only when it is needed

    counts = storage.by_state(among)
    total = sum(counts.values())
    facts, running = storage.facts(among, now=utcnow()), storage.running_jobs(among)

    def rate(state: JobState) -> float | None:
        return counts[state] / total if total else None

    return {
        "database": storage.files.database,
        "jobs": {state.value: counts[state] for state in JobState},
        "total": total,
        "completion_rate": rate(JobState.COMPLETED),
        "failure_rate": rate(JobState.DEAD),
        "queues": [
            progress_json(progress)
            for progress in measure(storage, facts.workers, running, now=facts.now, among=among)
        ],
        "running": [running_json(job) for job in storage.jobs_by_seq([job.seq for job in running])],
        "workers": [worker_json(worker) for worker in facts.workers],
        "findings": [finding_json(finding) for finding in diagnose(facts)],
    }
