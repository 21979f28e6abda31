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


def _activity(name: str, start: int, length: int, periods: str) -> str:
    """Return the view of the counters of each minute or hour.

    `start` and `length` say which part of a stored period is shown. The ends of attempts are
    counted a little later than they are recorded, so those that are not counted yet are added here.
    The ids in `late_attempts` are not above that in `counted_attempts`.
    """
    attempts = f"""SELECT substr(finished_at, 1, {length}), queue, outcome, 1,
                   coalesce(seconds, 0), coalesce(cpu_seconds, 0), coalesce(waited_seconds, 0)
              FROM executions
             WHERE outcome IS NOT NULL"""
    return f"""
    CREATE VIEW activity_by_{name} AS
    SELECT {name}, queue, event, {_SUMS}
      FROM (SELECT substr(period, {start}, {length}) AS {name}, queue, event, times,
                   {", ".join(_AMOUNTS)}
              FROM activity
             WHERE {periods}
             UNION ALL
            {attempts}
               AND id > (SELECT up_to FROM counted_attempts)
             UNION ALL
            {attempts}
               AND id IN (SELECT execution_id FROM late_attempts))
     GROUP BY {name}, queue, event
    """


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
    _activity("minute", 1, 16, "period > '0' AND period < 'd'"),
    _activity("hour", 2, 13, "period > 'h'"),
)
