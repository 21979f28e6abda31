"""The statements that turn the tables of schema 2 into those of schema 3."""

from __future__ import annotations


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
# no pending job of the queue comes before it. Otherwise each claim wrote two index entries, which
# took 6 us and a page of the write-ahead log. An outdated entry is corrected by the claim that
# finds it before the heads of all other queues.
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
