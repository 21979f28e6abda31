"""Debian's cron daemon with the line that the guide recommends, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Iterator

import pytest

pytest.importorskip("cronsim", reason="needs the extra cron")

from queuectl.core.times import parse_iso
from support.queue import Queue
from support.waiting import wait_until

_CRON = shutil.which("cron", path=f"{os.environ['PATH']}:/usr/sbin")
_LINE = "* * * * * queuectl worker start -c 2 --drain --unless-running --detach -q"
# The daemon sees a spool and a /run of its own; the rest of the machine does not notice it.
_IN_PRIVATE = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /etc/cron.d
mount -t tmpfs none /var/spool/cron
mount --bind /dev/null /etc/crontab
mkdir -m 1730 /var/spool/cron/crontabs
install -m 600 "$1" /var/spool/cron/crontabs/root
exec "$2" -f
"""

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        _CRON is None or os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="needs root, unshare and the daemon of Debian's package cron",
    ),
]


@pytest.fixture
def crontab(queue: Queue) -> Iterator[Path]:
    """A crontab that a daemon obeys; it is stopped with the test."""
    for folder in ("/var/spool/cron", "/etc/cron.d"):  # mount points
        if not os.path.isdir(folder):
            pytest.skip(f"there is no folder {folder}")
    path = queue.folder / "crontab"
    variables = {name: queue.env[name] for name in ("PATH", "QUEUECTL_DB", "HOME")}
    lines = [*(f"{name}={value}" for name, value in variables.items()), 'MAILTO=""', _LINE, ""]
    path.write_text("\n".join(lines))
    assert _CRON is not None
    daemon = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", _IN_PRIVATE, "sh", str(path), _CRON],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield path
    finally:
        daemon.terminate()
        daemon.wait()
        queue.run("worker", "stop", "--now")


def test_the_line_of_the_guide_is_a_whole_scheduler(queue: Queue, crontab: Path) -> None:
    """Each minute of an imported crontab makes one job, on time, and each completes."""
    line = '* * * * * echo "$QUEUECTL_SCHEDULED_FOR" >> ran\n'
    assert queue.ok("schedule", "import", "-", stdin=line) == "echo"

    ran = queue.home / "ran"
    wait_until(
        lambda: ran.exists() and len(ran.read_text().split()) >= 2,
        timeout=300,
        what="two minutes of jobs",
    )
    wait_until(lambda: queue.counts().get("completed", 0) >= 2, what="their ends")
    jobs = queue.json("list", "--state", "completed")
    planned = sorted(parse_iso(line) for line in ran.read_text().split())
    assert planned == [planned[0] + timedelta(minutes=n) for n in range(len(planned))]
    for job in jobs:
        late = parse_iso(job["created_at"]) - parse_iso(job["scheduled_for"])
        assert timedelta(0) <= late < timedelta(seconds=60), job
    ticks = queue.json("schedule", "show", "echo")["ticks"]
    assert {(tick["result"], tick["times"]) for tick in ticks} == {("made", 1)}
