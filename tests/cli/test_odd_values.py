"""Commands about a queue in which another program wrote odd values: one line, or the answer."""

from __future__ import annotations

import pytest

from support.odd_values import FEW_ODD_VALUES, add_odd_rows, fill
from support.queue import Queue
from support.rows import sql

_COMMANDS = (
    "list", "list --all --json", "status", "status --json", "queue list", "dlq list", "export -",
    "worker list", "hook list", "schedule list", "stats", "stats --by label", "doctor", "check",
    "metrics", "show next", "why next", "logs completed", "show completed --json",
)  # fmt: skip
"""The commands that people read by."""


@pytest.mark.parametrize("table", ["executions", "jobs", "schedules", "hooks", "activity"])
def test_commands_answer_beside_odd_values(queue: Queue, table: str) -> None:
    """Prevents a bug: one odd value in any row made a command print an unexpected error."""
    with queue.opened() as storage:
        fill(storage)
        assert add_odd_rows(storage, table, FEW_ODD_VALUES) > 3
    for command in _COMMANDS:
        done = queue.run(*command.split())
        assert "unexpected error" not in done.err, (command, done.err)
        assert done.code in (0, 1, 2, 3), (command, done)


def test_a_job_is_shown_whose_attempt_has_an_odd_worker(queue: Queue) -> None:
    """Prevents a bug: `show`, `logs` and `why` printed an error instead."""
    with queue.opened() as storage:
        fill(storage)
        sql(storage, "UPDATE executions SET worker = x'6162'")

    assert queue.ok("logs", "completed") == "hello"
    assert queue.show("completed")["executions"][0]["worker"] == "unknown"
    assert "completed" in queue.ok("why", "completed")
