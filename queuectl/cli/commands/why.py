"""The command `why`: one sentence about where a job stands."""

from __future__ import annotations

from typing import Any, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import QueueCommand, json_option, open_storage
from queuectl.cli.looking import Looking, looking_options, shown_name
from queuectl.cli.shown_times import local_time
from queuectl.core.cells import wrap
from queuectl.core.escaping import escape
from queuectl.core.explanation import Explanation, Words, explain
from queuectl.core.models import Job
from queuectl.core.naming import number, title
from queuectl.core.times import utcnow
from queuectl.runner.output_reader import last_line
from queuectl.storage import Storage

_TITLE_CELLS = 48
_USUAL_WIDTH = 80


@click.command("why", cls=QueueCommand)
@looking_options
@json_option
def why(jobs: Sequence[str], queues: Sequence[str], states: Sequence[Any], as_json: bool) -> int:
    """Explain in one sentence per job where it stands, and why.

    On a terminal the default is the job that was enqueued last. With --json, several jobs make a
    list.

    \b
    Examples:
      queuectl why @17
      queuectl why nightly-backup
      queuectl why --state blocked
    """
    looking = Looking(jobs, queues, states)
    storage = open_storage()
    found = looking.jobs(storage)
    if not as_json:
        for job in found:
            _print(job, _explained(storage, job))
    elif looking.is_several:
        shapes = (_json(job, _explained(storage, job)) for job in found)
        output.print_json_array(shapes)
    else:
        job = looking.one(storage)
        output.print_json(_json(job, _explained(storage, job)))
    return looking.code


def _explained(storage: Storage, job: Job) -> Explanation:
    now = utcnow()
    words = Words(lambda instant: local_time(instant, now=now), shown_name, last_line)
    return explain(storage, job, now=now, words=words)


def _json(job: Job, explanation: Explanation) -> dict[str, str]:
    return {
        "id": job.id,
        "state": job.state.value,
        "reason": explanation.reason,
        "message": explanation.message,
    }


def _print(job: Job, explanation: Explanation) -> None:
    """Print the sentence; on a terminal the job has its number and its title, elsewhere its id."""
    if not output.on_terminal():
        output.print_line(f"{job.id} {explanation.message}")
        return
    id_given = "" if job.id_made else f" {job.id}"
    named = f"{number(job)}{id_given} ({title(job, cells=_TITLE_CELLS)})"
    sentence = escape(f"{named} {explanation.message}")
    for line in wrap(sentence, output.line_width() or _USUAL_WIDTH):
        output.print_line(line)
