"""Rows of the tables as the frozen values that travel upwards."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, Mapping, Sequence

from queuectl.core.errors import QueueUnusable
from queuectl.core.models import Execution, Job, OutcomeKind, Output
from queuectl.core.states import JobState
from queuectl.core.times import from_text

SELECT_JOB = """
SELECT seq, id, command, state, queue, label, priority, attempts, max_retries, timeout, run_at,
       created_at, updated_at, finished_at, locked_by, locked_at, cwd, env, unique_key, exit_code,
       signal, last_error, cancel_requested, cancel_reason, id_made
  FROM jobs
"""

SELECT_EXECUTION = """
SELECT id, job_seq, attempt, worker, pid, started_at, finished_at, outcome, exit_code, signal,
       seconds, cpu_seconds, max_rss_bytes, leftovers, output_bytes, output_truncated,
       output_tail, output_in_file
  FROM executions
"""


def optional_time(text: str | None) -> datetime | None:
    """Read a time that may be absent."""
    return None if text is None else from_text(text)


@lru_cache(maxsize=4)
def _environment(text: str) -> Mapping[str, str]:
    """Read the variables of a job. Those of the one before are most often the same."""
    variables: Mapping[str, str] = json.loads(text)
    return variables


def to_job(row: Sequence[Any]) -> Job:
    """Build a job from a row of SELECT_JOB; QueueUnusable names one that another program spoilt."""
    try:
        return _to_job(row)
    except (QueueUnusable, ValueError) as error:
        raise QueueUnusable(f"job {row[1]}: {error}") from None


def _to_job(row: Sequence[Any]) -> Job:
    return Job(
        seq=row[0],
        id=row[1],
        command=row[2],
        state=JobState(row[3]),
        queue=row[4],
        label=row[5],
        priority=row[6],
        attempts=row[7],
        max_retries=row[8],
        timeout=row[9],
        run_at=optional_time(row[10]),
        created_at=from_text(row[11]),
        updated_at=from_text(row[12]),
        finished_at=optional_time(row[13]),
        locked_by=row[14],
        locked_at=optional_time(row[15]),
        cwd=row[16],
        env=_environment(row[17]),
        unique_key=row[18],
        exit_code=row[19],
        signal=row[20],
        last_error=row[21],
        cancel_requested=bool(row[22]),
        cancel_reason=row[23],
        id_made=bool(row[24]),
    )


def to_execution(row: Sequence[Any]) -> Execution:
    """Build an attempt from a row of SELECT_EXECUTION."""
    return Execution(
        id=row[0],
        job_seq=row[1],
        attempt=row[2],
        worker=row[3],
        pid=row[4],
        started_at=from_text(row[5]),
        finished_at=optional_time(row[6]),
        outcome=None if row[7] is None else OutcomeKind(row[7]),
        exit_code=row[8],
        signal=row[9],
        seconds=row[10],
        cpu_seconds=row[11],
        max_rss_bytes=row[12],
        leftovers=bool(row[13]),
        output=Output(row[14], bool(row[15]), bytes(row[16]), bool(row[17])),
    )
