"""The command `completion`: its scripts, and the words that they offer."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class

from queuectl.cli.shells import word_starts
from support.calls import Called
from support.commands import commands
from support.legacy import contents, make
from support.queue import Queue
from support.states import every_state, tree
from support.typing_shell import TypingShell
from support.watch.file_watch import by_hand

_SHELLS = ("bash", "zsh", "fish")


_BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


@pytest.mark.parametrize("shell", _SHELLS)
def test_the_script_is_printed_without_using_a_shell_or_a_queue(queue: Queue, shell: str) -> None:
    """The script does not depend on an installed shell, and no queue is opened."""
    before = tree(queue.folder)

    called = queue.run("completion", shell, env={"PATH": "/nowhere"})

    assert (called.code, called.err) == (0, "")
    assert f"_QUEUECTL_COMPLETE={shell}_complete" in called.out
    assert tree(queue.folder) == before


class TestOffers:
    """The words that are offered at the cursor."""

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("stat", ["status", "stats"]),
            ("worker sto", ["stop"]),
            ("config un", ["unset"]),
            ("dlq ", ["list", "purge", "retry"]),
            ("config get max-", ["max-retries"]),
            ("config set back", ["backoff-base", "backoff-max", "backoff-jitter"]),
            ("completion ", ["bash", "zsh", "fish"]),
            ("list --state de", ["dead"]),
            ("list --state p", ["pending", "processing"]),
            ("list --state dead,fa", ["dead,failed"]),
            ("list --state=de", ["--state=dead"]),
            ("config set durability ", ["full", "normal"]),
            ("config set job-timeout ", ["300"]),
            ("config set nonsense ", []),
            ("enqueue --env TEST_QU", ["TEST_QUEUE"]),
            ("enqueue --if-dup ", ["skip", "join", "replace", "error"]),
            ("dlq retry --al", ["--all"]),
        ],
    )
    def test_words(self, queue: Queue, words: str, expected: list[str]) -> None:
        """Commands, keys, states and options with this beginning are offered without a queue."""
        before = tree(queue.folder)

        assert sorted(_offers(queue, words)) == sorted(expected)
        assert tree(queue.folder) == before

    @pytest.mark.parametrize(
        ("words", "kind"),
        [
            ("enqueue --cwd su", "dir"),
            ("enqueue --file da", "file"),
            ("export da", "file"),
            ("import da", "file"),
            ("backup da", "file"),
            ("restore da", "file"),
            ("--db da", "file"),
            ("status --db da", "file"),
            ("worker start --log-file da", "file"),
            ("run --cwd su", "dir"),
        ],
    )
    def test_paths(self, queue: Queue, words: str, kind: str) -> None:
        """The shell is told to offer its files or folders where a path is meant.

        Regression: with the script installed, file names were no longer completed.
        """
        called = _complete(queue, words)

        assert (called.code, called.err) == (0, "")
        assert called.out == f"{kind},{words.rsplit(maxsplit=1)[-1]}\n"

    @pytest.mark.parametrize(
        ("words", "before"),
        [
            ("enqueue gz", 0),
            ("enqueue ", 0),
            ("enqueue --timeout 5 gz", 0),
            ("enqueue gzip da", 1),
            ("enqueue gzip --queue de", 2),
            ("enqueue gzip -n -", 2),
            ("enqueue -- gzip --", 1),
            ("edit job tar da", 1),
            ("run ffmpeg -i ", 2),
        ],
    )
    def test_the_command_of_a_job(self, queue: Queue, words: str, before: int) -> None:
        """The shell is told to complete it, and how many of its words come before the cursor's.

        Options among them belong to that command.
        """
        assert _complete(queue, words) == (0, f"command,{before}\n", "")

    @pytest.mark.parametrize("words", ["enqueue - --queu", 'enqueue {"command":"x"} --queu'])
    def test_options_after_what_is_no_command(self, queue: Queue, words: str) -> None:
        """A JSON object and `-` may be followed by options of `enqueue`."""
        assert _offers(queue, words) == ["--queue"]

    def test_every_value_that_is_known_is_offered(self, queue: Queue) -> None:
        """A new option for a queue, a job, a state or a path must not be forgotten."""
        every_state(queue)
        known = ("QUEUE", "JOB", "STATE", "DIR", "FILE", "PATH", "KEY")
        words = [
            f"{name} {param.opts[-1]} " if isinstance(param, click.Option) else f"{name} "
            for name, command in commands().items()
            for param in command.params
            if (param.metavar or "").strip("[].").partition("|")[0] in known
            and "--unique" not in param.opts
        ]

        assert len(words) > 60
        assert [line for line in words if _complete(queue, line).out in ("", "\n")] == []

    def test_commands(self, queue: Queue) -> None:
        """All commands are offered for an empty word, and only commands that exist."""
        offered = _offers(queue, "")

        assert {"enqueue", "worker", "status", "list", "show", "logs", "dlq", "config",
                "completion"} <= set(offered)  # fmt: skip
        assert [name for name in offered if queue.run(name, "--help").code] == []

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("show c", ["completed", "cancelled"]),
            ("logs p", ["pending", "processing"]),
            ("dlq retry ", ["dead"]),
            ("dlq purge ", ["dead"]),
            ("dlq retry c", []),
            ("show nobody", []),
            ("logs completed c", ["completed", "cancelled"]),
            ("enqueue --after completed,p", ["completed,pending", "completed,processing"]),
            ("why @8", ["@8"]),
            ("why @", ["@last", "@running", "@failed", *(f"@{n}" for n in range(1, 9))]),
            ("dlq retry @", ["@failed", "@3"]),
            ("queue pause ", ["default", "q"]),
            ("queue limit ", ["default", "q"]),
            ("enqueue --queue ", ["default", "q"]),
            ("list --queue q,de", ["q,default"]),
            ("worker start --queue q", ["q"]),
            ("worker stop --queue q", ["q"]),
            ("check --queue q", ["q"]),
            ("list --label a", ["a label"]),
            ("enqueue --label ", ["a label"]),
        ],
    )
    def test_ids(self, queue: Queue, words: str, expected: list[str]) -> None:
        """Only ids of jobs that the command can act on are offered."""
        every_state(queue)

        assert sorted(_offers(queue, words)) == sorted(expected)

    def test_generated_ids_are_offered_as_numbers(self, queue: Queue) -> None:
        """They say nothing to people; but who has typed the beginning of one gets the rest."""
        job = queue.enqueue("true")

        assert _offers(queue, "show ") == ["@1"]
        assert _offers(queue, f"show {job[:3]}") == [job]

    def test_workers(self, queue: Queue) -> None:
        """Those that live, and their pools."""
        queue.start(workers=2)
        ids = [worker["id"] for worker in queue.workers()]

        assert sorted(_offers(queue, "worker stop ")) == sorted([ids[0][:-2], *ids])

    def test_ids_come_from_the_queue_of_db(self, queue: Queue) -> None:
        """--db names the queue whose ids are offered."""
        queue.enqueue("true", "--id", "here")
        other = str(queue.folder / "other.db")
        queue.ok("--db", other, "enqueue", "--id", "there", "true")

        assert _offers(queue, "show ") == ["here"]
        assert _offers(queue, f"--db {other} show ") == ["there"]

    @pytest.mark.parametrize("words", ["show ", "dlq retry ", "logs x"])
    @pytest.mark.parametrize("path", ["absent.db", "no/such/folder.db", "work", "junk", ""])
    def test_without_a_queue_nothing_is_offered_created_or_printed(
        self, queue: Queue, words: str, path: str
    ) -> None:
        """The same holds for a file that is not a queue."""
        (queue.folder / "junk").write_text("no queue " * 100)
        before = tree(queue.folder)

        path = str(queue.folder / path) if path else ""

        assert _complete(queue, words, {"QUEUECTL_DB": path}) == (0, "\n", "")
        assert tree(queue.folder) == before

    def test_an_old_file_is_not_upgraded(self, queue: Queue) -> None:
        """Regression: pressing Tab upgraded a file of the first version."""
        make(queue.database, jobs=[{"id": "old"}])
        before = contents(queue.database), tree(queue.folder)

        assert _complete(queue, "show ") == (0, "\n", "")
        assert (contents(queue.database), tree(queue.folder)) == before

    def test_a_damaged_queue_prints_nothing(self, queue: Queue) -> None:
        """Regression: the error appeared on the terminal, amid what the user typed."""
        every_state(queue)
        with closing(sqlite3.connect(str(queue.database))) as conn:
            conn.execute("ALTER TABLE jobs RENAME COLUMN unique_key TO x")

        assert _complete(queue, "show ") == (0, "\n", "")

    def test_completion_does_not_change_the_queue(self, queue: Queue) -> None:
        """No byte of the file changes."""
        every_state(queue)
        with by_hand():
            before = queue.database.read_bytes()

        assert _offers(queue, "dlq retry ") == ["dead"]

        with by_hand():
            assert queue.database.read_bytes() == before


def _complete(queue: Queue, words: str, env: dict[str, str] | None = None) -> Called:
    *before, _ = words.split(" ")
    return queue.run(
        env={
            "_QUEUECTL_COMPLETE": "bash_complete",
            "COMP_WORDS": f"queuectl {words}",
            "COMP_CWORD": str(len(before) + 1),
            **(env or {}),
        }
    )


def _offers(queue: Queue, words: str) -> list[str]:
    code, out, err = _complete(queue, words)
    assert (code, err) == (0, "")
    lines = out.splitlines() if out.strip() else []
    assert all(line.startswith("plain,") for line in lines)
    return [line[len("plain,") :] for line in lines]


_LOAD = {
    "bash": 'eval "$(queuectl completion bash)"',
    "bash-completion": '. /usr/share/bash-completion/bash_completion; eval "$(queuectl completion '
    'bash)"',
    "zsh": 'eval "$(queuectl completion zsh)"',
    "fish": "queuectl completion fish | source",
}
_TYPED = {
    "queuectl statu": "queuectl status ",
    "queuectl show sch": "queuectl show scheduled ",
    "queuectl show it": "queuectl show 'it'\"'\"'s:one' ",
    "queuectl show @1": "queuectl show @1 ",
    "queuectl enqueue --after @1,@l": "queuectl enqueue --after @1,@last ",
    "queuectl list --state=de": "queuectl list --state=dead ",
    "queuectl list --state dead,fa": "queuectl list --state dead,failed ",
    "queuectl enqueue --queue=def": "queuectl enqueue --queue=default ",
    "queuectl enqueue --cwd su": r"queuectl enqueue --cwd sub\ dir/",
    "queuectl enqueue --cwd=su": r"queuectl enqueue --cwd=sub\ dir/",
    "queuectl enqueue --file jo": "queuectl enqueue --file jobs.jsonl ",
    "queuectl --db ./jo": "queuectl --db ./jobs.jsonl ",
    "queuectl --db=./jo": "queuectl --db=./jobs.jsonl ",
    "queuectl enqueue xyzz": "queuectl enqueue xyzzy-program ",
    "queuectl enqueue --timeout 5 xyzz": "queuectl enqueue --timeout 5 xyzzy-program ",
    "queuectl enqueue xyzzy-program vid": "queuectl enqueue xyzzy-program video.mkv ",
    "queuectl enqueue xyzzy-program --id vid": "queuectl enqueue xyzzy-program --id video.mkv ",
    "queuectl edit @1 xyzzy-program vid": "queuectl edit @1 xyzzy-program video.mkv ",
    "queuectl config set durability f": "queuectl config set durability full ",
    "true; queuectl dlq re": "true; queuectl dlq retry ",
}
"""What is typed before Tab, and the line afterwards."""


def _words(line: str) -> tuple[list[str], bool]:
    """Return the words of a line, however they are quoted, and whether the last one is ended."""
    return shlex.split(line), line.endswith(" ")


class TestInAShell:
    """The scripts, in shells that are installed, on a terminal where somebody types."""

    @pytest.mark.parametrize("load", _LOAD)
    def test_words_and_files_are_completed(self, queue: Queue, load: str) -> None:
        """Regression: with the script installed, no file name was completed any more."""
        shell = load.partition("-")[0]
        if shutil.which(shell) is None or (load != shell and not _BASH_COMPLETION.exists()):
            pytest.skip(f"{load} is not installed")
        every_state(queue)
        queue.add("true", id="it's:one")
        (queue.work / "sub dir").mkdir()
        (queue.work / "jobs.jsonl").touch()
        (queue.work / "video.mkv").touch()
        program = queue.folder / "bin" / "xyzzy-program"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        env = {**queue.env, "PATH": f"{program.parent}:{queue.env['PATH']}"}

        with TypingShell(shell, env, str(queue.work)) as typing:
            typing.run(_LOAD[load])
            lines = {typed: typing.complete(typed)[0] for typed in _TYPED}

        assert {typed: _words(line) for typed, line in lines.items()} == {
            typed: _words(line) for typed, line in _TYPED.items()
        }

    @pytest.mark.parametrize("shell", ["zsh", "fish"])
    def test_descriptions_are_whole(self, queue: Queue, shell: str) -> None:
        """Regression: fish showed them up to their first comma; summaries were cut."""
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        queue.enqueue("printf 'a, b: c'", "--label", "one, two: three")

        with TypingShell(shell, queue.env, str(queue.work)) as typing:
            typing.run(_LOAD[shell])
            jobs = typing.complete("queuectl show @")[1]
            commands = typing.complete("queuectl d")[1]

        assert "pending: one, two: three" in jobs
        assert "Look for problems: damaged files, permissions, disk space, PATH." in commands

    @pytest.mark.parametrize("shell", _SHELLS)
    def test_a_script_of_click_still_works(self, queue: Queue, shell: str) -> None:
        """One that was installed before this version: it is told the same kinds of lines."""
        every_state(queue)
        found = get_completion_class(shell)
        assert found is not None

        env = {
            "_QUEUECTL_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": "queuectl show sch",
            "COMP_CWORD": "sch" if shell == "fish" else "2",
        }
        expected = {
            "bash": "plain,scheduled\n",
            "zsh": "plain\nscheduled\nscheduled: run scheduled\n",
            "fish": "plain,scheduled\tscheduled: run scheduled\n",
        }
        assert queue.run(env=env) == (0, expected[shell], "")


@pytest.mark.parametrize(
    ("line", "starts"),
    [
        ("", [0]),
        ("a", [0]),
        ("a ", [0, 2]),
        (" a  b", [1, 4]),
        ("a 'b c' d", [0, 2, 8]),
        ("a 'b c", [0, 2]),
        (r"a b\ c d", [0, 2, 7]),
        ('a "b \\" c" d', [0, 2, 11]),
        ("a '' ", [0, 2, 5]),
    ],
)
def test_where_words_begin(line: str, starts: list[int]) -> None:
    """As a shell splits the line; the last one is the word at its end, which may be empty."""
    assert word_starts(line) == starts
