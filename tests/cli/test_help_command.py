"""The commands `help` and `version`, and the option -V."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from queuectl import __version__
from queuectl.cli import topics
from queuectl.cli.markdown import Code
from support.calls import assert_refused
from support.commands import commands
from support.queue import Queue
from support.screens import SIZES, compare
from support.states import tree
from support.terminal import Terminal, on_terminal


def test_help_lists_commands_and_topics(queue: Queue) -> None:
    """It is the help of queuectl, with the topics below it. No queue is opened."""
    before = tree(queue.folder)

    text = queue.ok("help")

    assert text.startswith(queue.ok("-h"))
    names = re.findall(r"^  ([a-z-]+)  ", text[len(queue.ok("-h")) :], re.MULTILINE)
    assert names == list(topics.topics())
    assert max(map(len, text.splitlines())) <= 80
    assert tree(queue.folder) == before


@pytest.mark.parametrize("name", [name for name in commands(groups=True) if name])
def test_help_of_a_command(queue: Queue, name: str) -> None:
    """`help worker start` prints what `worker start -h` prints."""
    assert queue.run("help", *name.split()) == queue.run(*name.split(), "-h")


@pytest.mark.parametrize("name", topics.topics())
def test_help_of_a_topic(queue: Queue, name: str) -> None:
    """Off a terminal it is plain text that begins with the title; only code may be wider."""
    text = queue.ok("help", name)
    code = [line for block in topics.page(name) if isinstance(block, Code) for line in block.lines]

    assert text.splitlines()[1] == ""
    assert "\x1b" not in text
    wide = [line.strip() for line in text.splitlines() if len(line) > 80]
    assert set(wide) <= {line.strip() for line in code}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("help stat", "no such command or topic: stat (use: queuectl help stats)"),
        ("help state", "no such command or topic: state (did you mean states?)"),
        ("help add", "no such command or topic: add (use: queuectl help enqueue)"),
        ("help webhooks", "no such command or topic: webhooks (use: queuectl help hooks)"),
        ("help crontab", "no such command or topic: crontab (use: queuectl help cron)"),
        ("help follow", "no such command or topic: follow (use: queuectl help logs)"),
        ("help worker stat", "worker has no command stat (did you mean start?)"),
        ("help worker start now", "worker start has no commands (queuectl help worker start)"),
        ("help states dead", "states is a topic; nothing can follow it"),
    ],
)
def test_wrong_names(queue: Queue, words: str, expected: str) -> None:
    """The error suggests what might be meant."""
    assert_refused(queue.run(*words.split()), "queuectl help", expected)


@pytest.mark.parametrize("words", ["version", "-V", "--version"])
def test_version(queue: Queue, words: str) -> None:
    """There are three ways to ask for it, since people try all three."""
    assert queue.ok(words) == f"queuectl {__version__}"


def _shown(queue: Queue, *words: str, streams: str = "stdin stdout", **env: str) -> Terminal:
    return on_terminal(
        queue, *words, streams=streams, env={"TERM": "xterm", "COLUMNS": "80", **env}
    )


class TestPager:
    """On a terminal a text goes through the pager."""

    @pytest.fixture
    def pager(self, tmp_path: Path) -> str:
        """A pager that shows how it was called, and what it was given."""
        path = tmp_path / "pager"
        path.write_text('#!/bin/sh\necho "$LESS $LESSCHARSET"; cat; exit 3\n')
        path.chmod(0o755)
        return str(path)

    def test_a_topic(self, queue: Queue, pager: str) -> None:
        """PAGER names the program; the exit code of help stays 0."""
        shown = _shown(queue, "help", "states", PAGER=pager)

        assert (shown.code, shown.err) == (0, "")
        first, title, *_ = shown.screen.splitlines()
        assert (first, title) == ("FRX utf-8", "\x1b[1mThe states of a job\x1b[0m")

    def test_the_help_of_a_command(self, queue: Queue, pager: str) -> None:
        """It is shown in the same way; variables that the user set are kept."""
        shown = _shown(queue, "help", "list", PAGER=f"{pager} -x", LESS="-S")

        assert shown.screen.startswith("-S utf-8\nUsage: queuectl list ")

    @pytest.mark.parametrize(
        ("streams", "pager", "term"),
        [
            ("stdin stdout", "", "xterm"),
            ("stdin stdout", "cat", "xterm"),
            ("stdin stdout", "exit 7; ", "dumb"),
            ("stdout", "exit 7; ", "xterm"),
        ],
    )
    def test_no_pager(self, queue: Queue, streams: str, pager: str, term: str) -> None:
        """Without a program, on a dumb terminal, or when nobody can press a key."""
        shown = _shown(queue, "help", "list", streams=streams, PAGER=pager, TERM=term)

        assert (shown.code, shown.err) == (0, "")
        assert shown.screen.strip() == queue.ok("list", "-h")

    def test_a_pager_that_is_not_there(self, queue: Queue) -> None:
        """The text is printed all the same."""
        shown = _shown(queue, "help", "list", PAGER="/no/such/pager")

        assert (shown.code, shown.screen.strip()) == (0, queue.ok("list", "-h"))
        assert "/no/such/pager" in shown.err

    def test_a_pager_that_is_left_at_once(self, queue: Queue) -> None:
        """What was not read is no error."""
        shown = _shown(queue, "help", PAGER="true")

        assert (shown.code, shown.screen, shown.err) == (0, "", "")


def test_no_color_takes_the_styles_away(queue: Queue) -> None:
    """A topic then looks on a terminal as it does in a file."""
    shown = _shown(queue, "help", "states", PAGER="cat", NO_COLOR="1")

    assert shown.screen.strip() == queue.ok("help", "states")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("help wor", ["worker"]),
        ("help sta", ["states", "statistics", "stats", "status"]),
        ("help worker st", ["start", "stop"]),
        ("help worker start ", []),
        ("help nothing ", []),
    ],
)
def test_completion(queue: Queue, words: str, expected: list[str]) -> None:
    """Commands and topics are offered, then the commands of a group."""
    *before, _ = words.split(" ")
    env = {
        **os.environ,
        "_QUEUECTL_COMPLETE": "bash_complete",
        "COMP_WORDS": f"queuectl {words}",
        "COMP_CWORD": str(len(before) + 1),
    }
    called = queue.run(env=env)

    offered = [line.partition(",")[2] for line in called.out.splitlines() if line]
    assert (called.code, called.err, sorted(offered)) == (0, "", expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("words", ["help", "help states", "help worker stop"])
def test_screens(queue: Queue, words: str, size: tuple[int, int]) -> None:
    """What a person sees, in windows of three sizes."""
    shown = on_terminal(
        queue, *words.split(), streams="stdin stdout", size=size, env={"PAGER": "", "TERM": "xterm"}
    )

    compare(shown.screen, words.replace(" ", "-"), size)
