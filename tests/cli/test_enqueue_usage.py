"""Wrong uses of `enqueue`: each ends with one line, and nothing is stored."""

from __future__ import annotations

import subprocess

import pytest

from support.calls import COMMAND, assert_refused
from support.queue import Queue
from support.states import everything, tree
from support.wrong_calls import WRONG_ENQUEUES

_DASHES = "(put -- before it if it is a command)"
_SYNTAX = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"


@pytest.mark.parametrize(("args", "expected"), WRONG_ENQUEUES)
def test_wrong_input_creates_no_queue(queue: Queue, args: list[str | bytes], expected: str) -> None:
    """The exit code is 2, one line says what is wrong, and no queue is created."""
    before = tree(queue.folder)

    assert_refused(queue.run("enqueue", *args), "queuectl enqueue", expected)
    assert tree(queue.folder) == before


def test_wrong_input_changes_no_queue(queue: Queue) -> None:
    """Refused input does not change an existing queue."""
    queue.enqueue("true", "--id", "here")
    before = everything(queue)

    codes = {queue.run("enqueue", *args).code for args, _ in WRONG_ENQUEUES}

    assert codes == {2}
    assert everything(queue) == before


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ([b"echo \xff"], "queuectl enqueue: command is not valid UTF-8"),
        (["x" * 130001], "queuectl enqueue: command has 130001 bytes; at most 130000 are allowed"),
        (["{"], f"queuectl enqueue: not a JSON object: {_SYNTAX} {_DASHES}"),
        (["--id"], "queuectl enqueue: option '--id' requires an argument"),
    ],
)
def test_the_installed_command_refuses_in_the_same_way(
    queue: Queue, args: list[str | bytes], line: str
) -> None:
    """The exit code is 2, with one line on stderr and nothing on stdout."""
    assert queue.fails(2, "enqueue", *args) == line


def test_a_number_too_long_for_python_is_refused(queue: Queue) -> None:
    """Newer Pythons refuse to convert 5,000 digits; that is one line, as any wrong number."""
    called = queue.run("enqueue", '{"command": "true", "priority": ' + "9" * 5000 + "}")

    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert called.err.startswith("queuectl enqueue: ")


def test_a_deleted_current_folder_is_refused(queue: Queue) -> None:
    """The job would have no folder to run in."""
    done = _in_a_deleted_folder(queue, "enqueue true")

    assert done == (2, "", "queuectl enqueue: the current folder no longer exists (use --cwd)\n")


def test_a_deleted_current_folder_does_not_matter_with_cwd(queue: Queue) -> None:
    """With --cwd the current folder is not used."""
    code, out, err = _in_a_deleted_folder(queue, "enqueue --cwd / true")

    assert (code, err) == (0, "")
    assert queue.show(out.strip())["cwd"] == "/"


def _in_a_deleted_folder(queue: Queue, words: str) -> tuple[int, str, str]:
    doomed = queue.folder / "doomed"
    doomed.mkdir()
    script = f'cd "{doomed}" && rmdir "{doomed}" && exec "{COMMAND}" {words}'
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env=queue.env,
        cwd=str(queue.work),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
