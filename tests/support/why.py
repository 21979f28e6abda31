"""What `why` says about a job."""

from __future__ import annotations

import re

from support.queue import Queue

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
"""A time as `why` prints it, as a regular expression."""


def assert_why(queue: Queue, job: str, reason: str, pattern: str) -> None:
    """Compare text and JSON of `why` with a pattern; TIME stands for a time."""
    text = queue.ok("why", job)
    found: dict[str, str] = queue.json("why", job)

    assert re.fullmatch(f"{job} {pattern.replace('TIME', TIME)}", text), text
    assert found == {
        "id": job, "state": queue.state(job), "reason": reason, "message": text[len(job) + 1 :],
    }  # fmt: skip
