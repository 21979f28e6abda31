"""The statements that turn the tables of schema 3 into those of schema 4.

Schema 4 adds what hooks, schedules and the counters of activity need.
"""

from __future__ import annotations

from queuectl.storage.views import VIEWS_4

_BUCKETS = 13
"""How many buckets each histogram of `activity` has; `core.activity` knows their bounds."""

# Commands of a job for its end, the schedule that made it, and what is known of the job of a hook.
_JOB_COLUMNS = (
    "schedule TEXT",
    "scheduled_for TEXT",
    "on_success TEXT",
    "on_failure TEXT",
    "on_finish TEXT",
    "hook TEXT",
    # The seq of the job that ended. It is never used again, so it never means another job.
    "hook_of INTEGER",
    "hook_depth INTEGER NOT NULL DEFAULT 0",
    "event_id TEXT",
)


# The ends of attempts are counted later, from the rows of `executions`, many at a time. To count
# each one when it is recorded took a worker 9 to 13 us, and one or two pages of the write-ahead
# log; now it takes 1 us. So an attempt is counted however it ended, and whoever recorded that: also
# a worker of an older schema. `counted_attempts` has the id up to which all are counted, except
# those in `late_attempts`: they still ran when later ones were counted.
#
# A job may move to another queue before its attempt is counted, so `executions` has the queue, too.
#
# In `activity`, a period is a minute (2026-11-28T11:43), an hour (h2026-11-28T11) or a day, in UTC
# (d2026-11-28). The row of the period '' has the sum of all times, and that of '-' the sum of the
# days that are no longer kept. Everything is counted in its minute, its hour, its day, and in ''.
# So old minutes are just deleted, and nobody adds up 200,000 rows to know what happened in a day.
# All minutes, all hours and all days stand together in the order of periods, the oldest first.
#
# An event is the outcome of an attempt, or `enqueued`, `dead` or `job-cancelled`. Those three are
# about jobs, and are counted at once.
_END = "CASE new.state WHEN 'dead' THEN 'dead' ELSE 'job-cancelled' END"

_COUNT_BAD_END = f"""
    CREATE TRIGGER count_bad_end AFTER UPDATE OF state ON jobs
      WHEN (new.state = 'dead' OR new.state = 'cancelled') AND old.state <> new.state
    BEGIN
        INSERT INTO bad_ends (state, queue, jobs)
        VALUES (new.state, new.queue, 1)
            ON CONFLICT (state, queue) DO UPDATE SET jobs = jobs + 1;
        INSERT INTO activity (period, queue, event, times)
        VALUES (substr(new.finished_at, 1, 16), CAST(new.queue AS TEXT), {_END}, 1),
               ('h' || substr(new.finished_at, 1, 13), CAST(new.queue AS TEXT), {_END}, 1),
               ('d' || substr(new.finished_at, 1, 10), CAST(new.queue AS TEXT), {_END}, 1),
               ('', CAST(new.queue AS TEXT), {_END}, 1)
            ON CONFLICT (period, queue, event) DO UPDATE SET times = times + 1;
    END
    """


def _histogram(name: str) -> str:
    return ",\n".join(f"        {name}_{n} INTEGER NOT NULL DEFAULT 0" for n in range(_BUCKETS))


SCHEMA_4 = (
    *(
        f"ALTER TABLE {table} ADD COLUMN {column}"
        for table in ("jobs", "staged_jobs")
        for column in _JOB_COLUMNS
    ),
    "ALTER TABLE executions ADD COLUMN waited_seconds REAL",
    "ALTER TABLE executions ADD COLUMN queue TEXT",
    """
    CREATE INDEX jobs_schedule ON jobs (schedule, seq)
     WHERE schedule IS NOT NULL
    """,
    """
    CREATE INDEX jobs_hook_of ON jobs (hook_of)
     WHERE hook_of IS NOT NULL
    """,
    """
    CREATE INDEX jobs_hook ON jobs (hook, seq)
     WHERE hook IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX jobs_event ON jobs (event_id, hook)
     WHERE event_id IS NOT NULL
    """,
    """
    CREATE TABLE hooks (
        name             TEXT PRIMARY KEY,
        events           TEXT    NOT NULL,
        queues           TEXT    NOT NULL DEFAULT '',
        labels           TEXT    NOT NULL DEFAULT '*',
        schedules        TEXT    NOT NULL DEFAULT '',
        command          TEXT,
        url              TEXT,
        format           TEXT    NOT NULL DEFAULT 'standard',
        secret           TEXT,
        secret_file      TEXT,
        old_secret       TEXT,
        old_secret_until TEXT,
        header           TEXT    NOT NULL DEFAULT '{}',
        output_bytes     INTEGER NOT NULL DEFAULT 0,
        digest_seconds   REAL    NOT NULL DEFAULT 0,
        timeout          REAL    NOT NULL DEFAULT 60,
        max_retries      INTEGER NOT NULL DEFAULT 5,
        cwd              TEXT,
        env              TEXT    NOT NULL DEFAULT '{}',
        created_at       TEXT    NOT NULL,
        paused_at        TEXT,
        disabled_at      TEXT,
        disabled_reason  TEXT,
        failures         INTEGER NOT NULL DEFAULT 0,
        last_delivery_at TEXT,
        last_result      TEXT,
        digest_seq       INTEGER,
        CONSTRAINT one_target CHECK ((command IS NULL) <> (url IS NULL)),
        CONSTRAINT known_format CHECK (
            format = 'standard' OR format = 'healthchecks' OR format = 'slack' OR format = 'text'
        ),
        CONSTRAINT sane_numbers CHECK (
            max_retries >= 1 AND timeout >= 0 AND digest_seconds >= 0 AND failures >= 0
            AND output_bytes >= 0
        )
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE schedules (
        name          TEXT PRIMARY KEY,
        expression    TEXT    NOT NULL,
        timezone      TEXT,
        spec          TEXT    NOT NULL,
        missed        TEXT    NOT NULL DEFAULT 'once',
        missed_within REAL,
        overlap       TEXT    NOT NULL DEFAULT 'skip',
        jitter        REAL    NOT NULL DEFAULT 0,
        anchor        TEXT    NOT NULL,
        until         TEXT,
        created_at    TEXT    NOT NULL,
        updated_at    TEXT    NOT NULL,
        paused_at     TEXT,
        paused_by     TEXT,
        pause_reason  TEXT,
        next_at       TEXT,
        due_at        TEXT,
        last_at       TEXT,
        last_ended    TEXT,
        last_success_at TEXT,
        made          INTEGER NOT NULL DEFAULT 0,
        overlapped    INTEGER NOT NULL DEFAULT 0,
        missed_count  INTEGER NOT NULL DEFAULT 0,
        source        TEXT,
        CONSTRAINT known_missed CHECK (missed = 'skip' OR missed = 'once' OR missed = 'all'),
        CONSTRAINT known_overlap CHECK (
            overlap = 'skip' OR overlap = 'allow' OR overlap = 'replace'
        ),
        CONSTRAINT all_may_overlap CHECK (missed <> 'all' OR overlap = 'allow'),
        CONSTRAINT due_with_next CHECK ((next_at IS NULL) = (due_at IS NULL)),
        CONSTRAINT sane_numbers CHECK (
            jitter >= 0 AND (missed_within IS NULL OR missed_within >= 0)
            AND made >= 0 AND overlapped >= 0 AND missed_count >= 0
        )
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX schedules_due ON schedules (due_at, name)
     WHERE paused_at IS NULL AND due_at IS NOT NULL
    """,
    """
    CREATE TABLE ticks (
        schedule   TEXT    NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
        planned_at TEXT    NOT NULL,
        result     TEXT    NOT NULL,
        times      INTEGER NOT NULL DEFAULT 1,
        job_seq    INTEGER,
        at         TEXT    NOT NULL,
        PRIMARY KEY (schedule, planned_at),
        CONSTRAINT known_result CHECK (
            result = 'made' OR result = 'overlapped' OR result = 'missed' OR result = 'paused'
            OR result = 'by-hand'
        ),
        CONSTRAINT sane_numbers CHECK (times >= 1)
    ) WITHOUT ROWID
    """,
    f"""
    CREATE TABLE activity (
        period       TEXT    NOT NULL,
        queue        TEXT    NOT NULL,
        event        TEXT    NOT NULL,
        times        INTEGER NOT NULL DEFAULT 0,
        run_seconds  REAL    NOT NULL DEFAULT 0,
        cpu_seconds  REAL    NOT NULL DEFAULT 0,
        wait_seconds REAL    NOT NULL DEFAULT 0,
{_histogram("run")},
{_histogram("wait")},
        PRIMARY KEY (period, queue, event)
    ) WITHOUT ROWID
    """,
    "DROP TRIGGER count_bad_end",
    _COUNT_BAD_END,
    """
    CREATE TABLE counted_attempts (
        only_one INTEGER PRIMARY KEY DEFAULT 1,
        up_to    INTEGER NOT NULL,
        CONSTRAINT one_row CHECK (only_one = 1)
    )
    """,
    """
    CREATE TABLE late_attempts (
        execution_id INTEGER PRIMARY KEY
    )
    """,
    # Nothing is counted that ended before. What runs now is counted when it ends.
    "INSERT INTO counted_attempts (up_to) SELECT coalesce(max(id), 0) FROM executions",
    "INSERT INTO late_attempts SELECT id FROM executions WHERE id IN (SELECT execution_id FROM jobs"
    " WHERE state = 'processing')",
    """
    UPDATE executions
       SET queue = (SELECT queue FROM jobs WHERE jobs.seq = executions.job_seq)
     WHERE id IN (SELECT execution_id FROM late_attempts)
    """,
    *VIEWS_4,
)
