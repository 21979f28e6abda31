"""Wrong uses of `enqueue`: each is refused with one line, and nothing is stored."""

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
def test_wrong_input_makes_nothing(queue: Queue, args: list[str | bytes], expected: str) -> None:
    """Wrong input ends with 2 and one line that says what is wrong; no queue is made for it."""
    before = tree(queue.folder)

    assert_refused(queue.run("enqueue", *args), "queuectl enqueue", expected)
    assert tree(queue.folder) == before


def test_wrong_input_changes_nothing(queue: Queue) -> None:
    """What a queue holds is untouched by input that is refused."""
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
def test_a_process_refuses_likewise(queue: Queue, args: list[str | bytes], line: str) -> None:
    """The installed command ends with 2, one line on stderr and nothing on stdout."""
    assert queue.fails(2, "enqueue", *args) == line


def test_a_number_too_long_for_python_is_refused(queue: Queue) -> None:
    """5,000 digits, which newer Pythons refuse to convert, are one line like any wrong number."""
    called = queue.run("enqueue", '{"command": "true", "priority": ' + "9" * 5000 + "}")

    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert called.err.startswith("queuectl enqueue: ")


def test_a_folder_that_is_gone_is_refused(queue: Queue) -> None:
    """Enqueued from a folder that was deleted, a job would have no place to run in."""
    done = _in_a_deleted_folder(queue, "enqueue true")

    assert done == (2, "", "queuectl enqueue: the current folder no longer exists (use --cwd)\n")


def test_a_folder_that_is_gone_does_not_matter_with_cwd(queue: Queue) -> None:
    """With --cwd the folder that enqueue is called in plays no part."""
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
