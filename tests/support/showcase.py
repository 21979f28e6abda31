"""A queue such as a small company may have, for pictures: with a day of history."""

from __future__ import annotations

import random
import signal
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Sequence

from queuectl.core.activity import BUCKETS
from queuectl.core.models import Job, Outcome, OutcomeKind, Output, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import to_text, utcnow
from queuectl.storage.counting import EVER, hour, minute
from support.queue import Queue
from support.rows import sql
from support.waiting import wait_until

_WORKER = "5a5a5a5a-1"
_RSYNC = (
    b"\x1b[2msending incremental file list\x1b[0m\n"
    b"%(name)s/2026/11/27/\x1b[36mindex.parquet\x1b[0m\n"
    b"      1,048,576 100%%   41.2MB/s    0:00:00 (xfr#1, to-chk=812/1020)\n"
    b"%(name)s/2026/11/27/\x1b[36mpart-00017.parquet\x1b[0m\n"
    b"    268,435,456 100%%   38.9MB/s    0:00:06 (xfr#2, to-chk=811/1020)\n"
    b"[queuectl: 12345678 bytes not kept]\n"
    b"%(name)s/2026/11/28/\x1b[36mpart-00003.parquet\x1b[0m\n"
    b"    190,840,832  71%%   36.4MB/s    0:00:02\n"
    b"\x1b[33mclient_loop: send disconnect: Broken pipe\x1b[0m\n"
    b"\x1b[1;31mrsync: connection unexpectedly closed (%(bytes)d bytes received so far)\x1b[0m\n"
)
_PROGRAMS = {
    "restic": "echo 'open repository'; echo 'scan finished: 812,455 files, 301.221 GiB'; sleep 900",
    "ffmpeg": "echo 'Stream #0:0 -> #0:0 (h264 -> av1)'; sleep 900",
    "python3": "echo 'reading orders'; sleep 900",
    "gzip": "sleep 900",
    "mail": "cat >/dev/null",
}
_SYNCED = (
    "orders", "invoices", "media", "customer-418", "customer-902", "archive",
    "catalogue", "prices", "stock", "returns", "suppliers",
)  # fmt: skip


class Showcase:
    """Fills a queue. The same numbers come about each time."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.now = utcnow()
        self._random = random.Random(20)
        self._counted: list[tuple[object, ...]] = []
        queue.storage.refuse_replaced()  # so that the queue is there
        programs = queue.folder / "bin"
        programs.mkdir()
        for name, text in _PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        queue.env["PATH"] = f"{programs}:{queue.env['PATH']}"

    def ago(self, **span: float) -> datetime:
        """Return a time before now."""
        return self.now - timedelta(**span)

    def day(self, *, mail_until: int = 0) -> None:
        """Count a day of jobs; nothing of the queue mail within the last minutes."""
        for hours in range(1, 24):
            for queue, jobs in (("default", 420), ("mail", 330), ("video", 9)):
                at = hour(to_text(self.ago(hours=hours)))
                self._count(at, queue, self._about(jobs))
        for minutes in range(1, 60):
            at = minute(to_text(self.ago(minutes=minutes)))
            self._count(at, "default", self._about(12), failed=self._random.choice((0, 0, 1, 2)))
            if minutes >= mail_until:
                self._count(at, "mail", self._about(20))
            if self._random.random() < 0.2:
                self._count(at, "video", 1)
        self.queue.close_storage()
        self._store_counts()

    def _about(self, number: int) -> int:
        return int(number * self._random.uniform(0.7, 1.3))

    def _count(self, period: str, queue: str, jobs: int, failed: int = 0) -> None:
        run = [0] * BUCKETS
        wait = [0] * BUCKETS
        for number in range(jobs):
            # The median is about 2 s, the 95th percentile about 14 s; videos take half an hour.
            usual = (2, 3, 3, 3, 4, 4, 3, 2, 5, 3)[number % 10]
            run[9 if queue == "video" else usual] += 1
            wait[(0, 1, 1, 2, 1)[(number + jobs) % 5]] += 1
        empty = [0] * 2 * BUCKETS
        for event, times, histograms in (
            ("enqueued", jobs, empty), ("ok", jobs, [*run, *wait]), ("exit", failed, empty),
        ):  # fmt: skip
            if times:
                self._counted.append((period, queue, event, times, *histograms))
                self._counted.append((EVER, queue, event, times, *histograms))

    def _store_counts(self) -> None:
        names = [f"{name}_{n}" for name in ("run", "wait") for n in range(BUCKETS)]
        with closing(sqlite3.connect(str(self.queue.database))) as conn, conn:
            conn.executemany(
                f"""
                INSERT INTO activity (period, queue, event, times, {", ".join(names)})
                VALUES (?, ?, ?, ?, {", ".join("?" * len(names))})
                ON CONFLICT (period, queue, event) DO UPDATE
                SET times = times + excluded.times,
                    {", ".join(f"{name} = {name} + excluded.{name}" for name in names)}
                """,
                self._counted,
            )

    def ended(
        self,
        command: str,
        at: datetime,
        *,
        seconds: float = 2.0,
        outcomes: Sequence[Outcome] = (Outcome(OutcomeKind.OK, exit_code=0),),
        **fields: Any,
    ) -> int:
        """Store a job whose last attempt ended at a time; return its number."""
        storage = self.queue.storage
        start = at - timedelta(seconds=(seconds + 4) * len(outcomes))
        fields.setdefault("max_retries", len(outcomes))
        spec = JobSpec(command=command, cwd="/srv/data", **fields)
        (job,) = storage.enqueue([spec], now=start, environ=self.queue.env)
        for number, outcome in enumerate(outcomes, 1):
            claim = storage.claim(_WORKER, [spec.queue], now=start)
            assert claim is not None
            end = start + timedelta(seconds=seconds)
            start = end + timedelta(seconds=4)
            done = outcome._replace(
                seconds=seconds, cpu_seconds=0.12 * seconds, max_rss_bytes=48 << 20
            )
            state, run_at = JobState.COMPLETED, None
            if outcome.kind is not OutcomeKind.OK:
                state = JobState.DEAD
                if number < len(outcomes):
                    state, run_at = JobState.FAILED, start
            storage.record(claim, done, Verdict(state, run_at, outcome.reason), now=end)
        return job.seq

    def some_completed(self) -> None:
        """Store jobs that completed within the last minutes."""
        for minutes in range(14, 0, -1):
            at = self.ago(minutes=minutes)
            self.ended(f"python3 -m thumbnails --album {400 + minutes}", at, seconds=3.1)
            if minutes % 3 == 0:
                day = f"2026-11-{10 + minutes}"
                self.ended(f"gzip -f /var/log/app/{day}.log", at, seconds=10, label=f"log {day}")

    def deaths(self) -> int:
        """Store fourteen dead jobs; return the number of one with three attempts."""
        missing = Output(34, False, b"/bin/sh: 1: wkhtmltopdf: not found\n")
        self.ended(
            "wkhtmltopdf invoice-2291.html out.pdf",
            self.ago(minutes=58),
            seconds=0.1,
            outcomes=[
                Outcome(OutcomeKind.EXIT, exit_code=127, reason="exit code 127", output=missing)
            ],
            queue="mail",
            label="invoice 2291",
        )
        for customer, minutes in ((77, 51), (902, 48)):
            slow = Outcome(
                OutcomeKind.TIMEOUT, signal=signal.SIGKILL, reason="timed out after 5m",
                output=Output(15, False, b"reading orders\n"),
            )  # fmt: skip
            self.ended(
                f"python3 -m reports.monthly --customer {customer}",
                self.ago(minutes=minutes),
                seconds=300,
                outcomes=[slow],
                label=f"report customer-{customer}",
            )
        job = 0
        for number, name in enumerate(reversed(_SYNCED)):
            text = _RSYNC % {b"name": name.encode(), b"bytes": 18874368 + 997 * number}
            closed = Outcome(
                OutcomeKind.EXIT, exit_code=12, reason="exit code 12",
                output=Output(len(text), False, text),
            )  # fmt: skip
            job = self.ended(
                f"rsync -a --delete /srv/data/{name}/ backup:/vol/{name}/",
                self.ago(minutes=45 - 2 * number),
                seconds=38 + number,
                outcomes=[closed] * 3,
                label=f"sync {name}",
                timeout=1800,
                on_failure='mail -s "$QUEUECTL_PARENT_ID died" ops' if name == "orders" else None,
            )
        told = self.queue.storage.claim(_WORKER, ["default"], now=self.ago(minutes=25))
        assert told is not None
        good = Outcome(OutcomeKind.OK, exit_code=0, seconds=0.4)
        done = Verdict(JobState.COMPLETED)
        self.queue.storage.record(told, good, done, now=self.ago(minutes=24.9))
        return job

    def waiting(self, minutes: int = 41) -> None:
        """Let jobs wait in the queue mail, as many as come in within some minutes."""
        for ago in range(minutes, 0, -1):
            specs = [
                JobSpec(command=f"send-mail --template order --to customer-{n}", queue="mail")
                for n in range(1000 + 29 * ago, 1000 + 29 * ago + self._about(29))
            ]
            self.queue.storage.enqueue(specs, now=self.ago(minutes=ago), environ=self.queue.env)

    def retries(self) -> None:
        """Let some jobs wait for their next attempt."""
        busy = Outcome(OutcomeKind.EXIT, exit_code=75, reason="exit code 75", seconds=1.0)
        for number in range(6):
            storage = self.queue.storage
            spec = JobSpec(command=f"fetch-feed --supplier {number}", queue="feeds", max_retries=8)
            storage.enqueue([spec], now=self.now, environ=self.queue.env)
            claim = storage.claim(_WORKER, ["feeds"], now=self.now)
            assert claim is not None
            again = self.now + timedelta(minutes=4 + number)
            verdict = Verdict(JobState.FAILED, again, busy.reason)
            storage.record(claim, busy, verdict, now=self.now)

    def schedules(self) -> None:
        """Add schedules that have run before."""
        ran = (
            ("rotate-logs", "0 * * * *", "logrotate /etc/logrotate.d/app", 3, "completed"),
            ("report-mail", "0 18 * * 1-5", "report-mail --to board", 48, "completed"),
            ("nightly-backup", "0 2 * * *", "restic backup /home /srv --exclude-caches", 3480, ""),
        )
        for name, expression, command, seconds, ended in ran:
            zone = ["--tz", "Europe/Berlin"]
            limit = ["--timeout", "0", "--label", name]
            self.queue.ok("schedule", "add", name, expression, *zone, *limit, "--", command)
            for days in range(5, 0, -1):
                at = self.ago(days=days)
                job = self.ended(command, at, seconds=seconds, label=name)
                storage = self.queue.storage
                sql(storage, "UPDATE jobs SET schedule = ? WHERE seq = ?", name, job)
            sql(
                self.queue.storage,
                "UPDATE schedules SET last_ended = nullif(?, '') WHERE name = ?", ended, name,
            )  # fmt: skip

    def hooks(self) -> None:
        """Add two hooks."""
        self.queue.ok("hook", "add", "ops", "--on", "dead", "--digest", "5m",
                      "mail -s 'dead jobs' ops")  # fmt: skip
        url = "https://ops.example/queue"
        self.queue.ok("hook", "add", "chat", "--on", "drained", "--queue", "video",
                      "--format", "slack", "--url", url)  # fmt: skip

    def running(self, queues: str = "", *, overdue: bool = True) -> None:
        """Start four workers, and let each run a job since some time."""
        self.queue.ok("queue", "limit", "video", "1")
        if overdue:
            self.queue.ok("schedule", "run", "nightly-backup")
        fields = [
            ("ffmpeg -i 'talk 07.mov' -c:v libsvtav1 talk-07.mkv", 18,
             {"queue": "video", "id": "transcode-881", "timeout": 7200.0}),
            ("python3 -m reports.monthly --customer 311", 1.2, {}),
            ("gzip -f /var/log/app/2026-11-27.log", 0.05, {"timeout": 60.0}),
        ]  # fmt: skip
        for command, _, options in fields:
            self.queue.add(command, **options)
        ages = {command: minutes for command, minutes, _ in fields}
        if overdue:
            ages["restic backup /home /srv --exclude-caches"] = 26 * 60 + 3

        def running() -> list[Job]:
            jobs = self.queue.jobs()
            return [one for one in jobs if one.state is JobState.PROCESSING and one.command in ages]

        self.queue.start(*(["--queue", queues] if queues else []), workers=4)
        wait_until(lambda: len(running()) == len(ages), what="the jobs to run")
        for job in running():
            start = to_text(self.ago(minutes=ages[job.command]))
            for statement in (
                "UPDATE jobs SET locked_at = ? WHERE seq = ?",
                "UPDATE executions SET started_at = ? WHERE job_seq = ?",
            ):
                sql(self.queue.storage, statement, start, job.seq)
        self.queue.close_storage()


def stuck(queue: Queue) -> int:
    """Fill a queue in which nobody serves mail; return the number of a dead job."""
    made = Showcase(queue)
    made.day(mail_until=42)
    made.schedules()
    made.some_completed()
    job = made.deaths()
    made.ended("send-mail --template order --to customer-2220", made.ago(minutes=42), queue="mail")
    made.hooks()
    made.retries()
    made.waiting()
    made.running("default,video,feeds")
    return job


def calm(queue: Queue) -> None:
    """Fill a queue in which all is well."""
    made = Showcase(queue)
    made.day()
    made.schedules()
    made.some_completed()
    made.running(overdue=False)
