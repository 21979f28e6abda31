"""The views of a queue's file that users may query: their columns are promised.

A later schema may add columns to a view, at its end. It never removes or renames one. No view shows
a variable of an environment, or a secret of a hook.
"""

from __future__ import annotations

_STATES = "pending processing failed scheduled blocked completed dead cancelled".split()
_PER_STATE = "".join(
    f"           sum(CASE state WHEN '{state}' THEN jobs ELSE 0 END) AS {state},\n"
    for state in _STATES
)

_AMOUNTS = ("run_seconds", "cpu_seconds", "wait_seconds")
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in ("times", *_AMOUNTS))

_ATTEMPT = """substr(finished_at, 1, 16), queue, outcome, 1, coalesce(seconds, 0),
                   coalesce(cpu_seconds, 0), coalesce(waited_seconds, 0)
              FROM executions"""

# The ends of attempts are counted a little later than they are recorded. The ids in `late_attempts`
# are not above that in `counted_attempts`.
_ALL_ACTIVITY = f"""SELECT period, queue, event, times, {", ".join(_AMOUNTS)}
              FROM activity
             UNION ALL
            SELECT {_ATTEMPT}
             WHERE outcome IS NOT NULL
               AND id > (SELECT up_to FROM counted_attempts)
             UNION ALL
            SELECT {_ATTEMPT}
             WHERE outcome IS NOT NULL
               AND id IN (SELECT execution_id FROM late_attempts)"""

VIEWS_4 = (
    """
    CREATE VIEW job_list AS
    SELECT id, seq AS number, queue, label, command, state, priority, attempts, interruptions,
           max_retries, retry_delay, backoff, timeout, run_at, created_at, updated_at, finished_at,
           locked_by, locked_at, paused_at, cwd, shell, input_bytes, unique_key, exit_code, signal,
           last_error, cancel_requested, cancel_reason, schedule, scheduled_for, hook,
           (SELECT id FROM jobs AS ended WHERE ended.seq = jobs.hook_of) AS hook_of
      FROM jobs
    """,
    """
    CREATE VIEW run_list AS
    SELECT executions.id, jobs.id AS job, jobs.seq AS number, jobs.queue, jobs.label, jobs.command,
           jobs.schedule, jobs.hook, executions.attempt, executions.worker, executions.started_at,
           executions.finished_at, executions.outcome, executions.exit_code, executions.signal,
           executions.waited_seconds, executions.seconds, executions.cpu_seconds,
           executions.max_rss_bytes, executions.output_bytes
      FROM executions
      JOIN jobs ON jobs.seq = executions.job_seq
    """,
    f"""
    CREATE VIEW queue_list AS
    SELECT counted.queue,
{_PER_STATE}\
           (SELECT paused_at FROM queues WHERE name = counted.queue) AS paused_at,
           (SELECT paused_by FROM queues WHERE name = counted.queue) AS paused_by,
           (SELECT pause_reason FROM queues WHERE name = counted.queue) AS pause_reason,
           (SELECT job_limit FROM queues WHERE name = counted.queue) AS job_limit
      FROM (SELECT queue, state, jobs FROM job_counts
             UNION ALL
            SELECT name, NULL, 0 FROM queues WHERE name <> '') AS counted
     GROUP BY counted.queue
    """,
    """
    CREATE VIEW tick_list AS
    SELECT ticks.schedule, ticks.planned_at, ticks.result, ticks.times, ticks.at, jobs.id AS job,
           jobs.state
      FROM ticks
      LEFT JOIN jobs ON jobs.seq = ticks.job_seq
    """,
    """
    CREATE VIEW hook_run_list AS
    SELECT run.hook, run.event_id, ended.id AS job, run.id AS hook_job, run.queue, run.state,
           run.attempts, run.exit_code, run.last_error, run.created_at, run.finished_at
      FROM jobs AS run
      LEFT JOIN jobs AS ended ON ended.seq = run.hook_of
     WHERE run.event_id IS NOT NULL
    """,
    f"""
    CREATE VIEW activity_by_minute AS
    SELECT period AS minute, queue, event, {_SUMS}
      FROM ({_ALL_ACTIVITY})
     WHERE length(period) = 16
     GROUP BY period, queue, event
    """,
    f"""
    CREATE VIEW activity_by_hour AS
    SELECT substr(period, 1, 13) AS hour, queue, event, {_SUMS}
      FROM ({_ALL_ACTIVITY})
     WHERE period > '0'
     GROUP BY substr(period, 1, 13), queue, event
    """,
)
