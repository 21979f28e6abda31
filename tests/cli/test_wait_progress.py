"""The texts that `wait` shows on a terminal."""

from __future__ import annotations

import click
import pytest

from queuectl.cli.wait_progress import Tally, WaitForAll, progress_text, summary
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from support.outcomes import COMPLETED, DEAD, EXIT_1, OK
from support.queue import Queue


@pytest.mark.parametrize(
    ("tally", "time_left", "width", "text"),
    [
        (Tally(0, 0, 0, 300), "no worker", 79, f"waiting  {'░' * 30}  0 of 300  no worker"),
        (
            Tally(206, 8, 0, 86),
            "about 35 min left",
            79,
            f"waiting  {'█' * 21}{'░' * 9}  214 of 300  8 dead  about 35 min left",
        ),
        (Tally(1, 1, 1, 1), "", 47, "waiting  ██████░░░  3 of 4  1 dead  1 cancelled"),
        (
            Tally(206, 8, 0, 86),
            "about 35 min left",
            50,
            "waiting  214 of 300  8 dead  about 35 min left",
        ),
        (Tally(206, 8, 0, 86), "about 35 min left", 30, "waiting  214 of 300  8 dead  …"),
    ],
)
def test_the_line_of_progress(tally: Tally, time_left: str, width: int, text: str) -> None:
    """It has a bar if there is room for one, and never wraps."""
    assert click.unstyle(progress_text(tally, time_left, width)) == text


@pytest.mark.parametrize(
    ("tally", "text"),
    [
        (Tally(40, 2, 0, 0), "40 completed, 2 dead"),
        (Tally(40, 0, 0, 0), "40 completed"),
        (Tally(0, 0, 3, 7), "3 cancelled, 7 unfinished"),
        (Tally(0, 0, 0, 0), "0 completed"),
    ],
)
def test_the_summary(tally: Tally, text: str) -> None:
    """It names only what there is."""
    assert summary(tally) == text


@pytest.mark.parametrize("queues", [(), ("default",)])
def test_a_wait_for_all_counts_from_its_beginning(queue: Queue, queues: tuple[str, ...]) -> None:
    """Jobs that ended before do not count, and those of other queues only if all are waited for."""
    for name in "abcd":
        queue.enqueue("true", "--id", name)
    queue.enqueue("true", "--queue", "other")

    def end(verdict: object, queue_name: str) -> None:
        claim = queue.storage.claim("w1", (queue_name,), now=utcnow())
        outcome = OK if verdict is COMPLETED else EXIT_1
        queue.storage.record(claim, outcome, verdict, now=utcnow())  # type: ignore[arg-type]

    end(COMPLETED, "default")
    waited_for = WaitForAll(queue.storage, queues, 4)
    end(COMPLETED, "default")
    end(DEAD, "default")
    end(DEAD, "other")
    queue.storage.cancel(queue.storage.get("d"), now=utcnow())

    assert waited_for.tally(0) == Tally(1, 1 if queues else 2, 1, 0)
    assert queue.storage.by_state()[JobState.COMPLETED] == 2
