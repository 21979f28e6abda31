"""The command `enqueue`: words, JSON and options become a stored job."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl.core.states import JobState
from support.queue import Queue
from support.terminal import on_terminal


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["echo hi && echo *"], "echo hi && echo *"),
        (["a\nb"], "a\nb"),
        (["\u00e9\u4e16"], "\u00e9\u4e16"),
        (["true"], "true"),
        (["echo", "a b", "it's", ""], "echo 'a b' 'it'\"'\"'s' ''"),
        (["echo", "*", "~", "&&", "$HOME", ";"], "echo '*' '~' '&&' '$HOME' ';'"),
        (["FOO=bar", "cmd", "x"], "FOO=bar cmd x"),
        (["A=", "B_1=~", "cmd", "C=a b"], "A='' B_1='~' cmd 'C=a b'"),
        (["--", "FOO=a b", "cmd"], "FOO='a b' cmd"),
        (["FOO=a b", "BAR=", "cmd", "--x"], "FOO='a b' BAR='' cmd --x"),
        (["--", "a dir/prog", "x"], "'a dir/prog' x"),
        (["1A=b", "cmd"], "1A=b cmd"),
        (["ls", "-l", "--all", "-q", "--id", "x"], "ls -l --all -q --id x"),
        (["ls", "--", "x"], "ls -- x"),
        (["--", "-x", "y"], "-x y"),
        (["--", "-"], "-"),
        (["--", "ls -l", "x"], "'ls -l' x"),
        (["--", "{a,b}.sh"], "{a,b}.sh"),
        (["--", "{a,b}.sh", "x"], "'{a,b}.sh' x"),
        (["--", '{"command": "make"}'], "make"),
        (['{"command": "make -k"}'], "make -k"),
        (['  {"command": 1}'], '  {"command": 1}'),
        (["[ -f x ] && make"], "[ -f x ] && make"),
        (["--", '[{"command": "make"}]'], '[{"command": "make"}]'),
        ([" []"], " []"),
        (["[]", "x"], "'[]' x"),
    ],
)
def test_words_make_a_command(queue: Queue, words: list[str], command: str) -> None:
    """One word is a shell command as written; several are one command with its arguments."""
    called = queue.run("enqueue", *words)

    assert (called.code, called.err) == (0, "")
    assert [job.command for job in queue.jobs()] == [command]


def test_every_option(queue: Queue) -> None:
    """Each option sets its field of the job; a plain number means seconds."""
    queue.run(
        *(
            "enqueue",
            "--id",
            "j\u00f6b:1",
            "--queue",
            "q",
            "--priority",
            "-3",
            "--max-retries",
            "7",
        ),
        *("--timeout", "1h30m", "--delay", "90", "--cwd", "/", "--env", "A=1=2", "--env", "B="),
        *("--label", "a label", "true"),
    )

    [job] = queue.jobs()
    assert job.run_at is not None
    assert (job.id, job.id_made, job.queue, job.priority) == ("j\u00f6b:1", False, "q", -3)
    assert (job.max_retries, job.timeout, job.cwd, job.label) == (7, 5400.0, "/", "a label")
    assert job.run_at - job.created_at == timedelta(seconds=90)
    assert job.state is JobState.SCHEDULED
    assert job.own_env() == {"A": "1=2", "B": ""}


def test_every_field(queue: Queue) -> None:
    """Each field of the JSON object sets its field of the job."""
    fields = {
        "id": "j1", "command": "make", "queue": "q", "priority": 5, "max_retries": 0,
        "timeout": "2m", "delay": 1.5, "cwd": "/", "env": {"A": "1"}, "unique_key": "k",
        "label": "l",
    }  # fmt: skip

    assert queue.run("enqueue", json.dumps(fields)).out == "j1\n"

    [job] = queue.jobs()
    assert job.run_at is not None
    assert (job.id, job.command, job.queue, job.priority) == ("j1", "make", "q", 5)
    assert (job.max_retries, job.timeout, job.cwd, job.label) == (1, 120.0, "/", "l")
    assert job.run_at - job.created_at == timedelta(seconds=1.5)
    assert job.unique_key == "k"
    assert job.own_env() == {"A": "1"}


def test_defaults(queue: Queue) -> None:
    """The defaults are: queue default, priority 0, 3 attempts, 5 minutes, now, this folder."""
    called = queue.run("enqueue", "true")

    [job] = queue.jobs()
    assert re.fullmatch(r"[0-9a-f]{12}\n", called.out)
    assert (job.id + "\n", job.id_made, job.state) == (called.out, True, JobState.PENDING)
    assert (job.queue, job.priority, job.max_retries, job.timeout) == ("default", 0, 3, 300.0)
    assert (job.run_at, job.label, job.unique_key) == (None, None, None)
    assert job.cwd == str(queue.work)
    taken_over = {name: queue.env[name] for name in queue.env if name != "QUEUECTL_DB"}
    assert (job.env, job.own_env()) == (taken_over, {})


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_options_beside_json_are_defaults(queue: Queue, after: bool) -> None:
    """An option before or after the object applies if the object lacks that field.

    Regression: options after the object were refused as words.
    """
    options = ["--queue", "q", "--priority", "5", "--label", "l", "--env", "A=1", "--env", "B=1"]
    fields = ['{"command": "true", "priority": 7, "label": null, "env": {"B": "2"}}']

    called = queue.run("enqueue", *(fields + options if after else options + fields))

    [job] = queue.jobs()
    assert (called.code, called.err) == (0, "")
    assert (job.queue, job.priority, job.label) == ("q", 7, "l")
    assert job.own_env() == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--shell", "/bin/zsh", "true"], "/bin/zsh"),
        (['{"command": "true", "shell": "/bin/zsh"}'], "/bin/zsh"),
        (["--shell", "/bin/zsh", '{"command": "true", "shell": "/bin/ksh"}'], "/bin/ksh"),
        (["--shell", "/bin/sh", "true"], None),
        (["true"], "/bin/bash"),
    ],
)
def test_the_shell(queue: Queue, words: list[str], expected: str | None) -> None:
    """From an option, the object, or the key shell, which is read when the job is enqueued."""
    queue.ok("config", "set", "shell", "/bin/bash")
    queue.ok("enqueue", *words)
    queue.ok("config", "unset", "shell")

    [job] = queue.jobs()
    assert job.shell == expected
    assert queue.show(job.id)["shell"] == expected or "/bin/sh"


@pytest.mark.parametrize("shell", ["bash", "", "./sh", "/bin/", "/bin/\n"])
def test_a_shell_must_be_an_absolute_path(queue: Queue, shell: str) -> None:
    """A relative one would mean another program in each folder."""
    called = queue.run("enqueue", "--shell", shell, "true")

    message = f"--shell must be an absolute path, not {json.dumps(shell)}"
    assert (called.code, called.err) == (2, f"queuectl enqueue: {message}\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--retry-delay", "1m", "true"], (60.0, None)),
        (["--retry-delay", "0", "true"], (0.0, None)),
        (["--backoff", "1.5", "true"], (None, 1.5)),
        (['{"command": "true", "retry_delay": "1m"}'], (60.0, None)),
        (['{"command": "true", "backoff": 60}'], (None, 60.0)),
        (["--backoff", "3", '{"command": "true", "retry_delay": 5}'], (5.0, None)),
        (["--retry-delay", "3", '{"command": "true", "backoff": 5}'], (None, 5.0)),
        (["true"], (None, None)),
    ],
)
def test_when_it_is_retried(
    queue: Queue, words: list[str], expected: tuple[float | None, float | None]
) -> None:
    """A fixed delay or a base, from an option or the object; that of the object wins."""
    queue.ok("enqueue", *words)

    [job] = queue.jobs()
    assert (job.retry_delay, job.backoff) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--retry-delay", "1", "--backoff", "2"],
            "--retry-delay and --backoff cannot be used together",
        ),
        (["--backoff", "0.5"], "--backoff must be 1 to 1000"),
        (["--backoff", "nan"], "--backoff must be 1 to 1000"),
        (["--backoff", "x"], '--backoff must be a number, not "x"'),
        (
            ["--retry-delay", "soon"],
            "--retry-delay: not a duration: 'soon' "
            "(examples: 90, 30s, 5min, 1h30m, 2 hours, 1d 12h)",
        ),
    ],
)
def test_a_retry_that_makes_no_sense_is_refused(
    queue: Queue, words: list[str], message: str
) -> None:
    """The message names the option, and nothing is stored."""
    called = queue.run("enqueue", *words, "true")

    assert (called.code, called.err) == (2, f"queuectl enqueue: {message}\n")
    assert not queue.database.exists()


def test_a_retry_delay_of_two_words_is_to_be_quoted(queue: Queue) -> None:
    """The second word would be the command."""
    called = queue.run("enqueue", "--retry-delay", "2", "hours", "make")

    assert "put the value of --retry-delay in quotes: --retry-delay '2 hours'" in called.err


def test_null_is_absent(queue: Queue) -> None:
    """A field that is null counts as absent, whatever its type."""
    names = ["id", "queue", "priority", "max_retries", "timeout", "delay", "run_at", "cwd", "env",
             "unique_key", "label"]  # fmt: skip

    queue.run("enqueue", json.dumps({"command": "true", **dict.fromkeys(names)}))

    [job] = queue.jobs()
    assert (job.id_made, job.queue, job.priority, job.max_retries) == (True, "default", 0, 3)
    assert (job.timeout, job.run_at, job.cwd) == (300.0, None, str(queue.work))


@pytest.mark.parametrize("words", [["--max-retries", "0", "true"], ["--max-retries", "1", "true"]])
def test_max_retries_0_and_1_both_mean_one_attempt(queue: Queue, words: list[str]) -> None:
    """0 is stored as 1: every accepted job has at least one attempt."""
    queue.run("enqueue", *words)

    assert [job.max_retries for job in queue.jobs()] == [1]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["--timeout", "0"], 0.0),
        (["--timeout", "500ms"], 0.5),
        (["--timeout", "90"], 90.0),
        (["--timeout", "1.5h"], 5400.0),
        (["--timeout", "2d"], 172800.0),
    ],
)
def test_timeouts(queue: Queue, words: list[str], seconds: float) -> None:
    """A timeout is a number of seconds, or has units; 0 means no timeout."""
    queue.run("enqueue", *words, "true")

    assert [job.timeout for job in queue.jobs()] == [seconds]


def test_a_time_in_the_past_means_now(queue: Queue) -> None:
    """The job is pending at once."""
    queue.run("enqueue", "--at", "2001-01-01T00:00", "true")

    assert [job.state for job in queue.jobs()] == [JobState.PENDING]


def test_a_time_in_the_future_makes_the_job_scheduled(queue: Queue) -> None:
    """A time with a zone means that instant."""
    queue.run("enqueue", "--at", "2099-12-24T18:00:00+01:00", "true")

    [job] = queue.jobs()
    assert job.run_at is not None
    assert (job.state, job.run_at.isoformat()) == (
        JobState.SCHEDULED,
        "2099-12-24T17:00:00+00:00",
    )


def test_a_skipped_time_means_the_same_in_every_form(queue: Queue) -> None:
    """Regression: a time that the clock skips was one hour early in all forms but `02:30`."""
    berlin = {"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}
    skipped = "2099-03-29T02:30"
    fields = json.dumps({"command": "true", "run_at": skipped})
    queue.ok("enqueue", "--id", "edited", "--delay", "1h", "true")

    queue.ok("enqueue", "--at", skipped, "true", env=berlin, as_process=True)
    queue.ok("enqueue", fields, env=berlin, as_process=True)
    queue.ok("enqueue", "-", stdin=fields, env=berlin, as_process=True)
    queue.ok("edit", "--at", skipped, "edited", env=berlin, as_process=True)

    times = [job["run_at"] for job in queue.json("list")]
    assert times == ["2099-03-29T01:30:00.000000Z"] * 4


def test_only_the_id_is_printed(queue: Queue) -> None:
    """If stderr is no terminal, nothing else is printed."""
    done = queue.run("enqueue", "--id", "mine", "true")

    assert (done.code, done.out, done.err) == (0, "mine\n", "")


@pytest.mark.parametrize("words", [["-q", "true"], ["--quiet", "true"], ['{"command":"a"}', "-q"]])
def test_quiet(queue: Queue, words: list[str]) -> None:
    """With -q nothing is printed, and the job is stored."""
    assert queue.run("enqueue", *words) == (0, "", "")
    assert len(queue.jobs()) == 1


def test_quiet_on_a_terminal(queue: Queue) -> None:
    """With -q nothing is printed to a terminal, either."""
    shown = on_terminal(queue, "enqueue", "-q", "true", streams="stdin stdout stderr")

    assert (shown.code, shown.screen) == (0, "")


class TestFolder:
    """The folder in which a job runs."""

    def test_the_name_of_a_linked_folder_is_kept(self, queue: Queue) -> None:
        """$PWD is the name that the caller uses for the folder; links are not resolved."""
        link = queue.folder / "link"
        link.symlink_to(queue.work)

        queue.run("enqueue", "true", env={"PWD": str(link)})

        assert [job.cwd for job in queue.jobs()] == [str(link)]

    @pytest.mark.parametrize("wrong", ["/", "/no/such/folder", "", ".", "work"])
    def test_a_wrong_pwd_is_ignored(self, queue: Queue, wrong: str) -> None:
        """If $PWD does not name the current folder, the path comes from the kernel."""
        queue.run("enqueue", "true", env={"PWD": wrong})

        assert [job.cwd for job in queue.jobs()] == [str(queue.work)]

    def test_cwd_is_made_absolute(self, queue: Queue) -> None:
        """A relative --cwd starts at the current folder; `~` is the home folder."""
        (queue.work / "sub").mkdir()

        queue.run("enqueue", "--cwd", "sub", "true")
        queue.run("enqueue", "--cwd", "~", "true")

        assert [job.cwd for job in queue.jobs()] == [str(queue.work / "sub"), str(queue.home)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_job_is_stored_before_its_id_is_printed(queue: Queue) -> None:
    """If stdout is full, the job is still stored; the exit code is 1 and the error has the id."""
    with Path("/dev/full").open("w") as full:
        process = queue.spawn("enqueue", "--id", "mine", "true", stdout=full)
        err = process.communicate(timeout=60)[1]

    assert (process.returncode, err) == (
        1,
        "queuectl enqueue: job mine is enqueued, but cannot write to stdout: "
        "No space left on device\n",
    )
    assert [job.id for job in queue.jobs()] == ["mine"]
