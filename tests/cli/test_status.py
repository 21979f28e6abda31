"""`status`: the counts, the workers and the path of the database."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from queuectl.core.models import Outcome, OutcomeKind, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from support import screens
from support.clock import noon
from support.queue import Queue
from support.states import every_state
from support.terminal import on_terminal

_STATES = ["blocked", "scheduled", "pending", "processing", "completed", "failed", "dead",
           "cancelled"]  # fmt: skip

# As the first queuectl printed it: what reads this text shall go on reading it.
_BLOCK = """\
Job Queue Status
==================================================

Jobs by State:
  Pending:          3
  Processing:       2
  Completed:       45
  Failed:           1
  Dead (DLQ):       2
--------------------------------------------------
  Total:           53

Completion Rate:
  84.9% (45/53)

Permanent Failures:
  3.8% (2/53)

Active/Pending Work: 5 job(s)
==================================================
"""

_EMPTY = """\
Job Queue Status
==================================================

Jobs by State:
  Pending:          0
  Processing:       0
  Completed:        0
  Failed:           0
  Dead (DLQ):       0
--------------------------------------------------
  Total:            0

Completion Rate:
  0.0% (0/0)

Permanent Failures:
  0.0% (0/0)

Active/Pending Work: 0 job(s)
==================================================

Workers: none
"""


def test_an_empty_queue(queue: Queue) -> None:
    """All counts are 0, and no worker is asked for."""
    with queue.opened():
        pass

    assert queue.run("status") == (0, f"{_EMPTY}Database: {queue.database}\n", "")


def test_a_default_queue_that_does_not_exist(queue: Queue) -> None:
    """The default queue counts as empty before it is created, and `status` says so."""
    called = queue.run("status", env={"QUEUECTL_DB": ""})

    path = f"{queue.home}/.local/state/queuectl/queue.db"
    assert called == (0, f"{_EMPTY}Database: {path} (not created yet)\n", "")


def test_the_block_has_its_documented_format(queue: Queue) -> None:
    """Scripts parse the block, so its labels, order, widths and rates stay as they are."""
    ok, bad = Outcome(OutcomeKind.OK, exit_code=0), Outcome(OutcomeKind.EXIT, exit_code=1)
    with queue.opened() as storage:
        storage.enqueue([JobSpec(command="true")] * 53, now=noon(0))
        for count, outcome, verdict in (
            (45, ok, Verdict(JobState.COMPLETED)),
            (1, bad, Verdict(JobState.FAILED, noon(10**9), "exit code 1")),
            (2, bad, Verdict(JobState.DEAD, last_error="exit code 1")),
            (2, None, None),
        ):
            for _ in range(count):
                claim = storage.claim("w", now=noon(1))
                assert claim is not None
                if outcome is not None and verdict is not None:
                    storage.record(claim, outcome, verdict, now=noon(2))

    out = queue.run("status").out

    assert out[: len(_BLOCK)] == _BLOCK


def test_json_of_an_empty_queue(queue: Queue) -> None:
    """All eight states are there with 0, and the rates are null."""
    with queue.opened():
        pass

    assert _json(queue) == {
        "database": str(queue.database),
        "jobs": dict.fromkeys(_STATES, 0),
        "total": 0,
        "completion_rate": None,
        "failure_rate": None,
        "workers": [],
    }


def test_json_of_every_state(queue: Queue) -> None:
    """Counts are numbers and rates are fractions."""
    every_state(queue)

    assert _json(queue) == {
        "database": str(queue.database),
        "jobs": dict.fromkeys(_STATES, 1),
        "total": 8,
        "completion_rate": 0.125,
        "failure_rate": 0.125,
        "workers": [],
    }


def test_json_says_what_holds_up_each_queue(queue: Queue) -> None:
    """Queues without unfinished jobs are left out."""
    every_state(queue)
    queue.enqueue("true", "--queue", "later", "--delay", "9h")
    queue.enqueue("true", "--queue", "p")
    queue.ok("queue", "pause", "p")
    shown = queue.json("status")

    assert shown["queues"] == [
        {
            "name": name,
            "left": left,
            "per_second": None,
            "seconds_left": None,
            "held_by": held_by,
        }
        for name, left, held_by in [
            ("default", 4, "no_worker"),
            ("later", 0, "scheduled"),
            ("p", 1, "paused"),
        ]
    ]
    assert [job["id"] for job in shown["running"]] == ["processing"]


@pytest.mark.parametrize(("columns", "remedy_at"), [(40, 5), (80, 4), (200, 3)])
def test_on_a_terminal(queue: Queue, columns: int, remedy_at: int) -> None:
    """The block comes first, and no line of what follows wraps."""
    every_state(queue)
    shown = on_terminal(queue, "status", size=(columns, 24)).screen
    block, _, rest = click.unstyle(shown).partition("=\nOf 2 ended")

    assert block.startswith("Job Queue Status\n=====")
    assert screens.widest(rest) <= columns
    lines = rest.splitlines()
    assert lines[0] == ": 1 completed, 1 dead (1 cancelled)"
    assert lines[2] == "Attention:"
    assert lines[3].startswith("  ! No worker is running: 1 job")
    assert "queuectl worker start" in lines[remedy_at]
    lines = lines[remedy_at:]
    assert lines[2].startswith("default")
    assert [line[:15] for line in lines[4:7:2]] == ["▸ processing  @", "✗ dead        @"]
    assert lines[-1].startswith("no workers · queuectl worker start")


def _json(queue: Queue) -> dict[str, Any]:
    called = queue.run("status", "--json")
    assert (called.code, called.err) == (0, "")
    shown: dict[str, Any] = json.loads(called.out)
    promised = ["database", "jobs", "total", "completion_rate", "failure_rate", "workers"]
    return {key: shown[key] for key in promised}
