"""The examples of the README work as pasted, and print what it shows."""

from __future__ import annotations

import sys

import pytest

from support.calls import COMMAND
from support.pages import CHECKOUT, README, TOPICS
from support.pasting import PROGRAMS, paste, stubs
from support.queue import Queue
from support.transcripts import check


@pytest.mark.skipif(sys.platform != "linux", reason="gzip says it differently elsewhere")
def test_the_session_shows_what_the_program_prints(queue: Queue) -> None:
    """Every command of the tour works, and shows what the README says."""
    check(queue, README, CHECKOUT / "README.md", "One minute")


def test_the_recipe_for_many_files_works(queue: Queue) -> None:
    """One job per file, whatever its name; nothing is left when the workers are done."""
    for name in ("clip 1.mkv", "it's.mkv"):
        (queue.work / name).touch()
    done = paste(queue, "set -e\n" + README.block("300 files overnight"), PATH=stubs(queue))
    queue.ok("wait", "--all", "--timeout", "30")
    queue.ok("worker", "stop")

    assert done.returncode == 0, done.stderr
    assert {job["timeout"] for job in queue.json("list")} == {0}
    assert {path.name for path in queue.work.glob("*.mp4")} == {"clip 1.mp4", "it's.mp4"}


def test_the_crontab_is_that_of_the_topic() -> None:
    """Its lines are tried out there."""
    lines = README.block("A cron job that mails only when it fails", "crontab").splitlines()

    assert len(lines) == 3
    assert set(lines) <= set(TOPICS["cron"].text.splitlines())


def test_the_recipe_for_a_service_writes_the_unit_of_the_topic(queue: Queue) -> None:
    """Only the place of queuectl differs. The unit is tried out there."""
    done = paste(
        queue, "set -e\n" + README.block("Workers as a service"), PATH=stubs(queue), QUEUECTL_DB=""
    )
    unit = (queue.home / ".config/systemd/user/queuectl.service").read_text()

    assert (done.returncode, done.stderr) == (0, "")
    assert unit.replace(COMMAND, "%h/.local/bin/queuectl") == TOPICS["systemd"].block(
        "For one user", "ini"
    )


@pytest.mark.parametrize("line", README.block("Cheat sheet").splitlines())
def test_a_line_of_the_cheat_sheet_works(queue: Queue, line: str) -> None:
    """It exits with 0 while a job runs and another one waits."""
    (queue.work / "commands.txt").write_text("true\n")
    queue.start()
    queue.until(queue.enqueue("sleep 4"), "processing")
    queue.enqueue("echo second")

    done = paste(queue, line, PATH=stubs(queue))

    assert (done.returncode, done.stderr) == (0, "")


def test_the_cheat_sheet_uses_every_program_that_it_stubs() -> None:
    """Prevents stubs for programs that no example calls any more."""
    texts = [block.text for page in (README, *TOPICS.values()) for block in page.blocks]

    assert [name for name in PROGRAMS if not any(name in text for text in texts)] == []
