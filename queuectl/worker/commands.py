"""The command that a worker runs for a claim, with its environment and its limits."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Callable, Mapping

from queuectl.core.environment import is_for_one_process
from queuectl.core.models import Claim
from queuectl.core.settings import DEFAULT_SHELL
from queuectl.host.files import QueueFiles
from queuectl.runner.attempt import Command

_OF_WEBHOOK = 'exec "$QUEUECTL_PYTHON" '
"""The beginning of the command that sends a webhook (see core.hooks; workers do not load it)."""


class CommandBuilder:
    """Builds the commands of one worker, from what that had around it when it was started."""

    def __init__(
        self,
        files: QueueFiles,
        queue_id: str,
        slot: int,
        read_content: Callable[[int], bytes | None],
        environ: Mapping[str, str],
    ) -> None:
        """`read_content` reads what the queue has stored as the stdin of a job.

        `environ` is what `inherited_environ` returned.
        """
        self._files = files
        self._read_content = read_content
        self._queue_id = queue_id
        self._slot = slot
        self._environ = environ
        self._folder = _current_folder()
        self._last_env: Mapping[str, str] = {}
        self._last_environ: Mapping[str, str] = self._environ

    def build(self, claim: Claim) -> Command:
        """Return the command of a claim, for its start as well as for its recovery."""
        job, settings = claim.job, claim.settings
        mark = self.mark(claim.execution_id)
        status_path = self._files.worker_status(claim.log_owner)
        cwd = self._folder if job.cwd is None else job.cwd
        own_environ = {
            "QUEUECTL_JOB_ID": job.id,
            "QUEUECTL_ATTEMPT": str(job.attempts),
            "QUEUECTL_QUEUE": job.queue,
            "QUEUECTL_SLOT": str(self._slot),
            "QUEUECTL_DB": self._files.database,
            "QUEUECTL_EXECUTION": mark,
            "QUEUECTL_STATUS": status_path,
        }
        if job.hook is not None or job.command.startswith(_OF_WEBHOOK):
            # A webhook is sent by this program; also by a job that was imported, which is no job of
            # a hook any more.
            own_environ["QUEUECTL_PYTHON"] = sys.executable
        if cwd is not None:
            # As `cd` does: a path through symbolic links stays the one that the user knows.
            own_environ["PWD"] = cwd
        input_id = job.input_id
        return Command(
            shell=job.shell or DEFAULT_SHELL,
            shell_text=job.command,
            mark=mark,
            environ=self._environ_with(job.env),
            cwd=cwd,
            status_path=status_path,
            timeout_seconds=job.timeout,
            grace_seconds=settings.kill_grace,
            kills_leftovers=settings.leftovers == "kill",
            may_be_retried=job.attempts < job.max_retries,
            read_input=None if input_id is None else partial(self._read_content, input_id),
            own_environ=own_environ,
        )

    def _environ_with(self, env: Mapping[str, str]) -> Mapping[str, str]:
        """Return the environment of this worker with the variables of a job.

        Kept for the next job, which usually has the same mapping.
        """
        if env is not self._last_env:
            self._last_env, self._last_environ = env, {**self._environ, **env}
        return self._last_environ

    def mark(self, execution_id: int) -> str:
        """Return the value of QUEUECTL_EXECUTION that identifies the processes of an attempt."""
        return f"{self._queue_id}/{execution_id}"


def inherited_environ() -> dict[str, str]:
    """Return the variables of this process that its jobs get."""
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("QUEUECTL_") or is_for_one_process(name))
    }


def _current_folder() -> str | None:
    """Return the folder in which `worker start` was called: jobs without a folder run there."""
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None
