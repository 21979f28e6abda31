"""Whatever is enqueued or imported: a stage leads to the same result as one transaction."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuectl.core.errors import QueueError
from queuectl.core.jobfile import from_fields
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.host.files import find
from support.new_queues import open_new
from support.rows import add, finish, sql
from support.stages import stage_all

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
AT = "2026-01-31T12:00:00Z"

OLD = ("completed", "dead", "running", "waiting", "keyed", "keyed-dead")
NEW = ("a", "b", "c", "d", "e")
NEEDS = st.lists(st.sampled_from([*NEW, *OLD, "@last"]), max_size=2, unique=True).map(tuple)
RARELY = st.sampled_from([False, False, False, True])


@st.composite
def some_specs(draw):
    """Draw specs that often, but not always, fit together."""
    specs = []
    for number in range(draw(st.integers(1, 7))):
        key = draw(st.sampled_from([None, None, "k", "k2", "old"]))
        job_id = NEW[number % len(NEW)] if draw(st.booleans()) else None
        specs.append(
            JobSpec(
                command=f"c{number}",
                id=draw(st.sampled_from([job_id, job_id, "running"])) if draw(RARELY) else job_id,
                priority=draw(st.integers(0, 1)),
                queue=draw(st.sampled_from("xy")),
                run_at=NOW + timedelta(seconds=60) if draw(RARELY) else None,
                unique_key=key,
                if_dup=draw(st.sampled_from(["skip", "skip", "replace", "replace", "error"])),
                after=draw(NEEDS) if draw(st.booleans()) else (),
                after_any=draw(NEEDS) if draw(RARELY) else (),
                input=draw(st.sampled_from([None, None, b"x", b"y"])),
                shell=draw(st.sampled_from([None, "/bin/bash"])),
                retry_delay=draw(st.sampled_from([None, 5.0])),
            )
        )
    return specs


@st.composite
def some_lines(draw):
    """Draw the lines of an export."""
    lines = []
    for number in range(draw(st.integers(1, 7))):
        fields = {"id": draw(st.sampled_from([NEW[number % len(NEW)], NEW[number % len(NEW)],
                                              "dead"])), "command": f"c{number}"}  # fmt: skip
        state = draw(st.sampled_from(["pending", "blocked", "completed", "dead", "failed"]))
        fields["state"] = state
        if state == "blocked":
            fields["after"] = list(draw(NEEDS)) or ["a"]
        elif state in ("completed", "dead"):
            fields.update(finished_at=AT, attempts=1, exit_code=int(state == "dead"))
        elif state == "failed":
            fields.update(run_at=AT, attempts=1, last_error="exit 1")
        fields["input"] = draw(st.sampled_from([None, None, "x", "y"]))
        fields["captured"] = draw(st.sampled_from([None, {"A": "1"}, {"A": "2"}]))
        if draw(RARELY):
            fields["unique_key"] = draw(st.sampled_from(["k", "old"]))
        lines.append(fields)
    return lines


@contextmanager
def queue_with_history():
    with tempfile.TemporaryDirectory() as folder:
        storage = open_new(find(f"{folder}/queue.db", None, False))
        try:
            storage._database.connection.execute("PRAGMA synchronous = OFF")
            add(storage, NOW, "completed", "dead", "keyed-dead", "running", "waiting")
            finish(storage, NOW, "completed", JobState.COMPLETED)
            finish(storage, NOW, "dead", JobState.DEAD)
            finish(storage, NOW, "keyed-dead", JobState.DEAD)
            storage.claim("w1", now=NOW)
            add(storage, NOW, "keyed", unique_key="old")
            yield storage
        finally:
            storage.close()


def result(work, *, staged):
    """Return what the caller of `work` is told, and the rows of the queue afterwards."""
    with queue_with_history() as storage, pytest.MonkeyPatch.context() as patch:
        if staged:
            stage_all(patch)
        try:
            told = work(storage)
        except QueueError as error:
            told = type(error), error.position, _without_generated(str(error))
        names = [row[1] for row in sql(storage, "PRAGMA table_info(jobs)")]
        # Which number a content has does not matter, if it is the right content.
        values = [
            f"(SELECT content FROM contents WHERE id = jobs.{name})"
            if name in ("input_id", "captured_id")
            else name
            for name in names
        ]
        jobs = sql(storage, f"SELECT {', '.join(values)} FROM jobs ORDER BY seq")
        contents = sql(
            storage,
            """
            SELECT content, jobs,
                   (SELECT count(*) FROM jobs WHERE contents.id IN (input_id, captured_id))
              FROM contents
              JOIN content_uses ON content_id = id
             ORDER BY content
            """,
        )
        assert all(kept == used > 0 for _, kept, used in contents)
        id_place, made_place = names.index("id"), names.index("id_made")
        rows = [
            (*row[:id_place], None if row[made_place] else row[id_place], *row[id_place + 1 :])
            for row in jobs
        ]
        counts = sql(storage, "SELECT state, queue, jobs FROM job_counts ORDER BY state, queue")
        needs = sql(storage, "SELECT * FROM dependencies ORDER BY job_seq, needs_seq")
        left = [
            sql(storage, f"SELECT count(*) FROM {table}")[0][0]
            for table in ("stage", "staged_jobs", "staged_needs")
        ]
        last = sql(storage, "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'")
        assert storage.wrong_heads() == []
        assert storage.activity_miscounts() == []
        # A job of the same call may have replaced it in another queue, before it is counted or not.
        came_in = sum(tally.times for tally in storage.totals() if tally.event == "enqueued")
        return told, rows, counts, needs, left, last, contents, came_in


def _without_generated(text):
    return re.sub(r"\b[0-9a-f]{12}\b", "ID", text)


def enqueued(storage, specs):
    made = storage.enqueue(specs, now=NOW, environ={"PATH": "/bin"})
    return [each._replace(id=_without_generated(each.id)) for each in made]


_LIMITS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@_LIMITS
@given(specs=some_specs())
def test_what_is_enqueued_is_the_same(specs):
    """Jobs, dependencies and counts, what is returned, and which error is raised for which line."""

    def work(storage):
        return enqueued(storage, specs)

    assert result(work, staged=True) == result(work, staged=False)


@_LIMITS
@given(lines=some_lines(), skip_existing=st.booleans())
def test_what_is_imported_is_the_same(lines, skip_existing):
    """The same for `import`."""
    try:
        arriving = [from_fields(line, now=NOW) for line in lines]
    except QueueError:
        return

    def work(storage):
        return storage.import_jobs(arriving, skip_existing=skip_existing, now=NOW)

    assert result(work, staged=True) == result(work, staged=False)
