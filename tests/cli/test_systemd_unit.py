"""`worker unit`: what it prints is what the topic shows, and what systemd accepts."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from queuectl.cli.systemd_unit import Service, unit
from support.calls import COMMAND
from support.pages import TOPICS
from support.queue import Queue

_PROGRAM = "/home/me/.local/bin/queuectl"


def test_the_topic_shows_the_unit(queue: Queue) -> None:
    """There the home folder is written as systemd knows it."""
    shown = unit(Service([_PROGRAM], 2)).replace("/home/me", "%h")

    assert f"```ini\n{shown}\n```" in TOPICS["systemd"].text


def test_the_unit_names_this_program_and_queue(queue: Queue) -> None:
    """A queue that is not the default one is named, for `worker stop` as well."""
    printed = queue.ok("worker", "unit", "--queue", "a,b", as_process=True)
    expected = Service([COMMAND], 1, ("a", "b"), str(queue.database))

    assert printed == unit(expected)
    assert f"Environment=QUEUECTL_DB={queue.database}\n" in printed
    assert f"ExecStart={COMMAND} worker start --count 1 --queue a --queue b -q\n" in printed
    assert not queue.database.exists()


def test_the_default_queue_is_not_named(queue: Queue) -> None:
    """systemd runs a unit of a user with the HOME of that user."""
    printed = queue.ok("worker", "unit", env={"QUEUECTL_DB": ""}, as_process=True)

    assert "QUEUECTL_DB" not in printed


def test_a_unit_of_the_system_names_the_user_and_the_queue(queue: Queue) -> None:
    """There is no other HOME to find the queue by."""
    printed = queue.ok("worker", "unit", "--system", env={"QUEUECTL_DB": ""}, as_process=True)

    assert f"User={getpass.getuser()}\n" in printed
    assert f"Environment=QUEUECTL_DB={queue.home}/.local/state/queuectl/queue.db\n" in printed
    assert printed.endswith("WantedBy=multi-user.target")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_accepts_the_unit(tmp_path: Path, user: str | None) -> None:
    """Also with a path of special characters, some of which it would expand."""
    folder = tmp_path / "a b %h $HOME"
    folder.mkdir()
    program = folder / "queuectl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / "queuectl.service"
    service = Service([str(program)], 2, ("a",), str(folder / "\"c' \\.db"), user)
    path.write_text(unit(service) + "\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    complaints = [line for line in done.stderr.splitlines() if "queuectl.service" in line]
    assert complaints == []
