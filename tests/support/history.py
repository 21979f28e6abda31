"""A ledger in which jobs note their starts and ends, and what must be true for any ledger."""

from __future__ import annotations

from collections import Counter
from typing import Iterable

from queuectl.core.states import JobState
from support.queue import Queue
from support.rows import sql

LEDGER = "ledger"

# Each attempt holds a lock of its job while any of its processes lives. So a second attempt at the
# same time is noticed even if the first one can no longer write.
_BEGIN = (
    'exec 7>>"lock.$QUEUECTL_JOB_ID"; '
    "flock -n -E 99 7; "
    '[ $? != 99 ] || echo "overlap $QUEUECTL_JOB_ID $QUEUECTL_EXECUTION" >>ledger; '
    'echo "start $QUEUECTL_JOB_ID $QUEUECTL_EXECUTION" >>ledger; '
)
_END = '; echo "end $QUEUECTL_JOB_ID $QUEUECTL_EXECUTION" >>ledger'


def keeping_a_ledger(command: str) -> str:
    """Return a command that also notes the start and the end of each attempt."""
    return _BEGIN + command + _END


def hiding_its_traces(command: str) -> str:
    """Return a command that runs another one without its mark, its output and its lock."""
    inner = command.replace("QUEUECTL_", "HIDDEN_").replace("'", "'\\''")
    names = "HIDDEN_JOB_ID=$QUEUECTL_JOB_ID HIDDEN_EXECUTION=$QUEUECTL_EXECUTION PATH=$PATH"
    return f"exec env -i {names} sh -c '{inner}' >/dev/null 2>&1"


def entries(queue: Queue) -> list[tuple[str, str, int]]:
    """Return the entries of the ledger: start, end or overlap, the job, and the attempt's id."""
    path = queue.work / LEDGER
    if not path.exists():
        return []
    written = []
    for line in path.read_text().splitlines():
        event, job, execution = line.split()
        written.append((event, job, int(execution.rpartition("/")[2])))
    return written


def assert_sound(queue: Queue) -> None:
    """Check that the database is sound, its counts are right, and `doctor` finds no failure."""
    assert queue.storage.integrity_errors() == []
    assert queue.storage.miscounts() == []
    done = queue.run("doctor")
    assert done.code == 0, done.out + done.err


def assert_all_counted(queue: Queue) -> None:
    """Check that each event is counted once, for a queue that was not pruned, without retries."""
    happened = Counter(
        sql(queue.storage, "SELECT coalesce(queue, ''), outcome FROM executions WHERE outcome > ''")
    )
    happened += Counter(
        (name, "enqueued") for (name,) in sql(queue.storage, "SELECT queue FROM jobs")
    )
    for state, event in (("dead", "dead"), ("cancelled", "job-cancelled")):
        ended = sql(queue.storage, "SELECT queue FROM jobs WHERE state = ?", state)
        happened += Counter((name, event) for (name,) in ended)
    counted = {(tally.queue, tally.event): tally.times for tally in queue.storage.totals()}
    assert counted == happened
    assert queue.storage.activity_miscounts() == []


def assert_nothing_lost_nothing_twice(queue: Queue, acknowledged: Iterable[str]) -> None:
    """Check for a drained queue that each job ran, once at a time, and was recorded once."""
    states = {job: queue.state(job) for job in acknowledged}
    assert states == dict.fromkeys(states, JobState.COMPLETED.value)

    written = entries(queue)
    assert [entry for entry in written if entry[0] == "overlap"] == []
    assert max(Counter(written).values(), default=0) <= 1, "an attempt wrote twice"
    last: dict[str, int] = {}
    for event, job, execution in written:
        if event == "start":
            assert execution > last.get(job, 0), f"{job}: an earlier attempt started late"
            last[job] = execution
        else:
            assert execution == last.get(job), f"{job}: an attempt ended after its successor began"

    recorded = {}
    for job in states:
        attempts = queue.attempts(job)
        assert all(attempt.outcome for attempt in attempts), attempts
        for attempt in attempts:
            recorded[(job, attempt.id)] = attempt.outcome.value if attempt.outcome else None
        assert [a.outcome.value for a in attempts if a.outcome].count("ok") == 1, attempts
        assert recorded[(job, attempts[-1].id)] == "ok"
    ran = {(job, execution) for event, job, execution in written if event == "start"}
    ended = {(job, execution) for event, job, execution in written if event == "end"}
    assert ran <= set(recorded), "an attempt ran that is not recorded"
    assert {one for one, outcome in recorded.items() if outcome == "ok"} <= ended
