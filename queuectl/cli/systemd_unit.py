"""The unit by which systemd keeps workers running."""

from __future__ import annotations

from typing import Sequence

from queuectl.core.named_tuples import NamedTuple

_STOPS_AFTER_SECONDS = 90
"""Debian gives all services of a user 120 s at a reboot or logout, whatever a unit says. What still
runs then is killed, and that attempt counts; so jobs are put back in time."""


class Service(NamedTuple):
    """The service that a unit runs."""

    program: Sequence[str]
    """The words that call queuectl, an absolute path first."""
    workers: int
    """The number of workers."""
    queues: Sequence[str] = ()
    """The queues that they serve; empty for all."""
    database: str | None = None
    """The absolute path of the database; None for the default one."""
    user: str | None = None
    """The user as whom a unit of the system runs jobs; None for a unit of one user."""


def unit(service: Service) -> str:
    """Return the text of a unit (systemd.unit(5), systemd.service(5))."""
    executable, *words = service.program
    program = " ".join([_word(executable, dollars=False), *map(_word, words)])
    queues = "".join(f" --queue {_word(queue)}" for queue in service.queues)
    lines = [
        "[Unit]",
        "Description=queuectl workers",
        "Documentation=man:queuectl(1)",
        "",
        "[Service]",
        "Type=notify",
        *([] if service.user is None else [f"User={service.user}"]),
        *(
            []
            if service.database is None
            else [f"Environment={_word(f'QUEUECTL_DB={service.database}', dollars=False)}"]
        ),
        f"ExecStart={program} worker start --count {service.workers}{queues} -q",
        f"ExecStop=-{program} worker stop{queues} --timeout {_STOPS_AFTER_SECONDS}s -q",
        f"ExecStop=-{program} worker stop{queues} --now -q",
        "KillMode=mixed",
        f"TimeoutStopSec={_STOPS_AFTER_SECONDS + 20}s",
        "OOMPolicy=continue",
        "Restart=on-failure",
        "",
        "[Install]",
        f"WantedBy={'default' if service.user is None else 'multi-user'}.target",
    ]
    return "\n".join(lines)


def _word(text: str, *, dollars: bool = True) -> str:
    """Return a word as systemd reads it: `%` and `$` stand for themselves, white space is kept.

    In the path of the program and in Environment= a `$` has no meaning, so it is not doubled there.
    """
    text = text.replace("%", "%%")
    if dollars:
        text = text.replace("$", "$$")
    if not any(char in text for char in " \t\\\"';"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
