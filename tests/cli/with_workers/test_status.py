"""`status` shows workers."""

from __future__ import annotations

import re

from click import unstyle

from support.queue import Queue
from support.states import every_state
from support.terminal import on_terminal
from support.waiting import wait_until

_ALL = """\
Job Queue Status
==================================================

Jobs by State:
  Pending:          1
  Processing:       1
  Completed:        1
  Failed:           1
  Dead (DLQ):       1
  Scheduled:        1
  Blocked:          1
  Cancelled:        1
--------------------------------------------------
  Total:            8

Completion Rate:
  12.5% (1/8)

Permanent Failures:
  12.5% (1/8)

Active/Pending Work: 2 job(s)
==================================================
Of 2 ended: 1 completed, 1 dead (1 cancelled)

Attention:
  ! No worker is running: 1 job has waited for TIME (queuectl worker start)

Workers: none
Left in default: 4 job(s), no worker
Dead jobs: queuectl dlq list
"""


def test_rows_of_states_that_may_be_left_out(queue: Queue) -> None:
    """`scheduled`, `blocked` and `cancelled` have a row only if there are such jobs."""
    every_state(queue)

    code, out, err = queue.run("status")

    assert (code, err) == (0, "")
    shown = re.sub(r"(?<=waited for )[\w ]+(?= \()", "TIME", out)
    assert shown == f"{_ALL}Database: {queue.database}\n"


def test_each_worker_has_a_line(queue: Queue) -> None:
    """Each living worker has a line with the job that it runs."""
    job = queue.enqueue("sleep 60")
    queue.start("--queue", "default", "--queue", "other")
    queue.until(job, "processing")

    tail = queue.ok("status").rpartition("=\n\n")[2]

    assert re.fullmatch(
        r"Workers: 1\n"
        rf"  [0-9a-f]{{8}}-1 \(pid \d+, default, other\): "
        rf"runs {job}, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\n"
        r"Left in default: 1 job\(s\)\n"
        rf"Database: {re.escape(str(queue.database))}",
        tail,
    ), tail


def test_json_of_workers(queue: Queue) -> None:
    """A worker is the same object here as in `worker list --json`."""
    job = queue.enqueue("sleep 60")
    queue.start()
    wait_until(lambda: queue.workers()[0]["job_pid"], what="the process of the job")

    [worker] = queue.json("status")["workers"]

    assert [worker] == queue.json("worker", "list")
    assert {"id", "pid", "host", "started_at", "queues", "job", "job_pid"} <= set(worker)
    assert (worker["job"], worker["queues"]) == (job, [])
    assert worker["id"] == queue.show(job)["locked_by"]


def test_json_of_running_jobs(queue: Queue) -> None:
    """Each has its id, its short number and its worker."""
    job = queue.enqueue("sleep 60", "--label", "a label")
    queue.start()
    queue.until(job, "processing")
    shown = queue.json("status")

    assert shown["running"] == [
        {
            "id": job,
            "number": 1,
            "queue": "default",
            "label": "a label",
            "command": "sleep 60",
            "started_at": queue.show(job)["locked_at"],
            "worker": shown["workers"][0]["id"],
        }
    ]


def test_the_time_left_of_a_batch(queue: Queue) -> None:
    """After a few jobs it is told, on a terminal with a bar, elsewhere and as JSON."""
    queue.ok("enqueue", "-q", "--lines", "-", stdin="sleep 0.2\n" * 6 + "sleep 60\n" * 4)
    queue.start()
    wait_until(lambda: queue.json("status")["jobs"]["completed"] == 6, what="six jobs")
    [left] = queue.json("status")["queues"]
    line = queue.ok("status").splitlines()[-2]
    shown = on_terminal(queue, "status", size=(80, 24)).screen

    assert (left["name"], left["left"], left["held_by"]) == ("default", 4, None)
    assert 0.2 < left["seconds_left"] < 400
    assert left["per_second"] > 0
    assert re.fullmatch(r"Left in default: 4 job\(s\), (a few seconds|about .*)", line)
    bar = next(row for row in unstyle(shown).splitlines() if row.startswith("default"))
    assert re.fullmatch(r"default  █+░+  6 of 10  1 processing( .*)?  (a few|about) .* left", bar)
