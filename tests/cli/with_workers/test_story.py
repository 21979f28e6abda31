"""What a person does on the command line when the job of a schedule has died at night."""

from __future__ import annotations

import json
import os
import signal

from support.queue import Queue
from support.receiver import receiving, status
from support.waiting import wait_until


def test_a_schedule_whose_job_dies_is_mended_and_reported_as_recovered(queue: Queue) -> None:
    """Schedule, death, webhook, edit and retry, recovery; a crash in between loses no report."""
    queue.configure(backoff_base="1")
    with receiving(status(503), status(200)) as receiver:
        words = ("--on", "dead,recovered", "--url", receiver.url)
        queue.ok("hook", "add", "ops", *words)
        # The second time would be after the end: there is one job.
        words = ("every 2s", "--until", "in 3s", "--max-retries", "1", "--", "cat report")
        queue.ok("schedule", "add", "nightly", *words)

        pool = queue.start(workers=2)
        wait_until(lambda: receiver.received, what="the first request, which is refused")
        os.killpg(pool.pid, signal.SIGKILL)
        queue.start()
        wait_until(lambda: len(receiver.received) >= 2, what="the report of the death")
        refused, told = (json.loads(one.body) for one in receiver.received[:2])
        assert (told, told["type"]) == (refused, "job.dead")
        job = told["data"]["id"]
        assert (told["data"]["schedule"], told["data"]["last_error"]) == ("nightly", "exit 1")

        # `status` tells of it, and the output says why; its command is mended, and it runs again.
        assert "1 job died in the last hour: exit 1" in queue.ok("status")
        assert "No such file or directory" in queue.ok("logs", job)
        queue.ok("retry", job, "--command", "echo fine", "--timeout", "1m")
        wait_until(lambda: len(receiver.received) >= 3, what="the report of the recovery")
        queue.until(job, "completed")
        recovered = json.loads(receiver.received[2].body)

    assert recovered["type"] == "schedule.recovered"
    ended = recovered["data"]
    assert (ended["id"], ended["command"], ended["timeout"]) == (job, "echo fine", 60.0)
    assert (ended["schedule"], ended["scheduled_for"]) == ("nightly", told["data"]["scheduled_for"])
    ids = [one.headers["webhook-id"] for one in receiver.received]
    assert ids[0] == ids[1] != ids[2]
    [schedule] = queue.json("schedule", "list")
    assert (schedule["last_result"], schedule["last_job"]) == ("made", job)
    assert queue.outcomes(job) == ["exit", "ok"]
