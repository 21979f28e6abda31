"""What goes to stdout and stderr, and how a command ends when one of them cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

from queuectl.core.models import Outcome, OutcomeKind, Output, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from support.legacy import make
from support.queue import Queue
from support.terminal import on_terminal
from support.waiting import wait_until

_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and /dev/full")

# What drives a terminal: a colour, a title, a bell, line breaks, a C1 control, a direction.
_NASTY = "\x1b[31mred\x1b]0;title\x07\r\n\tx\x9b2J\u202e\u200b\x7f"
_SHOWN = r"\x1b[31mred\x1b]0;title\x07\r\n\tx\x9b2J\u202e\u200b\x7f"


def _fill(queue: Queue, count: int) -> None:
    with queue.opened() as storage:
        storage.enqueue([JobSpec(command="true")] * count, now=utcnow())


@pytest.mark.parametrize("command", ["list", "list --ids", "list --json"])
def test_a_closed_pipe_ends_the_command_silently(queue: Queue, command: str) -> None:
    """`queuectl list | head -1` prints one line, and SIGPIPE ends queuectl without a message."""
    _fill(queue, 2000)

    done = _bash(queue, f'queuectl {command} | head -n 1; echo "${{PIPESTATUS[*]}}"')

    first, codes = done.stdout.splitlines()
    assert first
    assert (codes, done.stderr) == ("141 0", "")


def test_a_job_is_stored_although_nobody_reads_its_id(queue: Queue) -> None:
    """If the reader has gone before the id is printed, the job is stored all the same."""
    done = _bash(queue, 'queuectl enqueue --id a true | exec true; echo "${PIPESTATUS[*]}"')

    assert (done.stdout, done.stderr) == ("141 0\n", "")
    assert [job.id for job in queue.jobs()] == ["a"]


@pytest.mark.parametrize(
    "words",
    [
        "--version", "--help", "enqueue -h", "enqueue --id b true", "enqueue --lines -",
        "status", "list", "list --ids", "list --json", "show a", "show a --json", "why a",
        "logs a", "logs -f a", "wait --any a", "wait --json a", "worker list --json", "queue list",
        "config list", "dlq list --json", "export", "check", "doctor",
    ],
)  # fmt: skip
def test_every_command_ends_by_sigpipe(queue: Queue, words: str) -> None:
    """A closed pipe ends every command by SIGPIPE, without a message."""
    _fill(queue, 1)
    with queue.opened() as storage:
        storage.enqueue([JobSpec(command="echo x", id="a")], now=utcnow())
        _complete_all(storage)

    with _closed_pipe() as stdout:
        process = queue.spawn(*words.split(), stdin=subprocess.PIPE, stdout=stdout)
        err = process.communicate("true", timeout=60)[1]

    assert (process.returncode, err) == (-signal.SIGPIPE, "")


def test_completion_ends_by_sigpipe(queue: Queue) -> None:
    """click prints the words itself; a shell that does not read them sees no message."""
    env = {"_QUEUECTL_COMPLETE": "bash_complete", "COMP_WORDS": "queuectl ", "COMP_CWORD": "1"}

    with _closed_pipe() as stdout:
        process = queue.spawn(env=env, stdout=stdout)
        err = process.communicate(timeout=60)[1]

    assert (process.returncode, err) == (-signal.SIGPIPE, "")


def test_sigpipe_ends_a_command_that_was_started_with_it_ignored(queue: Queue) -> None:
    """A script that says `trap '' PIPE` does not change how a command ends."""
    _fill(queue, 2000)

    done = _bash(queue, "trap '' PIPE; queuectl list --ids | head -n 1; echo ${PIPESTATUS[0]}")

    assert (done.stdout.splitlines()[1], done.stderr) == ("141", "")


@pytest.mark.parametrize(("words", "code"), [("status --bogus", 2), ("show nope", 1), ("", 2)])
def test_a_closed_stderr_does_not_change_the_exit_code(queue: Queue, words: str, code: int) -> None:
    """A message that nobody can read is not an error of its own."""
    _fill(queue, 1)

    with _closed_pipe() as stderr:
        process = queue.spawn(*words.split(), stderr=stderr)
        out = process.communicate(timeout=60)[0]

    assert (process.returncode, out) == (code, "")


@contextmanager
def _closed_pipe() -> Iterator[int]:
    """Yield the writing end of a pipe that has no reader."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def _complete_all(storage: Storage) -> None:
    """Record without a worker that each job printed a line and completed."""
    printed = Outcome(OutcomeKind.OK, exit_code=0, seconds=0.1, output=Output(2, tail=b"x\n"))
    while True:
        claim = storage.claim("5a5a5a5a-1", now=utcnow())
        if claim is None:
            return
        storage.record(claim, printed, Verdict(JobState.COMPLETED), now=utcnow())


@_linux
@pytest.mark.parametrize(
    "command", ["status", "list", "list --ids", "list --json", "show a", "logs a", "config list"]
)
def test_a_full_stdout_is_an_error(queue: Queue, command: str) -> None:
    """If the output cannot be written, the command prints one error line and exits with 1."""
    queue.enqueue("echo x", "--id", "a")
    queue.drain(workers=1)
    name = command.partition(" --")[0].replace(" a", "")

    with Path("/dev/full").open("w") as full:
        process = queue.spawn(*command.split(), stdout=full)
        err = process.communicate(timeout=60)[1]

    assert (process.returncode, err) == (
        1,
        f"queuectl {name}: cannot write to stdout: No space left on device\n",
    )


@_linux
@pytest.mark.parametrize("words", ["--version", "--help", "worker --help", "enqueue --help"])
def test_a_full_stdout_is_an_error_of_help_and_version(queue: Queue, words: str) -> None:
    """Regression: `queuectl --version >/dev/full` printed a traceback."""
    done = _bash(queue, f"queuectl {words} >/dev/full; echo $?")

    name = " ".join(["queuectl", *words.split()[:-1]])
    assert (done.stdout, done.stderr) == (
        "1\n",
        f"{name}: cannot write to stdout: No space left on device\n",
    )


@_linux
@pytest.mark.parametrize("words", ["enqueue ''", "", "worker"])
def test_a_full_stderr_does_not_change_the_exit_code(queue: Queue, words: str) -> None:
    """Regression: when stderr was full, wrong usage exited with 1 instead of 2."""
    done = _bash(queue, f"queuectl {words} 2>/dev/full; echo $?")

    assert (done.stdout, done.stderr) == ("2\n", "")


@_linux
@pytest.mark.parametrize("words", ["--id a true", "--lines -"])
def test_the_id_is_printed_although_stderr_is_full(queue: Queue, words: str) -> None:
    """Regression: when a warning could not be written, the id of the stored job was not printed."""
    queue.enqueue("true", "--id", "gone")
    queue.ok("cancel", "gone")

    done = _bash(queue, f"echo true | queuectl enqueue --after gone {words} 2>/dev/full; echo $?")

    made = [job.id for job in queue.jobs()][1:]
    assert len(made) == 1
    assert (done.stdout, done.stderr) == (f"{made[0]}\n0\n", "")


@_linux
def test_a_full_stderr_does_not_disturb_an_upgrade(queue: Queue) -> None:
    """Regression: when the notice of an upgrade could not be written, nothing was printed."""
    make(queue.database, jobs=[{"id": "old"}])

    done = _bash(queue, "queuectl list --ids 2>/dev/full; echo $?")

    assert (done.stdout, done.stderr) == ("old\n0\n", "")


@pytest.mark.parametrize(
    "words",
    [
        "enqueue -q true",
        "enqueue -q -",
        "config set -q max-retries 5",
        "cancel -q --all",
        "worker start -q --drain",
    ],
)
def test_a_quiet_upgrade(queue: Queue, words: str) -> None:
    """Regression: `-q` in a crontab did not silence the notice of an upgrade, so cron mailed it."""
    make(queue.database)

    done = queue.run(*words.split(), stdin='{"command": "true"}')

    assert (done.code, done.out, done.err) == (0, "", "")


def test_closed_standard_streams(queue: Queue) -> None:
    """Some daemons start programs without the standard streams; queuectl works even so."""
    done = _bash(queue, "queuectl enqueue --id a true <&- >&- 2>&-; echo $?")

    assert (done.stdout, done.stderr) == ("0\n", "")
    assert [job.id for job in queue.jobs()] == ["a"]


@_linux
def test_ctrl_c_ends_the_command_by_sigint(queue: Queue) -> None:
    """Ctrl+C ends the command by SIGINT itself, without a traceback."""
    process = _following(queue)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err) == (-signal.SIGINT, "", "")


@_linux
def test_ctrl_c_ends_the_loop_around_the_command(queue: Queue) -> None:
    """A shell ends its loop only if the command was killed by SIGINT and did not merely exit."""
    queue.enqueue("true", "--id", "a")
    script = "for turn in 1 2 3; do echo $turn; queuectl logs -f a; done; echo went on"
    process = subprocess.Popen(
        ["bash", "-c", script],
        env=queue.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    queue.processes.append(process)
    wait_until(lambda: _sleeps(queue, "logs"), what="the command to wait")

    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err) == (-signal.SIGINT, "1\n", "")


@_linux
def test_an_ignored_ctrl_c_stays_ignored(queue: Queue) -> None:
    """A script may start queuectl with SIGINT ignored; then Ctrl+C does not end it."""
    queue.enqueue("true", "--id", "a")
    process = queue.spawn(
        "logs", "-f", "a", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    wait_until(lambda: _sleeps(queue, "logs"), what="the command to wait")

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == -signal.SIGTERM


@_linux
def test_term_ends_the_command_by_sigterm(queue: Queue) -> None:
    """TERM ends the command by SIGTERM itself, without a traceback."""
    process = _following(queue)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err) == (-signal.SIGTERM, "", "")


def _bash(queue: Queue, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        env=queue.env,
        cwd=str(queue.work),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _following(queue: Queue) -> subprocess.Popen[str]:
    """Start `logs -f` on a job that no worker runs, so that it waits."""
    queue.enqueue("true", "--id", "a")
    process = queue.spawn("logs", "-f", "a")
    wait_until(lambda: _sleeps(queue, "logs"), what="the command to wait")
    return process


def _sleeps(queue: Queue, word: str) -> bool:
    """Return whether a command of this queue has opened the database and now waits."""
    for pid in queue.pids():
        try:
            if f"\0{word}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                opened_files = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
                return str(queue.database) in opened_files
        except OSError:
            continue
    return False


_DEAD = "\x1b[31m\x1b[1mdead\x1b[0m"


class TestColour:
    """Colour codes go to terminals, and elsewhere only if they are asked for."""

    @pytest.fixture(autouse=True)
    def _a_dead_job(self, queue: Queue) -> None:
        queue.enqueue("false", "--id", "a", "--max-retries", "1")
        queue.drain(workers=1)

    @pytest.mark.parametrize(
        ("env", "colour"),
        [
            ({}, False),
            ({"TERM": "xterm"}, False),
            ({"FORCE_COLOR": "1"}, True),
            ({"FORCE_COLOR": ""}, False),
            ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
            ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
            ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        ],
    )
    def test_off_a_terminal(self, queue: Queue, env: dict[str, str], colour: bool) -> None:
        """There are colours only with FORCE_COLOR, and not with NO_COLOR or a dumb terminal.

        An empty variable counts as unset.
        """
        texts = [queue.ok(*words.split(), env=env) for words in ("list", "show a")]

        assert [(_DEAD in text, "\x1b" in text) for text in texts] == [
            (colour, colour),
            (colour, colour),
        ]

    @pytest.mark.parametrize(
        ("env", "colour"),
        [
            ({"TERM": "xterm"}, True),
            ({"TERM": "dumb"}, False),
            ({"TERM": "xterm", "NO_COLOR": "1"}, False),
            ({"TERM": "dumb", "FORCE_COLOR": "1"}, False),
            ({"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ],
    )
    def test_on_a_terminal(self, queue: Queue, env: dict[str, str], colour: bool) -> None:
        """There are colours, unless NO_COLOR or a dumb terminal forbids them."""
        shown = on_terminal(queue, "list", env=env)

        assert (_DEAD in shown.screen, "\x1b" in shown.screen) == (colour, colour)

    def test_output_for_programs_is_never_coloured(self, queue: Queue) -> None:
        """JSON and ids have no colour codes, even with FORCE_COLOR."""
        env = {"FORCE_COLOR": "1"}

        assert [job["state"] for job in queue.json("list", env=env)] == ["dead"]
        assert "\x1b" not in queue.ok("list", "--ids", env=env)

    def test_a_state_without_a_colour_has_no_codes(self, queue: Queue) -> None:
        """Regression: `pending` was followed by a code that ends a colour."""
        queue.enqueue("true")

        shown = queue.ok("list", "--state", "pending", env={"FORCE_COLOR": "1"})

        assert "\x1b" not in shown


@pytest.mark.parametrize(
    "env",
    [
        {"LANG": "C"},
        {"LC_ALL": "POSIX"},
        {"LANG": "C", "PYTHONCOERCECLOCALE": "0"},
        {"LANG": "", "LC_ALL": ""},
    ],
    ids=lambda env: " ".join(f"{name}={value}" for name, value in env.items()),
)
def test_text_survives_every_locale(queue: Queue, env: dict[str, str]) -> None:
    """Cron sets no locale; commands that are not ASCII run and are printed unchanged."""
    command = "echo \u00e9\u4e16\U0001f600"

    job = queue.enqueue(command, "--label", "\u00fc", env=env)
    done = queue.run("worker", "start", "--drain", env=env)

    assert done.code == 0
    assert queue.ok("logs", job, env=env) == "\u00e9\u4e16\U0001f600"
    assert command in queue.ok("list", env=env)
    assert "\u00fc" in queue.ok("show", job, env=env)
    [shown] = queue.json("list", env=env)
    assert (shown["command"], shown["label"], shown["state"]) == (command, "\u00fc", "completed")


def test_json_is_valid_in_every_encoding(queue: Queue) -> None:
    """Characters that stdout cannot hold get the escapes of JSON, not Python's `\\U0001f600`."""
    queue.enqueue("echo \u00e9\u4e16\U0001f600", "--id", "a")

    for encoding in ("ascii", "iso8859-1"):
        env = {"PYTHONIOENCODING": encoding}
        shown = [queue.json("list", env=env)[0], queue.json("show", "a", env=env)]
        assert [job["command"] for job in shown] == ["echo \u00e9\u4e16\U0001f600"] * 2


class TestControlCharacters:
    """Text in a job cannot control the terminal: each job is one printable line."""

    def test_in_list(self, queue: Queue) -> None:
        """`list` prints control characters as escapes, one line per job."""
        queue.run("enqueue", f"echo {_NASTY}")

        _header, line = queue.run("list").out.splitlines()

        assert line.endswith(f"echo {_SHOWN}")

    def test_in_show(self, queue: Queue) -> None:
        """`show` prints escapes in the command, the folder and the variables."""
        folder = queue.work / "a\n\x1b[31m"
        folder.mkdir()
        queue.configure(capture_env="PATH")
        queue.run(
            "enqueue", "--id", "a", "--cwd", str(folder), "--env", f"A={_NASTY}", f"echo {_NASTY}"
        )

        lines = dict(_fields(queue.run("show", "a", "--show-env").out))

        assert lines["Command"] == f"echo {_SHOWN}"
        assert lines["Folder"] == f"{queue.work}/a\\n\\x1b[31m"
        assert lines["Env"] == f"A={_SHOWN} PATH={queue.env['PATH']}"

    def test_in_status(self, queue: Queue) -> None:
        """`status` prints escapes in the path of the database, which stays on one line."""
        path = str(queue.folder / "a\n\x1b[31m.db")
        queue.run("--db", path, "enqueue", "true")

        last = queue.run("--db", path, "status").out.splitlines()[-1]

        assert last == f"Database: {queue.folder}/a\\n\\x1b[31m.db"

    def test_in_messages(self, queue: Queue) -> None:
        """An error message prints escapes in the words of the user."""
        queue.enqueue("true")

        called = queue.run("show", "a\n\x1b[31mb")

        assert called == (1, "", "queuectl show: no such job: a\\n\\x1b[31mb\n")

    def test_in_a_path_of_a_message(self, queue: Queue) -> None:
        """Regression: a line break in a path became a space, and upgrades printed the path raw."""
        path = str(queue.folder / "a\n\x1b[31m.db")
        shown = f"{queue.folder}/a\\n\\x1b[31m.db"

        refused = queue.run("--db", path, "list").err
        make(path)
        told = queue.run("--db", path, "list").err

        assert refused.startswith(f"queuectl list: no queue at {shown} yet (")
        assert told.startswith(f"upgraded {shown}; the old file is kept as {shown}.before-upgrade")

    def test_in_wrong_usage(self, queue: Queue) -> None:
        """Messages of click are escaped as well, except for click's own line breaks."""
        err = queue.run("status", "--a\n\x1b[31mb").err

        assert err.startswith("queuectl status: no such option")
        assert err.endswith("\n")
        assert r"--a\n\x1b[31mb" in err
        assert err[:-1].isprintable()

    @pytest.mark.parametrize("words", ["show", "logs", "dlq retry", "dlq purge"])
    def test_bytes_that_are_not_text(self, queue: Queue, words: str) -> None:
        """An id that is not valid UTF-8 names no job; there is no traceback."""
        queue.enqueue("true")

        line = queue.fails(1, *words.split(), b"\xff\xfe")

        assert line == f"queuectl {words}: no such job: \ufffd\ufffd"

    @pytest.mark.parametrize("locale", ["C.UTF-8", "C", "en_US.UTF-8"])
    def test_bytes_on_stdin_that_are_not_text(self, queue: Queue, locale: str) -> None:
        """An id on stdin that is not valid UTF-8 names no job, in any locale."""
        queue.enqueue("true")

        env = {"LANG": locale, "PYTHONIOENCODING": "utf-8:strict"}
        line = queue.fails(1, "dlq", "retry", "-", stdin=b"\xff\n", env=env)

        assert line == "queuectl dlq retry: no such job: \ufffd"

    @pytest.mark.parametrize(
        "words", ["list --json", "show a --json", "why a --json", "queue list --json", "export"]
    )
    def test_in_json(self, queue: Queue, words: str) -> None:
        """Regression: control characters beyond ASCII, which JSON allows, reached terminals."""
        nasty = _NASTY + "\U000e0041\u00e9"
        queue.run("enqueue", "--id", "a", f"echo {nasty}")
        queue.run("queue", "pause", "default", "--reason", nasty)

        out = queue.run(*words.split()).out

        assert out.replace("\n", "").isprintable()
        assert r"x\u009b2J\u202e\u200b\u007f\udb40\udc41" + "\u00e9" in out
        assert nasty in _texts(json.loads(out))

    def test_json_has_the_true_value(self, queue: Queue) -> None:
        """Decoded JSON holds exactly the text that was enqueued."""
        queue.run("enqueue", f"echo {_NASTY}")

        [shown] = json.loads(queue.run("list", "--json").out)

        assert shown["command"] == f"echo {_NASTY}"


def _texts(value: Any) -> str:
    """Return all texts in a JSON value, joined."""
    if isinstance(value, (list, dict)):
        return "".join(map(_texts, value.values() if isinstance(value, dict) else value))
    return str(value)


def _fields(text: str) -> list[tuple[str, str]]:
    """Return the names and values that `show` prints."""
    pairs = []
    for line in text.splitlines():
        name, _, value = line.partition(":")
        pairs.append((name, value.strip()))
    return pairs
