"""Values that nobody typed: what is around a command must fit the queue, or is said in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.processes import linux_only
from support.queue import Queue

_BAD = os.fsdecode(b"\xff")
"""A byte that is no UTF-8, as Python has it."""

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")


@pytest.fixture
def odd(queue: Queue) -> Path:
    """A folder whose name is not UTF-8."""
    folder = queue.work / _BAD
    folder.mkdir()
    return folder


@pytest.mark.parametrize("words", [("true",), ('{"command": "true"}',), ("-",), ("--lines", "-")])
def test_a_current_folder_that_is_not_utf_8(
    queue: Queue, odd: Path, words: tuple[str, ...]
) -> None:
    """Regression: a UnicodeEncodeError with its traceback."""
    for env in ({}, {"PWD": str(odd)}):
        line = queue.fails(2, "enqueue", *words, stdin='{"command": "true"}', cwd=odd, env=env)
        assert line == "queuectl enqueue: cwd is not valid UTF-8 (use --cwd)"
    assert not queue.exists()


def test_a_link_to_such_a_folder_is_a_name_for_it(queue: Queue, odd: Path) -> None:
    """The name that the shell shows is stored, which is UTF-8."""
    link = queue.work / "link"
    link.symlink_to(odd)

    job = queue.ok("enqueue", "true", cwd=link, env={"PWD": str(link)})

    assert queue.get(job).cwd == str(link)


def test_other_commands_run_in_such_a_folder(queue: Queue, odd: Path) -> None:
    """Only the folder of a new job has to be stored. The workers start there as well."""
    queue.ok("enqueue", "--cwd", "/", "true", cwd=odd)
    queue.ok("list", cwd=odd)
    queue.ok("check", cwd=odd)
    queue.ok("worker", "start", "--drain", "-q", cwd=odd)

    assert queue.counts() == {"completed": 1}


def test_a_job_without_a_folder_in_such_a_folder_that_is_gone(queue: Queue, odd: Path) -> None:
    """Its error names the folder of the worker. Regression: it could not be stored, and the worker
    ended with a traceback again and again.
    """
    queue.add('rmdir "$TEST_QUEUE/work"/*/')
    queue.ok("import", "-", stdin='{"id": "a", "command": "true", "max_retries": 1}\n')

    queue.ok("worker", "start", "--drain", "-q", cwd=odd)

    assert queue.show("a")["last_error"] == f"cwd {queue.work}/\ufffd is gone"


@pytest.mark.parametrize("variable", ["HOME", "QUEUECTL_DB"])
def test_a_place_of_the_queue_that_is_not_utf_8(queue: Queue, variable: str) -> None:
    """Whatever named it, it is wrong input."""
    env = {"QUEUECTL_DB": "", variable: f"/tmp/{_BAD}"}

    for words in (("enqueue", "true"), ("list",)):
        assert queue.fails(2, *words, env=env).endswith(
            ": the path of the database is not valid UTF-8"
        )


def test_a_relative_place_in_such_a_folder(queue: Queue, odd: Path) -> None:
    """Regression: only the part that was given was looked at."""
    line = queue.fails(2, "--db", "queue.db", "list", cwd=odd)

    assert line == "queuectl list: the path of the database is not valid UTF-8"


@pytest.mark.parametrize("words", [("true",), ("--lines", "-")])
def test_a_captured_variable_that_is_not_utf_8(queue: Queue, words: tuple[str, ...]) -> None:
    """The line names the key that asked for it; nothing is stored."""
    queue.ok("config", "set", "capture-env", "PATH ODD")

    line = queue.fails(2, "enqueue", *words, stdin="true", env={"ODD": _BAD})

    assert line == "queuectl enqueue: capture-env ODD is not valid UTF-8"
    assert queue.ids() == []


@pytest.mark.parametrize("variable", ["LOGNAME", "USER"])
def test_a_user_whose_name_is_not_utf_8(queue: Queue, variable: str) -> None:
    """Regression: a traceback of `queue pause`. The name is only shown, so it changes nothing."""
    queue.ok("queue", "pause", "mail", env={"LOGNAME": "", "USER": "", variable: f"J{_BAD}rg"})

    [shown] = queue.json("queue", "list")
    assert shown["paused_by"] == "J\ufffdrg"


@linux_only
def test_a_host_whose_name_is_not_utf_8(queue: Queue) -> None:
    """Regression: no worker could register."""
    queue.add("true")
    name = [
        "unshare",
        "--uts",
        "sh",
        "-c",
        "printf 'h\\377st' > /proc/sys/kernel/hostname; exec \"$@\"",
    ]
    if os.geteuid() != 0 or queue.run("list", before=[*name, "sh"]).code:
        pytest.skip("only root can set another host name")

    done = queue.run("worker", "start", "--drain", before=[*name, "sh"])

    assert (done.code, queue.counts()) == (0, {"completed": 1}), done.err
