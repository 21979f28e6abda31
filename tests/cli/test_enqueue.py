"""`enqueue`: from words, JSON and options to a stored job."""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl.core.states import JobState
from support.queue import Queue
from support.terminal import on_terminal

_NO_WORKER = "no worker is running (queuectl worker start)"


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
    ],
)
def test_words_make_a_command(queue: Queue, words: list[str], command: str) -> None:
    """One word is a shell command as written, several are a command with its arguments."""
    called = queue.run("enqueue", *words)

    assert (called.code, called.err) == (0, "")
    assert [job.command for job in queue.jobs()] == [command]


def test_several_words_reach_the_command_as_they_were(queue: Queue) -> None:
    """Arguments arrive byte by byte; a leading assignment works as in a shell."""
    words = ["a b", "*", "~", "$HOME", "`x`", "it's", '"', "\\", "", "-n", "&&", "\u00e9", "a\nb"]
    code = "import os, sys, json; print(json.dumps([os.environ['FOO'], sys.argv[1:]]))"

    job = queue.ok("enqueue", "--", "FOO=b ar", "python3", "-c", code, *words)
    queue.drain(workers=1)

    assert json.loads(queue.ok("logs", job)) == ["b ar", words]


def test_every_option(queue: Queue) -> None:
    """Each option ends up in the job; a bare number is seconds."""
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
    assert job.env == {"PATH": queue.env["PATH"], "A": "1=2", "B": ""}


def test_every_field(queue: Queue) -> None:
    """Each field of the JSON object ends up in the job."""
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
    assert job.env == {"PATH": queue.env["PATH"], "A": "1"}


def test_defaults(queue: Queue) -> None:
    """Without options: queue default, priority 0, three runs, five minutes, at once, here."""
    called = queue.run("enqueue", "true")

    [job] = queue.jobs()
    assert re.fullmatch(r"[0-9a-f]{12}\n", called.out)
    assert (job.id + "\n", job.id_made, job.state) == (called.out, True, JobState.PENDING)
    assert (job.queue, job.priority, job.max_retries, job.timeout) == ("default", 0, 3, 300.0)
    assert (job.run_at, job.label, job.unique_key) == (None, None, None)
    assert job.cwd == str(queue.work)
    assert job.env == {"PATH": queue.env["PATH"]}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_options_beside_json_are_defaults(queue: Queue, after: bool) -> None:
    """Before or after the object, an option counts where the object says nothing of its own.

    Options after the object were once taken for words that may not follow it.
    """
    options = ["--queue", "q", "--priority", "5", "--label", "l", "--env", "A=1", "--env", "B=1"]
    fields = ['{"command": "true", "priority": 7, "label": null, "env": {"B": "2"}}']

    called = queue.run("enqueue", *(fields + options if after else options + fields))

    [job] = queue.jobs()
    assert (called.code, called.err) == (0, "")
    assert (job.queue, job.priority, job.label) == ("q", 7, "l")
    assert job.env == {"PATH": queue.env["PATH"], "A": "1", "B": "2"}


def test_null_is_absent(queue: Queue) -> None:
    """A field that is null is as if it were not there, whatever its type."""
    names = ["id", "queue", "priority", "max_retries", "timeout", "delay", "run_at", "cwd", "env",
             "unique_key", "label"]  # fmt: skip

    queue.run("enqueue", json.dumps({"command": "true", **dict.fromkeys(names)}))

    [job] = queue.jobs()
    assert (job.id_made, job.queue, job.priority, job.max_retries) == (True, "default", 0, 3)
    assert (job.timeout, job.run_at, job.cwd) == (300.0, None, str(queue.work))


@pytest.mark.parametrize("words", [["--max-retries", "0", "true"], ["--max-retries", "1", "true"]])
def test_max_retries_0_and_1_both_mean_one_run(queue: Queue, words: list[str]) -> None:
    """0 is stored as 1: a job that was accepted is run at least once."""
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
    """A timeout is a number of seconds or has units; 0 is none."""
    queue.run("enqueue", *words, "true")

    assert [job.timeout for job in queue.jobs()] == [seconds]


def test_what_is_past_starts_now(queue: Queue) -> None:
    """A time that is over means at once, not never."""
    queue.run("enqueue", "--at", "2001-01-01T00:00", "true")

    assert [job.state for job in queue.jobs()] == [JobState.PENDING]


def test_what_is_to_come_waits(queue: Queue) -> None:
    """A time with a zone is that instant."""
    queue.run("enqueue", "--at", "2099-12-24T18:00:00+01:00", "true")

    [job] = queue.jobs()
    assert job.run_at is not None
    assert (job.state, job.run_at.isoformat()) == (
        JobState.SCHEDULED,
        "2099-12-24T17:00:00+00:00",
    )


def test_every_form_of_a_time_is_read_in_the_same_way(queue: Queue) -> None:
    """Regression: a time that the clock skips was an hour early in all forms but `02:30`."""
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


def test_the_id_stands_alone(queue: Queue) -> None:
    """Off a terminal the id is all that is printed."""
    done = queue.run("enqueue", "--id", "mine", "true")

    assert (done.code, done.out, done.err) == (0, "mine\n", "")


@pytest.mark.parametrize("words", [["-q", "true"], ["--quiet", "true"], ['{"command":"a"}', "-q"]])
def test_quiet(queue: Queue, words: list[str]) -> None:
    """With -q nothing is printed, and the job is there."""
    assert queue.run("enqueue", *words) == (0, "", "")
    assert len(queue.jobs()) == 1


def test_quiet_on_a_terminal(queue: Queue) -> None:
    """-q is silent on a terminal too."""
    shown = on_terminal(queue, "enqueue", "-q", "true", streams="stdin stdout stderr")

    assert (shown.code, shown.screen) == (0, "")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], f"queued in default; timeout 5m; up to 3 attempts; {_NO_WORKER}"),
        (
            ["--queue", "q", "--timeout", "0", "--max-retries", "1"],
            f"queued in q; no timeout; up to 1 attempt; {_NO_WORKER}",
        ),
        (
            ["--timeout", "1h30m", "--max-retries", "2"],
            f"queued in default; timeout 1h30m; up to 2 attempts; {_NO_WORKER}",
        ),
    ],
)
def test_on_a_terminal_a_line_says_what_became_of_it(
    queue: Queue, options: list[str], line: str
) -> None:
    """The id stays alone on stdout; the terminal learns of queue, timeout, runs, and workers."""
    shown = on_terminal(queue, "enqueue", "--id", "mine", *options, "true", streams="stderr")

    assert (shown.code, shown.out, shown.screen) == (0, "mine\n", line + "\n")


def test_the_line_is_silent_on_workers_when_one_serves_the_queue(queue: Queue) -> None:
    """`no worker is running` is said only when nobody would run the job."""
    queue.start("--queue", "served")

    served = on_terminal(queue, "enqueue", "--queue", "served", "true", streams="stderr")
    other = on_terminal(queue, "enqueue", "--queue", "other", "true", streams="stderr")

    assert served.screen == "queued in served; timeout 5m; up to 3 attempts\n"
    assert other.screen == f"queued in other; timeout 5m; up to 3 attempts; {_NO_WORKER}\n"


class TestFolder:
    """The folder that a job runs in."""

    def test_a_linked_folder_keeps_its_name(self, queue: Queue) -> None:
        """$PWD is the name by which the caller knows the folder; links are not resolved."""
        link = queue.folder / "link"
        link.symlink_to(queue.work)

        queue.run("enqueue", "true", env={"PWD": str(link)})

        assert [job.cwd for job in queue.jobs()] == [str(link)]

    @pytest.mark.parametrize("wrong", ["/", "/no/such/folder", "", ".", "work"])
    def test_a_pwd_that_is_wrong_is_not_believed(self, queue: Queue, wrong: str) -> None:
        """Where $PWD does not name the current folder, the kernel's word counts."""
        queue.run("enqueue", "true", env={"PWD": wrong})

        assert [job.cwd for job in queue.jobs()] == [str(queue.work)]

    def test_cwd_is_made_absolute(self, queue: Queue) -> None:
        """A relative --cwd is one from here; `~` is the home folder."""
        (queue.work / "sub").mkdir()

        queue.run("enqueue", "--cwd", "sub", "true")
        queue.run("enqueue", "--cwd", "~", "true")

        assert [job.cwd for job in queue.jobs()] == [str(queue.work / "sub"), str(queue.home)]


class TestVariables:
    """The variables that are taken along at enqueue."""

    @pytest.fixture(autouse=True)
    def _unwatched(self, queue: Queue) -> None:
        """Leave out what the tests add for themselves."""
        for name in ("PYTHONPATH", "TEST_WATCH"):
            del queue.env[name]

    @pytest.mark.parametrize(
        ("captured", "expected"),
        [
            ("PATH", {"PATH": "/p"}),
            ("", {}),
            ("PATH,A", {"PATH": "/p", "A": "1"}),
            ("A NOT_SET", {"A": "1"}),
            ("*", {"PATH": "/p", "A": "1", "HOME": "/h", "LANG": "C.UTF-8", "TEST_QUEUE": "t"}),
        ],
    )
    def test_capture_env(self, queue: Queue, captured: str, expected: dict[str, str]) -> None:
        """The key capture-env names what is taken, `*` all but queuectl's own, empty nothing."""
        with queue.opened() as storage:
            storage.set_key("capture-env", captured)

        queue.run("enqueue", "true", env={"PATH": "/p", "A": "1", "HOME": "/h", "TEST_QUEUE": "t"})

        assert [job.env for job in queue.jobs()] == [expected]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--env", "A=1"], {"PATH": "/p", "A": "1"}),
            (["--env", "A=x=y z"], {"PATH": "/p", "A": "x=y z"}),
            (["--env", "A="], {"PATH": "/p", "A": ""}),
            (["--env", "LANG"], {"PATH": "/p", "LANG": "C.UTF-8"}),
            (["--env", "PATH=/mine"], {"PATH": "/mine"}),
            (["--env", "A=1", "--env", "A=2"], {"PATH": "/p", "A": "2"}),
            (
                ["--env", "*", "--env", "LANG=de"],
                {"PATH": "/p", "LANG": "de", "HOME": "/h", "TEST_QUEUE": "t"},
            ),
        ],
    )
    def test_env(self, queue: Queue, options: list[str], expected: dict[str, str]) -> None:
        """K=V is that value, K the value it has here, `*` all there is; the last one counts."""
        queue.run("enqueue", *options, "true", env={"PATH": "/p", "HOME": "/h", "TEST_QUEUE": "t"})

        assert [job.env for job in queue.jobs()] == [expected]

    def test_a_variable_that_is_not_utf8_cannot_be_taken(self, queue: Queue) -> None:
        """What cannot be stored as text is refused by name; `*` passes over it."""
        env = {"BAD": os.fsdecode(b"\xff")}

        line = queue.fails(2, "enqueue", "--env", "BAD", "true", env=env)
        queue.ok("config", "set", "capture-env", "*")
        queue.ok("enqueue", "true", env=env)

        [job] = queue.jobs()
        assert line == "queuectl enqueue: --env BAD is not valid UTF-8"
        assert sorted(job.env) == ["HOME", "LANG", "PATH", "TEST_QUEUE"]


def test_a_job_that_enqueues_is_not_misled(queue: Queue) -> None:
    """QUEUECTL_QUEUE, which a job finds in its environment, is no option of a queuectl in it."""
    job = queue.ok("enqueue", "--queue", "outer", "--", "queuectl enqueue --id inner true")

    queue.drain(workers=1)

    assert queue.show(job)["state"] == "completed"
    assert queue.show("inner")["queue"] == "default"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_job_is_stored_before_its_id_is_printed(queue: Queue) -> None:
    """Where stdout is full the job is stored all the same: exit 1, and the line has its id."""
    with Path("/dev/full").open("w") as full:
        process = queue.spawn("enqueue", "--id", "mine", "true", stdout=full)
        err = process.communicate(timeout=60)[1]

    assert (process.returncode, err) == (
        1,
        "queuectl enqueue: job mine is enqueued, but cannot write to stdout: "
        "No space left on device\n",
    )
    assert [job.id for job in queue.jobs()] == ["mine"]
