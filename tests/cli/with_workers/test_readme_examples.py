"""The examples of the README work as pasted, and print what it shows."""

from __future__ import annotations

import re
import sys

import pytest

from support.calls import COMMAND
from support.pages import CHECKOUT, README, TOPICS
from support.pasting import PROGRAMS, paste, stubs
from support.queue import Queue
from support.transcripts import check


def _first_block(topic: str, heading: str) -> str:
    """Return the first commands of a section."""
    return re.findall(
        r"^```sh\n(.*?)^```$", TOPICS[topic].section(heading), re.MULTILINE | re.DOTALL
    )[0]


@pytest.mark.skipif(sys.platform != "linux", reason="gzip says it differently elsewhere")
def test_the_session_shows_what_the_program_prints(queue: Queue) -> None:
    """Every command of the tour works, and shows what the README says."""
    check(queue, README, CHECKOUT / "README.md", "One minute")


def test_the_recipe_for_many_files_works(queue: Queue) -> None:
    """One job per file, whatever its name; nothing is left when the workers are done."""
    for name in ("clip 1.mkv", "it's.mkv"):
        (queue.work / name).touch()
    recipe = _first_block("recipes", "300 files overnight")
    done = paste(queue, "set -e\n" + recipe, PATH=stubs(queue))
    queue.ok("wait", "--all", "--timeout", "30")
    queue.ok("worker", "stop")

    assert done.returncode == 0, done.stderr
    assert {job["timeout"] for job in queue.json("list")} == {0}
    assert {path.name for path in queue.work.glob("*.mp4")} == {"clip 1.mp4", "it's.mp4"}


def test_the_crontab_is_that_of_the_topic() -> None:
    """Its lines are tried out there."""
    lines = README.block("Nightly jobs", "crontab").splitlines()

    assert len(lines) == 3
    assert set(lines) <= set(TOPICS["cron"].text.splitlines())


def test_the_recipe_for_a_service_writes_the_unit_of_the_topic(queue: Queue) -> None:
    """Only the place of queuectl differs. The unit is tried out there."""
    recipe = _first_block("systemd", "For one user")
    done = paste(queue, "set -e\n" + recipe, PATH=stubs(queue), QUEUECTL_DB="")
    unit = (queue.home / ".config/systemd/user/queuectl.service").read_text()

    assert (done.returncode, done.stderr) == (0, "")
    assert unit.replace(COMMAND, "%h/.local/bin/queuectl") == TOPICS["systemd"].block(
        "For one user", "ini"
    )


def test_the_hooks_of_the_readme_are_added(queue: Queue) -> None:
    """Each is known by its name afterwards; only the webhook has a secret to print."""
    done = paste(queue, "set -e\n" + README.block("Be told"), PATH=stubs(queue))

    assert (done.returncode, done.stderr) == (0, "")
    assert [hook["name"] for hook in queue.json("hook", "list")] == ["done", "mail", "web"]
    assert [line.partition("_")[0] for line in done.stdout.splitlines()] == [
        "mail", "done", "web", "whsec",
    ]  # fmt: skip


@pytest.mark.parametrize("line", README.block("Cheat sheet").splitlines())
def test_a_line_of_the_cheat_sheet_works(queue: Queue, line: str) -> None:
    """It exits with 0 while a job runs, another one waits, and a third one has died."""
    (queue.work / "notes.txt").touch()
    queue.enqueue("exit 12", "--max-retries", "1")
    queue.start()
    queue.until("@1", "dead")
    # The job must end by itself if the line waits for it; to be followed, it must still run.
    seconds = 20 if "--follow" in line else 4 if re.search("--wait|worker stop", line) else 60
    job = queue.enqueue(f"until [ -e pasted ]; do sleep 0.02; done; sleep {seconds}")
    queue.until(job, "processing")
    queue.enqueue("echo second")

    done = paste(queue, f"touch pasted\n{line}", PATH=stubs(queue))
    queue.ok("worker", "stop", "--now", "-q")  # the line may have started some

    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith("queuectl")]


def test_the_cheat_sheet_uses_every_program_that_it_stubs() -> None:
    """Prevents stubs for programs that no example calls any more."""
    texts = [block.text for page in (README, *TOPICS.values()) for block in page.blocks]

    assert [name for name in PROGRAMS if not any(name in text for text in texts)] == []
