"""The command `completion`: its scripts, and the words that they offer."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from queuectl.core.specs import JobSpec
from support.calls import Called
from support.clock import noon
from support.legacy import contents, make
from support.queue import Queue
from support.states import every_state, tree
from support.watch.file_watch import by_hand

_SHELLS = ("bash", "zsh", "fish")


def _needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


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
            ("sta", ["status"]),
            ("worker sto", ["stop"]),
            ("config un", ["unset"]),
            ("dlq ", ["list", "purge", "retry"]),
            ("config get max-", ["max-retries"]),
            ("config set back", ["backoff-base", "backoff-max", "backoff-jitter"]),
            ("completion ", ["bash", "zsh", "fish"]),
            ("list --state de", ["dead"]),
            ("list --state p", ["pending", "processing"]),
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
            ("enqueue gzip da", "file"),
            ("enqueue --cwd su", "dir"),
            ("enqueue --file da", "file"),
            ("edit job tar da", "file"),
            ("export da", "file"),
            ("import da", "file"),
            ("backup da", "file"),
            ("restore da", "file"),
            ("--db da", "file"),
            ("status --db da", "file"),
            ("worker start --log-file da", "file"),
        ],
    )
    def test_paths(self, queue: Queue, words: str, kind: str) -> None:
        """The shell is told to offer its files or folders where a path is meant.

        Regression: with the script installed, file names were no longer completed.
        """
        called = _complete(queue, words)

        assert (called.code, called.err) == (0, "")
        assert called.out == f"{kind},{words.rsplit(maxsplit=1)[-1]}\n"

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
        ],
    )
    def test_ids(self, queue: Queue, words: str, expected: list[str]) -> None:
        """Only ids of jobs that the command can act on are offered."""
        every_state(queue)

        assert sorted(_offers(queue, words)) == sorted(expected)

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

    @pytest.mark.parametrize(
        "damage",
        [
            "ALTER TABLE jobs RENAME COLUMN unique_key TO x",
            "UPDATE jobs SET created_at = 'nonsense'",
        ],
    )
    def test_a_damaged_queue_prints_nothing(self, queue: Queue, damage: str) -> None:
        """Regression: the error appeared on the terminal, amid what the user typed."""
        every_state(queue)
        with closing(sqlite3.connect(str(queue.database))) as conn:
            conn.execute("PRAGMA ignore_check_constraints = ON")
            conn.execute(damage)
            conn.commit()

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
    lines = out.split()
    assert all(line.startswith("plain,") for line in lines)
    return [line[len("plain,") :] for line in lines]


def _shell(queue: Queue, *command: str, stdin: str = "") -> str:
    done = subprocess.run(
        command,
        env={**queue.env, "TERM": "xterm", "LC_ALL": "C.UTF-8"},
        cwd=str(queue.work),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestInAShell:
    """The scripts, run in the shells that are installed."""

    @_needs("bash")
    def test_bash(self, queue: Queue) -> None:
        """bash loads the script and gets the ids, as when Tab is pressed."""
        every_state(queue)
        script = (
            'eval "$(queuectl completion bash)"; complete -p queuectl;'
            "COMP_WORDS=(queuectl show c); COMP_CWORD=2;"
            '_queuectl_completion queuectl c show; printf "%s\\n" "${COMPREPLY[@]}"'
        )

        registered, *offers = _shell(queue, "bash", "--norc", "-c", script).splitlines()

        assert registered == "complete -o nosort -F _queuectl_completion queuectl"
        assert offers == ["completed", "cancelled"]

    @_needs("zsh")
    def test_zsh(self, queue: Queue) -> None:
        """zsh loads the script and gets the ids, also one with a colon."""
        with queue.opened() as storage:
            specs = [JobSpec(command="true", id=job) for job in ("a:b", "ab", "c")]
            storage.enqueue(specs, now=noon(0))
        script = (
            'autoload -Uz compinit && compinit -u -D; eval "$(queuectl completion zsh)";'
            "print -r -- $_comps[queuectl];"
            # Prints what compadd would offer: the real one works only during a completion.
            "compadd() { print -rl -- $completions };"
            "words=(queuectl show a); CURRENT=3; _queuectl_completion"
        )

        assert _shell(queue, "zsh", "-f", "-c", script).split() == [
            "_queuectl_completion",
            "a:b",
            "ab",
        ]

    @_needs("fish")
    def test_fish(self, queue: Queue) -> None:
        """fish loads the script and completes a command line with it."""
        every_state(queue)
        script = 'queuectl completion fish | source; complete -C "queuectl show c"'

        offers = _shell(queue, "fish", "-c", script).split()

        assert sorted(offers) == ["cancelled", "completed"]
