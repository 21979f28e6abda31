"""The statements that make the tables of a queue, by the number of the schema."""

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


def _count_uses(name: str) -> tuple[str, ...]:
    """Return the triggers that count how many jobs use a content as their input, for example."""
    column = f"{name}_id"
    drop = f"""\
        UPDATE content_uses
           SET jobs = jobs - 1
         WHERE content_id = old.{column};
        DELETE FROM contents
         WHERE id = old.{column}
           AND (SELECT jobs FROM content_uses WHERE content_id = old.{column}) = 0
           AND NOT EXISTS (SELECT 1 FROM stage);"""
    add = f"""\
        UPDATE content_uses
           SET jobs = jobs + 1
         WHERE content_id = new.{column};"""
    return (
        f"""
    CREATE TRIGGER use_{name}_new_job AFTER INSERT ON jobs
      WHEN new.{column} IS NOT NULL
    BEGIN
{add}
    END
    """,
        f"""
    CREATE TRIGGER use_{name}_changed_job AFTER UPDATE OF {column} ON jobs
      WHEN new.{column} IS NOT old.{column}
    BEGIN
{add}
{drop}
    END
    """,
        f"""
    CREATE TRIGGER use_{name}_gone_job AFTER DELETE ON jobs
      WHEN old.{column} IS NOT NULL
    BEGIN
{drop}
    END
    """,
    )


# Since schema 3 a claim does not move the head of its queue: the entry in `queue_heads` stays, and
# no pending job of the queue comes before it. Else each claim wrote two index entries, which took
# 6 us and a page of the write-ahead log. The claim that finds such an entry in front of those of
# other queues moves it.
_COUNT_OLD_3 = """\
        UPDATE job_counts
           SET jobs = jobs - 1,
               paused = paused - (old.paused_at IS NOT NULL)
         WHERE state = old.state
           AND queue = old.queue;
        DELETE FROM job_counts
         WHERE state = old.state
           AND queue = old.queue
           AND jobs = 0;"""

_COUNT_NEW_3 = """\
        INSERT INTO job_counts (state, queue, jobs, paused, head_priority, head_seq)
        VALUES (new.state, new.queue, 1, new.paused_at IS NOT NULL,
                CASE new.state WHEN 'pending' THEN new.priority END,
                CASE new.state WHEN 'pending' THEN new.seq END)
            ON CONFLICT (state, queue) DO UPDATE
           SET jobs = jobs + 1,
               paused = paused + (new.paused_at IS NOT NULL);"""

_MOVE_HEAD_3 = """\
        UPDATE job_counts
           SET head_priority = new.priority,
               head_seq = new.seq
         WHERE state = 'pending'
           AND queue = new.queue
           AND (head_priority < new.priority
                OR (head_priority = new.priority AND head_seq > new.seq));"""

# A bulk enqueue or import is staged, so that others do not wait while it writes: its jobs go into
# `staged_jobs` in many transactions, one short commit decides that they exist, and then they are
# moved into `jobs` in many transactions. There is one stage at a time, and its process holds the
# lock of stages while it lives. `first_seq` is the first seq that was reserved for its jobs.
#
# A staged job has its seq and its id already. Jobs are moved in the order of (wave, seq): a job
# that waits for a later line of its input is in a later wave than that line. So each job arrives
# after the jobs that it waits for, together with its rows of `dependencies`.
#
# `jobs_dead` is in the order of entry. `jobs_died` is in the order of death: without it, all dead
# jobs had to be read to find the one that died last, or those of the last minutes. A label does not
# change with the state, so its index costs a worker nothing.
#
# `retry_delay` is a fixed delay in seconds, `backoff` the base of the backoff of this job. `shell`
# is NULL for /bin/sh.
#
# A paused job has `paused_at`, and keeps its state. `jobs_pending` has that column in front of the
# order of claims, so that a claim does not step over paused jobs, however many there are; and
# `job_counts.paused` tells how many of the counted jobs are paused, so that nobody tries to claim
# them. The head of a queue may be a paused job: then no other job of the queue comes before it.
#
# The clock of a timeout stands still during a pause. `pause_began` is when the present pause of an
# attempt began, by the clock of `processes.clock`, and `paused_seconds` how long its earlier pauses
# took. So a worker that adopts the job knows them.
#
# `contents` holds what several jobs may have in common, each content once: their stdin (as a BLOB),
# and the variables that they took over from a shell (as JSON). `checksum` finds a content. How
# many jobs use it is kept apart, because a change of a row rewrites all of it. The last job that
# uses it takes it away. But a staged job is not counted, so nothing goes while there is a stage.
SCHEMA_3 = (
    "ALTER TABLE jobs ADD COLUMN paused_at TEXT",
    "ALTER TABLE executions ADD COLUMN pause_began REAL",
    "ALTER TABLE executions ADD COLUMN paused_seconds REAL NOT NULL DEFAULT 0",
    "ALTER TABLE job_counts ADD COLUMN paused INTEGER NOT NULL DEFAULT 0"
    " CONSTRAINT some_paused CHECK (paused >= 0)",
    "DROP INDEX jobs_pending",
    """
    CREATE INDEX jobs_pending
        ON jobs (queue, paused_at, priority DESC, seq, updated_at, state)
     WHERE state = 'pending'
    """,
    """
    CREATE INDEX jobs_paused ON jobs (seq, queue, state)
     WHERE paused_at IS NOT NULL
    """,
    "DROP TRIGGER count_new_job",
    f"""
    CREATE TRIGGER count_new_job AFTER INSERT ON jobs
    BEGIN
{_COUNT_NEW_3}
    END
    """,
    "DROP TRIGGER count_moved_job",
    f"""
    CREATE TRIGGER count_moved_job AFTER UPDATE OF state, queue, paused_at ON jobs
      WHEN old.state <> new.state OR old.queue <> new.queue
        OR (old.paused_at IS NULL) <> (new.paused_at IS NULL)
    BEGIN
{_COUNT_OLD_3}
{_COUNT_NEW_3}
    END
    """,
    "DROP TRIGGER count_gone_job",
    f"""
    CREATE TRIGGER count_gone_job AFTER DELETE ON jobs
    BEGIN
{_COUNT_OLD_3}
    END
    """,
    f"""
    CREATE TRIGGER move_head_new_job AFTER INSERT ON jobs
      WHEN new.state = 'pending' AND new.paused_at IS NULL
    BEGIN
{_MOVE_HEAD_3}
    END
    """,
    f"""
    CREATE TRIGGER move_head_moved_job AFTER UPDATE OF state, queue, priority, paused_at ON jobs
      WHEN new.state = 'pending' AND new.paused_at IS NULL
    BEGIN
{_MOVE_HEAD_3}
    END
    """,
    """
    CREATE INDEX jobs_died ON jobs (finished_at, seq, queue, state)
     WHERE state = 'dead'
    """,
    """
    CREATE INDEX jobs_labelled ON jobs (label, seq)
     WHERE label IS NOT NULL
    """,
    "ALTER TABLE jobs ADD COLUMN retry_delay REAL",
    "ALTER TABLE jobs ADD COLUMN backoff REAL",
    "ALTER TABLE jobs ADD COLUMN shell TEXT",
    "ALTER TABLE jobs ADD COLUMN input_id INTEGER",
    "ALTER TABLE jobs ADD COLUMN input_bytes INTEGER",
    "ALTER TABLE jobs ADD COLUMN captured_id INTEGER",
    """
    CREATE TABLE contents (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        checksum INTEGER NOT NULL,
        content  BLOB    NOT NULL
    )
    """,
    """
    CREATE INDEX contents_checksum ON contents (checksum)
    """,
    """
    CREATE TABLE content_uses (
        content_id INTEGER PRIMARY KEY,
        jobs       INTEGER NOT NULL DEFAULT 0,
        CONSTRAINT never_negative CHECK (jobs >= 0)
    )
    """,
    """
    CREATE INDEX contents_unused ON content_uses (content_id)
     WHERE jobs = 0
    """,
    """
    CREATE TRIGGER count_new_content AFTER INSERT ON contents
    BEGIN
        INSERT INTO content_uses (content_id)
        VALUES (new.id);
    END
    """,
    """
    CREATE TRIGGER count_gone_content AFTER DELETE ON contents
    BEGIN
        DELETE FROM content_uses
         WHERE content_id = old.id;
    END
    """,
    """
    CREATE TABLE stage (
        only_one   INTEGER PRIMARY KEY DEFAULT 1,
        token      TEXT    NOT NULL,
        phase      TEXT    NOT NULL DEFAULT 'filling',
        first_seq  INTEGER NOT NULL,
        pid        INTEGER NOT NULL,
        started_at TEXT    NOT NULL,
        CONSTRAINT one_at_a_time CHECK (only_one = 1),
        CONSTRAINT known_phase CHECK (
            phase = 'filling' OR phase = 'decided' OR phase = 'discarded'
        )
    )
    """,
    """
    CREATE TABLE staged_jobs (
        seq              INTEGER PRIMARY KEY,
        wave             INTEGER NOT NULL DEFAULT 0,
        id               TEXT    NOT NULL UNIQUE,
        command          TEXT    NOT NULL,
        state            TEXT    NOT NULL,
        queue            TEXT    NOT NULL,
        priority         INTEGER NOT NULL,
        attempts         INTEGER NOT NULL DEFAULT 0,
        interruptions    INTEGER NOT NULL DEFAULT 0,
        max_retries      INTEGER NOT NULL,
        timeout          REAL    NOT NULL,
        run_at           TEXT,
        created_at       TEXT    NOT NULL,
        updated_at       TEXT    NOT NULL,
        finished_at      TEXT,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        cancel_reason    TEXT,
        exit_code        INTEGER,
        signal           INTEGER,
        last_error       TEXT,
        cwd              TEXT,
        env              TEXT    NOT NULL,
        unique_key       TEXT,
        label            TEXT,
        id_made          INTEGER NOT NULL,
        retry_delay      REAL,
        backoff          REAL,
        shell            TEXT,
        paused_at        TEXT,
        input_id         INTEGER,
        input_bytes      INTEGER,
        captured_id      INTEGER,
        CONSTRAINT known_state CHECK (
            state = 'pending' OR state = 'completed' OR state = 'failed' OR state = 'dead'
            OR state = 'scheduled' OR state = 'blocked' OR state = 'cancelled'
        ),
        CONSTRAINT finished_has_time CHECK (
            (state = 'completed' OR state = 'dead' OR state = 'cancelled')
            = (finished_at IS NOT NULL)
        ),
        CONSTRAINT waiting_has_time CHECK (
            run_at IS NOT NULL OR NOT (state = 'scheduled' OR state = 'failed')
        ),
        CONSTRAINT sane_numbers CHECK (
            wave >= 0 AND attempts >= 0 AND interruptions >= 0 AND max_retries >= 1
            AND timeout >= 0 AND (cancel_requested = 0 OR cancel_requested = 1)
        )
    )
    """,
    """
    CREATE INDEX staged_jobs_later ON staged_jobs (wave, seq)
     WHERE wave > 0
    """,
    """
    CREATE UNIQUE INDEX staged_jobs_unique_key ON staged_jobs (unique_key)
     WHERE unique_key IS NOT NULL
       AND (state = 'scheduled' OR state = 'blocked' OR state = 'pending' OR state = 'failed')
    """,
    """
    CREATE TABLE staged_needs (
        job_seq   INTEGER NOT NULL,
        needs_seq INTEGER NOT NULL,
        however   INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (job_seq, needs_seq),
        CONSTRAINT not_itself CHECK (job_seq <> needs_seq)
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX staged_needs_needed ON staged_needs (needs_seq)
    """,
    """
    CREATE TRIGGER delete_unused_contents AFTER DELETE ON stage
    BEGIN
        DELETE FROM contents
         WHERE id IN (SELECT content_id FROM content_uses WHERE jobs = 0);
    END
    """,
    *_count_uses("input"),
    *_count_uses("captured"),
)
