CREATE TABLE activity (
        period       TEXT    NOT NULL,
        queue        TEXT    NOT NULL,
        event        TEXT    NOT NULL,
        times        INTEGER NOT NULL DEFAULT 0,
        run_seconds  REAL    NOT NULL DEFAULT 0,
        cpu_seconds  REAL    NOT NULL DEFAULT 0,
        wait_seconds REAL    NOT NULL DEFAULT 0,
        run_0 INTEGER NOT NULL DEFAULT 0,
        run_1 INTEGER NOT NULL DEFAULT 0,
        run_2 INTEGER NOT NULL DEFAULT 0,
        run_3 INTEGER NOT NULL DEFAULT 0,
        run_4 INTEGER NOT NULL DEFAULT 0,
        run_5 INTEGER NOT NULL DEFAULT 0,
        run_6 INTEGER NOT NULL DEFAULT 0,
        run_7 INTEGER NOT NULL DEFAULT 0,
        run_8 INTEGER NOT NULL DEFAULT 0,
        run_9 INTEGER NOT NULL DEFAULT 0,
        run_10 INTEGER NOT NULL DEFAULT 0,
        run_11 INTEGER NOT NULL DEFAULT 0,
        run_12 INTEGER NOT NULL DEFAULT 0,
        wait_0 INTEGER NOT NULL DEFAULT 0,
        wait_1 INTEGER NOT NULL DEFAULT 0,
        wait_2 INTEGER NOT NULL DEFAULT 0,
        wait_3 INTEGER NOT NULL DEFAULT 0,
        wait_4 INTEGER NOT NULL DEFAULT 0,
        wait_5 INTEGER NOT NULL DEFAULT 0,
        wait_6 INTEGER NOT NULL DEFAULT 0,
        wait_7 INTEGER NOT NULL DEFAULT 0,
        wait_8 INTEGER NOT NULL DEFAULT 0,
        wait_9 INTEGER NOT NULL DEFAULT 0,
        wait_10 INTEGER NOT NULL DEFAULT 0,
        wait_11 INTEGER NOT NULL DEFAULT 0,
        wait_12 INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (period, queue, event)
    ) WITHOUT ROWID
    ;
CREATE TABLE bad_ends (
        state TEXT    NOT NULL,
        queue TEXT    NOT NULL,
        jobs  INTEGER NOT NULL,
        PRIMARY KEY (state, queue),
        CONSTRAINT known_end CHECK (state = 'dead' OR state = 'cancelled'),
        CONSTRAINT never_negative CHECK (jobs >= 0)
    ) WITHOUT ROWID
    ;
INSERT INTO "bad_ends" VALUES('cancelled','default',1);
INSERT INTO "bad_ends" VALUES('dead','default',1);
INSERT INTO "bad_ends" VALUES('dead','q',3);
CREATE TABLE config (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    );
INSERT INTO "config" VALUES('max-retries','5');
INSERT INTO "config" VALUES('retention','0');
CREATE TABLE content_uses (
        content_id INTEGER PRIMARY KEY,
        jobs       INTEGER NOT NULL DEFAULT 0,
        CONSTRAINT never_negative CHECK (jobs >= 0)
    );
CREATE TABLE contents (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        checksum INTEGER NOT NULL,
        content  BLOB    NOT NULL
    );
CREATE TABLE counted_attempts (
        only_one INTEGER PRIMARY KEY DEFAULT 1,
        up_to    INTEGER NOT NULL,
        CONSTRAINT one_row CHECK (only_one = 1)
    );
INSERT INTO "counted_attempts" VALUES(1,4);
CREATE TABLE dependencies (
        job_seq   INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
        needs_seq INTEGER NOT NULL REFERENCES jobs (seq),
        however   INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (job_seq, needs_seq),
        CONSTRAINT not_itself CHECK (job_seq <> needs_seq)
    ) WITHOUT ROWID
    ;
INSERT INTO "dependencies" VALUES(7,5,0);
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
        output_tail      BLOB    NOT NULL DEFAULT x'', left_processes TEXT, pause_began REAL, paused_seconds REAL NOT NULL DEFAULT 0, waited_seconds REAL, queue TEXT,
        CONSTRAINT known_outcome CHECK (
            outcome IS NULL OR outcome = 'ok' OR outcome = 'exit' OR outcome = 'signal'
            OR outcome = 'timeout' OR outcome = 'cancelled' OR outcome = 'interrupted'
            OR outcome = 'lost' OR outcome = 'spawn-error'
        ),
        CONSTRAINT ended_has_time CHECK ((outcome IS NULL) = (finished_at IS NULL))
    );
INSERT INTO "executions" VALUES(1,1,1,'5a5a5a5a-1','2026-01-31T12:00:10.000000Z','2026-01-31T12:00:11.000000Z','ok',0,NULL,9,0.25,0.01,10485760,0,3,0,0,X'6F6B0A',NULL,NULL,0.0,NULL,NULL);
INSERT INTO "executions" VALUES(2,2,1,'5a5a5a5a-1','2026-01-31T12:00:20.000000Z','2026-01-31T12:00:21.000000Z','exit',3,NULL,7,2.0,NULL,NULL,0,0,0,0,X'',NULL,NULL,0.0,NULL,NULL);
INSERT INTO "executions" VALUES(3,3,1,'5a5a5a5a-1','2026-01-31T12:00:30.000000Z','2026-01-31T12:00:31.000000Z','signal',NULL,9,8,3.0,NULL,NULL,0,0,0,0,X'',NULL,NULL,0.0,NULL,NULL);
INSERT INTO "executions" VALUES(4,4,1,'5a5a5a5a-2','2026-01-31T12:00:40.000000Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,0,X'',NULL,NULL,0.0,NULL,'default');
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
    ;
CREATE TABLE job_counts (
        state TEXT    NOT NULL,
        queue TEXT    NOT NULL,
        jobs  INTEGER NOT NULL, head_priority INTEGER, head_seq INTEGER, paused INTEGER NOT NULL DEFAULT 0 CONSTRAINT some_paused CHECK (paused >= 0),
        PRIMARY KEY (state, queue),
        CONSTRAINT never_negative CHECK (jobs >= 0)
    ) WITHOUT ROWID
    ;
INSERT INTO "job_counts" VALUES('blocked','default',1,NULL,NULL,0);
INSERT INTO "job_counts" VALUES('cancelled','default',1,NULL,NULL,0);
INSERT INTO "job_counts" VALUES('completed','q',1,NULL,NULL,0);
INSERT INTO "job_counts" VALUES('dead','default',1,NULL,NULL,0);
INSERT INTO "job_counts" VALUES('failed','default',1,NULL,NULL,0);
INSERT INTO "job_counts" VALUES('pending','default',1,0,5,0);
INSERT INTO "job_counts" VALUES('processing','default',1,NULL,NULL,0);
INSERT INTO "job_counts" VALUES('scheduled','default',1,NULL,NULL,0);
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
        id_made          INTEGER NOT NULL DEFAULT 0, interruptions INTEGER NOT NULL DEFAULT 0 CONSTRAINT counted_interruptions CHECK (interruptions >= 0), paused_at TEXT, retry_delay REAL, backoff REAL, shell TEXT, input_id INTEGER, input_bytes INTEGER, captured_id INTEGER, schedule TEXT, scheduled_for TEXT, on_success TEXT, on_failure TEXT, on_finish TEXT, hook TEXT, hook_of INTEGER, hook_depth INTEGER NOT NULL DEFAULT 0, event_id TEXT,
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
    );
INSERT INTO "jobs" VALUES(1,'completed','run completed','completed','q',7,1,3,300.0,NULL,'2026-01-31T12:00:00.000000Z','2026-01-31T12:00:11.000000Z','2026-01-31T12:00:11.000000Z',NULL,NULL,NULL,0,NULL,0,NULL,NULL,'/tmp','{"TOKEN": "secret"}',NULL,'a label',0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "jobs" VALUES(2,'failed','run failed','failed','default',0,1,5,300.0,'2057-10-09T13:46:40.000000Z','2026-01-31T12:00:01.000000Z','2026-01-31T12:00:21.000000Z',NULL,NULL,NULL,NULL,0,NULL,3,NULL,'exit code 3','/tmp','{}',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "jobs" VALUES(3,'dead','run dead','dead','default',0,1,1,300.0,NULL,'2026-01-31T12:00:02.000000Z','2026-01-31T12:00:31.000000Z','2026-01-31T12:00:31.000000Z',NULL,NULL,NULL,0,NULL,NULL,9,'killed by SIGKILL','/tmp','{}',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "jobs" VALUES(4,'processing','run processing','processing','default',0,1,3,300.0,NULL,'2026-01-31T12:00:03.000000Z','2026-01-31T12:00:40.000000Z',NULL,'5a5a5a5a-2','2026-01-31T12:00:40.000000Z',4,0,NULL,NULL,NULL,NULL,'/tmp','{}',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "jobs" VALUES(5,'pending','run pending','pending','default',0,0,3,300.0,NULL,'2026-01-31T12:00:04.000000Z','2026-01-31T12:00:04.000000Z',NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'/tmp','{}',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "jobs" VALUES(6,'scheduled','run scheduled','scheduled','default',0,0,3,300.0,'2057-10-09T13:46:40.000000Z','2026-01-31T12:00:05.000000Z','2026-01-31T12:00:05.000000Z',NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'/tmp','{}',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "jobs" VALUES(7,'blocked','run blocked','blocked','default',0,0,3,300.0,NULL,'2026-01-31T12:00:06.000000Z','2026-01-31T12:00:06.000000Z',NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'/tmp','{}',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "jobs" VALUES(8,'cancelled','run cancelled','cancelled','default',0,0,3,300.0,NULL,'2026-01-31T12:00:07.000000Z','2026-01-31T12:00:50.000000Z','2026-01-31T12:00:50.000000Z',NULL,NULL,NULL,1,NULL,NULL,NULL,'cancelled','/tmp','{}',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
CREATE TABLE late_attempts (
        execution_id INTEGER PRIMARY KEY
    );
INSERT INTO "late_attempts" VALUES(4);
CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID
    ;
INSERT INTO "meta" VALUES('min_writer','1');
INSERT INTO "meta" VALUES('queue_id','00112233445566778899aabbccddeeff');
CREATE TABLE queues (
        name         TEXT PRIMARY KEY,
        paused_at    TEXT,
        paused_by    TEXT,
        pause_reason TEXT,
        job_limit    INTEGER,
        CONSTRAINT sane_limit CHECK (job_limit IS NULL OR job_limit >= 1)
    ) WITHOUT ROWID
    ;
INSERT INTO "queues" VALUES('later','2026-01-31T12:01:00.000000Z','ann','disk full',NULL);
INSERT INTO "queues" VALUES('q',NULL,NULL,NULL,2);
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
    ;
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
    );
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
        captured_id      INTEGER, schedule TEXT, scheduled_for TEXT, on_success TEXT, on_failure TEXT, on_finish TEXT, hook TEXT, hook_of INTEGER, hook_depth INTEGER NOT NULL DEFAULT 0, event_id TEXT,
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
    );
CREATE TABLE staged_needs (
        job_seq   INTEGER NOT NULL,
        needs_seq INTEGER NOT NULL,
        however   INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (job_seq, needs_seq),
        CONSTRAINT not_itself CHECK (job_seq <> needs_seq)
    ) WITHOUT ROWID
    ;
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
    ;
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
    ;
CREATE INDEX jobs_processing ON jobs (locked_by)
     WHERE state = 'processing'
    ;
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key)
     WHERE unique_key IS NOT NULL
       AND (state = 'scheduled' OR state = 'blocked' OR state = 'pending'
            OR state = 'processing' OR state = 'failed')
    ;
CREATE INDEX executions_job ON executions (job_seq)
    ;
CREATE INDEX dependencies_needed ON dependencies (needs_seq)
    ;
CREATE INDEX jobs_due ON jobs (run_at, seq, state, queue)
     WHERE state = 'scheduled' OR state = 'failed'
    ;
CREATE INDEX jobs_prunable ON jobs (state, finished_at, seq, queue)
     WHERE state = 'completed' OR state = 'cancelled'
    ;
CREATE INDEX jobs_dead ON jobs (seq, queue, state)
     WHERE state = 'dead'
    ;
CREATE INDEX jobs_blocked ON jobs (seq, queue, state)
     WHERE state = 'blocked'
    ;
CREATE INDEX queue_heads ON job_counts (head_priority DESC, head_seq)
     WHERE state = 'pending'
    ;
CREATE INDEX jobs_pending
        ON jobs (queue, paused_at, priority DESC, seq, updated_at, state)
     WHERE state = 'pending'
    ;
CREATE INDEX jobs_paused ON jobs (seq, queue, state)
     WHERE paused_at IS NOT NULL
    ;
CREATE TRIGGER count_new_job AFTER INSERT ON jobs
    BEGIN
        INSERT INTO job_counts (state, queue, jobs, paused, head_priority, head_seq)
        VALUES (new.state, new.queue, 1, new.paused_at IS NOT NULL,
                CASE new.state WHEN 'pending' THEN new.priority END,
                CASE new.state WHEN 'pending' THEN new.seq END)
            ON CONFLICT (state, queue) DO UPDATE
           SET jobs = jobs + 1,
               paused = paused + (new.paused_at IS NOT NULL);
    END;
CREATE TRIGGER count_moved_job AFTER UPDATE OF state, queue, paused_at ON jobs
      WHEN old.state <> new.state OR old.queue <> new.queue
        OR (old.paused_at IS NULL) <> (new.paused_at IS NULL)
    BEGIN
        UPDATE job_counts
           SET jobs = jobs - 1,
               paused = paused - (old.paused_at IS NOT NULL)
         WHERE state = old.state
           AND queue = old.queue;
        DELETE FROM job_counts
         WHERE state = old.state
           AND queue = old.queue
           AND jobs = 0;
        INSERT INTO job_counts (state, queue, jobs, paused, head_priority, head_seq)
        VALUES (new.state, new.queue, 1, new.paused_at IS NOT NULL,
                CASE new.state WHEN 'pending' THEN new.priority END,
                CASE new.state WHEN 'pending' THEN new.seq END)
            ON CONFLICT (state, queue) DO UPDATE
           SET jobs = jobs + 1,
               paused = paused + (new.paused_at IS NOT NULL);
    END;
CREATE TRIGGER count_gone_job AFTER DELETE ON jobs
    BEGIN
        UPDATE job_counts
           SET jobs = jobs - 1,
               paused = paused - (old.paused_at IS NOT NULL)
         WHERE state = old.state
           AND queue = old.queue;
        DELETE FROM job_counts
         WHERE state = old.state
           AND queue = old.queue
           AND jobs = 0;
    END;
CREATE TRIGGER move_head_new_job AFTER INSERT ON jobs
      WHEN new.state = 'pending' AND new.paused_at IS NULL
    BEGIN
        UPDATE job_counts
           SET head_priority = new.priority,
               head_seq = new.seq
         WHERE state = 'pending'
           AND queue = new.queue
           AND (head_priority < new.priority
                OR (head_priority = new.priority AND head_seq > new.seq));
    END;
CREATE TRIGGER move_head_moved_job AFTER UPDATE OF state, queue, priority, paused_at ON jobs
      WHEN new.state = 'pending' AND new.paused_at IS NULL
    BEGIN
        UPDATE job_counts
           SET head_priority = new.priority,
               head_seq = new.seq
         WHERE state = 'pending'
           AND queue = new.queue
           AND (head_priority < new.priority
                OR (head_priority = new.priority AND head_seq > new.seq));
    END;
CREATE INDEX jobs_died ON jobs (finished_at, seq, queue, state)
     WHERE state = 'dead'
    ;
CREATE INDEX jobs_labelled ON jobs (label, seq)
     WHERE label IS NOT NULL
    ;
CREATE INDEX contents_checksum ON contents (checksum)
    ;
CREATE INDEX contents_unused ON content_uses (content_id)
     WHERE jobs = 0
    ;
CREATE TRIGGER count_new_content AFTER INSERT ON contents
    BEGIN
        INSERT INTO content_uses (content_id)
        VALUES (new.id);
    END;
CREATE TRIGGER count_gone_content AFTER DELETE ON contents
    BEGIN
        DELETE FROM content_uses
         WHERE content_id = old.id;
    END;
CREATE INDEX staged_jobs_later ON staged_jobs (wave, seq)
     WHERE wave > 0
    ;
CREATE UNIQUE INDEX staged_jobs_unique_key ON staged_jobs (unique_key)
     WHERE unique_key IS NOT NULL
       AND (state = 'scheduled' OR state = 'blocked' OR state = 'pending' OR state = 'failed')
    ;
CREATE INDEX staged_needs_needed ON staged_needs (needs_seq)
    ;
CREATE TRIGGER delete_unused_contents AFTER DELETE ON stage
    BEGIN
        DELETE FROM contents
         WHERE id IN (SELECT content_id FROM content_uses WHERE jobs = 0);
    END;
CREATE TRIGGER use_input_new_job AFTER INSERT ON jobs
      WHEN new.input_id IS NOT NULL
    BEGIN
        UPDATE content_uses
           SET jobs = jobs + 1
         WHERE content_id = new.input_id;
    END;
CREATE TRIGGER use_input_changed_job AFTER UPDATE OF input_id ON jobs
      WHEN new.input_id IS NOT old.input_id
    BEGIN
        UPDATE content_uses
           SET jobs = jobs + 1
         WHERE content_id = new.input_id;
        UPDATE content_uses
           SET jobs = jobs - 1
         WHERE content_id = old.input_id;
        DELETE FROM contents
         WHERE id = old.input_id
           AND (SELECT jobs FROM content_uses WHERE content_id = old.input_id) = 0
           AND NOT EXISTS (SELECT 1 FROM stage);
    END;
CREATE TRIGGER use_input_gone_job AFTER DELETE ON jobs
      WHEN old.input_id IS NOT NULL
    BEGIN
        UPDATE content_uses
           SET jobs = jobs - 1
         WHERE content_id = old.input_id;
        DELETE FROM contents
         WHERE id = old.input_id
           AND (SELECT jobs FROM content_uses WHERE content_id = old.input_id) = 0
           AND NOT EXISTS (SELECT 1 FROM stage);
    END;
CREATE TRIGGER use_captured_new_job AFTER INSERT ON jobs
      WHEN new.captured_id IS NOT NULL
    BEGIN
        UPDATE content_uses
           SET jobs = jobs + 1
         WHERE content_id = new.captured_id;
    END;
CREATE TRIGGER use_captured_changed_job AFTER UPDATE OF captured_id ON jobs
      WHEN new.captured_id IS NOT old.captured_id
    BEGIN
        UPDATE content_uses
           SET jobs = jobs + 1
         WHERE content_id = new.captured_id;
        UPDATE content_uses
           SET jobs = jobs - 1
         WHERE content_id = old.captured_id;
        DELETE FROM contents
         WHERE id = old.captured_id
           AND (SELECT jobs FROM content_uses WHERE content_id = old.captured_id) = 0
           AND NOT EXISTS (SELECT 1 FROM stage);
    END;
CREATE TRIGGER use_captured_gone_job AFTER DELETE ON jobs
      WHEN old.captured_id IS NOT NULL
    BEGIN
        UPDATE content_uses
           SET jobs = jobs - 1
         WHERE content_id = old.captured_id;
        DELETE FROM contents
         WHERE id = old.captured_id
           AND (SELECT jobs FROM content_uses WHERE content_id = old.captured_id) = 0
           AND NOT EXISTS (SELECT 1 FROM stage);
    END;
CREATE INDEX jobs_schedule ON jobs (schedule, seq)
     WHERE schedule IS NOT NULL
    ;
CREATE INDEX jobs_hook_of ON jobs (hook_of)
     WHERE hook_of IS NOT NULL
    ;
CREATE INDEX jobs_hook ON jobs (hook, seq)
     WHERE hook IS NOT NULL
    ;
CREATE UNIQUE INDEX jobs_event ON jobs (event_id, hook)
     WHERE event_id IS NOT NULL
    ;
CREATE INDEX schedules_due ON schedules (due_at, name)
     WHERE paused_at IS NULL AND due_at IS NOT NULL
    ;
CREATE TRIGGER count_bad_end AFTER UPDATE OF state ON jobs
      WHEN (new.state = 'dead' OR new.state = 'cancelled') AND old.state <> new.state
    BEGIN
        INSERT INTO bad_ends (state, queue, jobs)
        VALUES (new.state, new.queue, 1)
            ON CONFLICT (state, queue) DO UPDATE SET jobs = jobs + 1;
        INSERT INTO activity (period, queue, event, times)
        VALUES (substr(new.finished_at, 1, 16), CAST(new.queue AS TEXT), CASE new.state WHEN 'dead' THEN 'dead' ELSE 'job-cancelled' END, 1),
               ('h' || substr(new.finished_at, 1, 13), CAST(new.queue AS TEXT), CASE new.state WHEN 'dead' THEN 'dead' ELSE 'job-cancelled' END, 1),
               ('d' || substr(new.finished_at, 1, 10), CAST(new.queue AS TEXT), CASE new.state WHEN 'dead' THEN 'dead' ELSE 'job-cancelled' END, 1),
               ('', CAST(new.queue AS TEXT), CASE new.state WHEN 'dead' THEN 'dead' ELSE 'job-cancelled' END, 1)
            ON CONFLICT (period, queue, event) DO UPDATE SET times = times + 1;
    END;
CREATE VIEW job_list AS
    SELECT id, seq AS number, queue, label, command, state, priority, attempts, interruptions,
           max_retries, retry_delay, backoff, timeout, run_at, created_at, updated_at, finished_at,
           locked_by, locked_at, paused_at, cwd, shell, input_bytes, unique_key, exit_code, signal,
           last_error, cancel_requested, cancel_reason, schedule, scheduled_for, hook,
           (SELECT id FROM jobs AS ended WHERE ended.seq = jobs.hook_of) AS hook_of
      FROM jobs;
CREATE VIEW run_list AS
    SELECT executions.id, jobs.id AS job, jobs.seq AS number, jobs.queue, jobs.label, jobs.command,
           jobs.schedule, jobs.hook, executions.attempt, executions.worker, executions.started_at,
           executions.finished_at, executions.outcome, executions.exit_code, executions.signal,
           executions.waited_seconds, executions.seconds, executions.cpu_seconds,
           executions.max_rss_bytes, executions.output_bytes
      FROM executions
      JOIN jobs ON jobs.seq = executions.job_seq;
CREATE VIEW queue_list AS
    SELECT counted.queue,
           sum(CASE state WHEN 'pending' THEN jobs ELSE 0 END) AS pending,
           sum(CASE state WHEN 'processing' THEN jobs ELSE 0 END) AS processing,
           sum(CASE state WHEN 'failed' THEN jobs ELSE 0 END) AS failed,
           sum(CASE state WHEN 'scheduled' THEN jobs ELSE 0 END) AS scheduled,
           sum(CASE state WHEN 'blocked' THEN jobs ELSE 0 END) AS blocked,
           sum(CASE state WHEN 'completed' THEN jobs ELSE 0 END) AS completed,
           sum(CASE state WHEN 'dead' THEN jobs ELSE 0 END) AS dead,
           sum(CASE state WHEN 'cancelled' THEN jobs ELSE 0 END) AS cancelled,
           (SELECT paused_at FROM queues WHERE name = counted.queue) AS paused_at,
           (SELECT paused_by FROM queues WHERE name = counted.queue) AS paused_by,
           (SELECT pause_reason FROM queues WHERE name = counted.queue) AS pause_reason,
           (SELECT job_limit FROM queues WHERE name = counted.queue) AS job_limit
      FROM (SELECT queue, state, jobs FROM job_counts
             UNION ALL
            SELECT name, NULL, 0 FROM queues WHERE name <> '') AS counted
     GROUP BY counted.queue;
CREATE VIEW tick_list AS
    SELECT ticks.schedule, ticks.planned_at, ticks.result, ticks.times, ticks.at, jobs.id AS job,
           jobs.state
      FROM ticks
      LEFT JOIN jobs ON jobs.seq = ticks.job_seq;
CREATE VIEW hook_run_list AS
    SELECT run.hook, run.event_id, ended.id AS job, run.id AS hook_job, run.queue, run.state,
           run.attempts, run.exit_code, run.last_error, run.created_at, run.finished_at
      FROM jobs AS run
      LEFT JOIN jobs AS ended ON ended.seq = run.hook_of
     WHERE run.event_id IS NOT NULL;
CREATE VIEW activity_by_minute AS
    SELECT minute, queue, event, sum(times) AS times, sum(run_seconds) AS run_seconds, sum(cpu_seconds) AS cpu_seconds, sum(wait_seconds) AS wait_seconds
      FROM (SELECT substr(period, 1, 16) AS minute, queue, event, times,
                   run_seconds, cpu_seconds, wait_seconds
              FROM activity
             WHERE period > '0' AND period < 'd'
             UNION ALL
            SELECT substr(finished_at, 1, 16), queue, outcome, 1,
                   coalesce(seconds, 0), coalesce(cpu_seconds, 0), coalesce(waited_seconds, 0)
              FROM executions
             WHERE outcome IS NOT NULL
               AND id > (SELECT up_to FROM counted_attempts)
             UNION ALL
            SELECT substr(finished_at, 1, 16), queue, outcome, 1,
                   coalesce(seconds, 0), coalesce(cpu_seconds, 0), coalesce(waited_seconds, 0)
              FROM executions
             WHERE outcome IS NOT NULL
               AND id IN (SELECT execution_id FROM late_attempts))
     GROUP BY minute, queue, event;
CREATE VIEW activity_by_hour AS
    SELECT hour, queue, event, sum(times) AS times, sum(run_seconds) AS run_seconds, sum(cpu_seconds) AS cpu_seconds, sum(wait_seconds) AS wait_seconds
      FROM (SELECT substr(period, 2, 13) AS hour, queue, event, times,
                   run_seconds, cpu_seconds, wait_seconds
              FROM activity
             WHERE period > 'h'
             UNION ALL
            SELECT substr(finished_at, 1, 13), queue, outcome, 1,
                   coalesce(seconds, 0), coalesce(cpu_seconds, 0), coalesce(waited_seconds, 0)
              FROM executions
             WHERE outcome IS NOT NULL
               AND id > (SELECT up_to FROM counted_attempts)
             UNION ALL
            SELECT substr(finished_at, 1, 13), queue, outcome, 1,
                   coalesce(seconds, 0), coalesce(cpu_seconds, 0), coalesce(waited_seconds, 0)
              FROM executions
             WHERE outcome IS NOT NULL
               AND id IN (SELECT execution_id FROM late_attempts))
     GROUP BY hour, queue, event;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',8);
INSERT INTO "sqlite_sequence" VALUES('executions',4);
PRAGMA application_id = 1903518580;
PRAGMA user_version = 4;
PRAGMA journal_mode = WAL;
