"""The statements that make the tables of a queue, as they were up to schema 2."""

from __future__ import annotations

# Conditions on states are chains of OR, here and in the queries: inserts take 1.6 times as long if
# a CHECK uses IN, and a partial index serves only a query that repeats its condition word by word.
SCHEMA_1 = (
    """
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS config (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE jobs (
        seq              INTEGER PRIMARY KEY AUTOINCREMENT,
        id               TEXT    NOT NULL UNIQUE,
        command          TEXT    NOT NULL,
        state            TEXT    NOT NULL DEFAULT 'pending',
        queue            TEXT    NOT NULL DEFAULT 'default',
        priority         INTEGER NOT NULL DEFAULT 0,
        attempts         INTEGER NOT NULL DEFAULT 0,
        max_retries      INTEGER NOT NULL DEFAULT 3,
        timeout          REAL    NOT NULL DEFAULT 300,
        run_at           TEXT,
        created_at       TEXT    NOT NULL,
        updated_at       TEXT    NOT NULL,
        finished_at      TEXT,
        locked_by        TEXT,
        locked_at        TEXT,
        execution_id     INTEGER,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        cancel_reason    TEXT,
        exit_code        INTEGER,
        signal           INTEGER,
        last_error       TEXT,
        cwd              TEXT,
        env              TEXT    NOT NULL DEFAULT '{}',
        unique_key       TEXT,
        label            TEXT,
        id_made          INTEGER NOT NULL DEFAULT 0,
        CONSTRAINT known_state CHECK (
            state = 'pending' OR state = 'processing' OR state = 'completed' OR state = 'failed'
            OR state = 'dead' OR state = 'scheduled' OR state = 'blocked' OR state = 'cancelled'
        ),
        CONSTRAINT locked_while_processing CHECK (
            (state = 'processing') = (locked_by IS NOT NULL)
            AND (state = 'processing') = (locked_at IS NOT NULL)
            AND (state = 'processing') = (execution_id IS NOT NULL)
        ),
        CONSTRAINT finished_has_time CHECK (
            (state = 'completed' OR state = 'dead' OR state = 'cancelled')
            = (finished_at IS NOT NULL)
        ),
        CONSTRAINT waiting_has_time CHECK (
            run_at IS NOT NULL OR NOT (state = 'scheduled' OR state = 'failed')
        ),
        CONSTRAINT sane_numbers CHECK (
            attempts >= 0 AND max_retries >= 1 AND timeout >= 0
            AND (cancel_requested = 0 OR cancel_requested = 1)
        )
    )
    """,
    """
    CREATE INDEX jobs_pending ON jobs (queue, priority DESC, seq)
     WHERE state = 'pending'
    """,
    """
    CREATE INDEX jobs_due ON jobs (run_at, seq)
     WHERE state = 'scheduled' OR state = 'failed'
    """,
    """
    CREATE INDEX jobs_processing ON jobs (locked_by)
     WHERE state = 'processing'
    """,
    """
    CREATE INDEX jobs_prunable ON jobs (finished_at)
     WHERE state = 'completed' OR state = 'cancelled'
    """,
    """
    CREATE INDEX jobs_dead ON jobs (seq)
     WHERE state = 'dead'
    """,
    """
    CREATE INDEX jobs_blocked ON jobs (seq)
     WHERE state = 'blocked'
    """,
    """
    CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key)
     WHERE unique_key IS NOT NULL
       AND (state = 'scheduled' OR state = 'blocked' OR state = 'pending'
            OR state = 'processing' OR state = 'failed')
    """,
    """
    CREATE TABLE executions (
        id               INTEGER PRIMARY KEY AUTOINCREMENT,
        job_seq          INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
        attempt          INTEGER NOT NULL,
        worker           TEXT    NOT NULL,
        started_at       TEXT    NOT NULL,
        finished_at      TEXT,
        outcome          TEXT,
        exit_code        INTEGER,
        signal           INTEGER,
        pid              INTEGER,
        seconds          REAL,
        cpu_seconds      REAL,
        max_rss_bytes    INTEGER,
        leftovers        INTEGER NOT NULL DEFAULT 0,
        output_bytes     INTEGER NOT NULL DEFAULT 0,
        output_truncated INTEGER NOT NULL DEFAULT 0,
        output_in_file   INTEGER NOT NULL DEFAULT 0,
        output_tail      BLOB    NOT NULL DEFAULT x'',
        CONSTRAINT known_outcome CHECK (
            outcome IS NULL OR outcome = 'ok' OR outcome = 'exit' OR outcome = 'signal'
            OR outcome = 'timeout' OR outcome = 'cancelled' OR outcome = 'interrupted'
            OR outcome = 'lost' OR outcome = 'spawn-error'
        ),
        CONSTRAINT ended_has_time CHECK ((outcome IS NULL) = (finished_at IS NULL))
    )
    """,
    """
    CREATE INDEX executions_job ON executions (job_seq)
    """,
    """
    CREATE TABLE dependencies (
        job_seq   INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
        needs_seq INTEGER NOT NULL REFERENCES jobs (seq),
        however   INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (job_seq, needs_seq),
        CONSTRAINT not_itself CHECK (job_seq <> needs_seq)
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX dependencies_needed ON dependencies (needs_seq)
    """,
    # The row named '' stands for all queues, including future ones: no queue can have that name.
    """
    CREATE TABLE queues (
        name         TEXT PRIMARY KEY,
        paused_at    TEXT,
        paused_by    TEXT,
        pause_reason TEXT,
        job_limit    INTEGER,
        CONSTRAINT sane_limit CHECK (job_limit IS NULL OR job_limit >= 1)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE workers (
        id          TEXT PRIMARY KEY,
        supervisor  TEXT    NOT NULL,
        pid         INTEGER NOT NULL,
        start_ticks INTEGER,
        boot_id     TEXT,
        host        TEXT    NOT NULL,
        queues      TEXT    NOT NULL,
        started_at  TEXT    NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE job_counts (
        state TEXT    NOT NULL,
        queue TEXT    NOT NULL,
        jobs  INTEGER NOT NULL,
        PRIMARY KEY (state, queue),
        CONSTRAINT never_negative CHECK (jobs >= 0)
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER count_new_job AFTER INSERT ON jobs
    BEGIN
        INSERT INTO job_counts (state, queue, jobs)
        VALUES (new.state, new.queue, 1)
            ON CONFLICT (state, queue) DO UPDATE SET jobs = jobs + 1;
    END
    """,
    """
    CREATE TRIGGER count_moved_job AFTER UPDATE OF state, queue ON jobs
      WHEN old.state <> new.state OR old.queue <> new.queue
    BEGIN
        UPDATE job_counts
           SET jobs = jobs - 1
         WHERE state = old.state
           AND queue = old.queue;
        INSERT INTO job_counts (state, queue, jobs)
        VALUES (new.state, new.queue, 1)
            ON CONFLICT (state, queue) DO UPDATE SET jobs = jobs + 1;
    END
    """,
    """
    CREATE TRIGGER count_gone_job AFTER DELETE ON jobs
    BEGIN
        UPDATE job_counts
           SET jobs = jobs - 1
         WHERE state = old.state
           AND queue = old.queue;
    END
    """,
)


def _head_of(queue: str) -> str:
    """Return a SELECT of priority and seq of the pending job that a queue gives out next."""
    return f"""SELECT head.priority, head.seq
                 FROM jobs AS head
                WHERE head.state = 'pending'
                  AND head.queue = {queue}
                ORDER BY head.priority DESC, head.seq
                LIMIT 1"""


_COUNT_OLD = f"""\
        UPDATE job_counts
           SET jobs = jobs - 1
         WHERE state = old.state
           AND queue = old.queue;
        DELETE FROM job_counts
         WHERE state = old.state
           AND queue = old.queue
           AND jobs = 0;
        UPDATE job_counts
           SET (head_priority, head_seq) = ({_head_of("old.queue")})
         WHERE old.state = 'pending'
           AND state = 'pending'
           AND queue = old.queue
           AND head_seq = old.seq;"""

_COUNT_NEW = """\
        INSERT INTO job_counts (state, queue, jobs)
        VALUES (new.state, new.queue, 1)
            ON CONFLICT (state, queue) DO UPDATE SET jobs = jobs + 1;
        UPDATE job_counts
           SET head_priority = new.priority,
               head_seq = new.seq
         WHERE new.state = 'pending'
           AND state = 'pending'
           AND queue = new.queue
           AND (head_seq IS NULL
                OR head_priority < new.priority
                OR (head_priority = new.priority AND head_seq > new.seq));"""

# `job_counts` holds what is there now: it falls when a job is retried or pruned. `bad_ends` only
# grows, so two readings and a subtraction tell how many jobs died or were cancelled in between,
# even if the clock was set meanwhile. Only a change of state counts: a job that was inserted as
# dead (by import, or from the old tool's file) did not die here.
#
# The row of the pending jobs of a queue also names its head, the job to claim next. So a claim from
# all queues reads one entry of `queue_heads`, however many queues there are; asking each queue took
# 60 ms with 50,000. A row that counts no jobs is deleted: names of queues that are no longer used
# cost a claim nothing.
#
# Indexes end in columns that only tell jobs apart (state, queue), so that a search does not read
# the rows themselves: with variables they take several hundred bytes each. `jobs_pending` also has
# `updated_at`, from which the longest wait is read (0.14 s for 3,000,000 pending jobs). An index of
# its own would be faster, but each claim would write one page more.
#
# `interruptions` counts how often a job was put back without counting its attempt.
# `left_processes` names, as JSON, the processes of an attempt that were known to run after its end.
SCHEMA_2 = (
    """
    CREATE TABLE bad_ends (
        state TEXT    NOT NULL,
        queue TEXT    NOT NULL,
        jobs  INTEGER NOT NULL,
        PRIMARY KEY (state, queue),
        CONSTRAINT known_end CHECK (state = 'dead' OR state = 'cancelled'),
        CONSTRAINT never_negative CHECK (jobs >= 0)
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER count_bad_end AFTER UPDATE OF state ON jobs
      WHEN (new.state = 'dead' OR new.state = 'cancelled') AND old.state <> new.state
    BEGIN
        INSERT INTO bad_ends (state, queue, jobs)
        VALUES (new.state, new.queue, 1)
            ON CONFLICT (state, queue) DO UPDATE SET jobs = jobs + 1;
    END
    """,
    "ALTER TABLE jobs ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0"
    " CONSTRAINT counted_interruptions CHECK (interruptions >= 0)",
    "ALTER TABLE executions ADD COLUMN left_processes TEXT",
    "DROP INDEX jobs_pending",
    """
    CREATE INDEX jobs_pending ON jobs (queue, priority DESC, seq, updated_at, state)
     WHERE state = 'pending'
    """,
    "DROP INDEX jobs_due",
    """
    CREATE INDEX jobs_due ON jobs (run_at, seq, state, queue)
     WHERE state = 'scheduled' OR state = 'failed'
    """,
    "DROP INDEX jobs_prunable",
    """
    CREATE INDEX jobs_prunable ON jobs (state, finished_at, seq, queue)
     WHERE state = 'completed' OR state = 'cancelled'
    """,
    "DROP INDEX jobs_dead",
    """
    CREATE INDEX jobs_dead ON jobs (seq, queue, state)
     WHERE state = 'dead'
    """,
    "DROP INDEX jobs_blocked",
    """
    CREATE INDEX jobs_blocked ON jobs (seq, queue, state)
     WHERE state = 'blocked'
    """,
    "DELETE FROM job_counts WHERE jobs = 0",
    "ALTER TABLE job_counts ADD COLUMN head_priority INTEGER",
    "ALTER TABLE job_counts ADD COLUMN head_seq INTEGER",
    f"""
    UPDATE job_counts
       SET (head_priority, head_seq) = ({_head_of("job_counts.queue")})
     WHERE state = 'pending'
    """,
    """
    CREATE INDEX queue_heads ON job_counts (head_priority DESC, head_seq)
     WHERE state = 'pending'
    """,
    "DROP TRIGGER count_new_job",
    f"""
    CREATE TRIGGER count_new_job AFTER INSERT ON jobs
    BEGIN
{_COUNT_NEW}
    END
    """,
    "DROP TRIGGER count_moved_job",
    f"""
    CREATE TRIGGER count_moved_job AFTER UPDATE OF state, queue, priority ON jobs
      WHEN old.state <> new.state OR old.queue <> new.queue
        OR (new.state = 'pending' AND old.priority <> new.priority)
    BEGIN
{_COUNT_OLD}
{_COUNT_NEW}
    END
    """,
    "DROP TRIGGER count_gone_job",
    f"""
    CREATE TRIGGER count_gone_job AFTER DELETE ON jobs
    BEGIN
{_COUNT_OLD}
    END
    """,
)
