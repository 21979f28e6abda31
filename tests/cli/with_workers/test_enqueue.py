"""What a job finds that `enqueue` stored, and what `enqueue` says about workers."""

from __future__ import annotations

import json
import os

import pytest

from support.queue import Queue


def test_several_words_reach_the_command_unchanged(queue: Queue) -> None:
    """Arguments arrive byte for byte; a leading assignment works as in a shell."""
    words = ["a b", "*", "~", "$HOME", "`x`", "it's", '"', "\\", "", "-n", "&&", "\u00e9", "a\nb"]
    code = "import os, sys, json; print(json.dumps([os.environ['FOO'], sys.argv[1:]]))"

    job = queue.ok("enqueue", "--", "FOO=b ar", "python3", "-c", code, *words)
    queue.drain(workers=1)

    assert json.loads(queue.ok("logs", job)) == ["b ar", words]


class TestVariables:
    """The environment variables that a job keeps from its enqueue."""

    @pytest.fixture(autouse=True)
    def _unwatched(self, queue: Queue) -> None:
        """Remove the variables that the tests add for themselves."""
        for name in ("PYTHONPATH", "TEST_WATCH", "TZ"):
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
        """The key capture-env names them; `*` means all but those of queuectl, empty means none."""
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
        """K=V sets a value, K copies the present one, `*` copies all; the last option wins."""
        queue.configure(capture_env="PATH")
        queue.run("enqueue", *options, "true", env={"PATH": "/p", "HOME": "/h", "TEST_QUEUE": "t"})

        assert [job.env for job in queue.jobs()] == [expected]

    def test_a_variable_that_is_not_utf_8_cannot_be_captured(self, queue: Queue) -> None:
        """It cannot be stored as text: an error if it is named; `*` leaves it out."""
        env = {"BAD": os.fsdecode(b"\xff")}

        line = queue.fails(2, "enqueue", "--env", "BAD", "true", env=env)
        queue.ok("config", "set", "capture-env", "*")
        queue.ok("enqueue", "true", env=env)

        [job] = queue.jobs()
        assert line == "queuectl enqueue: --env BAD is not valid UTF-8"
        assert sorted(job.env) == ["HOME", "LANG", "PATH", "TEST_QUEUE"]

    @pytest.mark.parametrize("by_key", [False, True])
    def test_a_star_takes_what_can_be_taken(self, queue: Queue, by_key: bool) -> None:
        """Regression: one odd variable around the caller, such as a function that bash exported,
        refused the job with `--env '*'`, and was left out with the key capture-env. A name need
        only be one that the system can pass on; export and import keep it.
        """
        odd = {"BASH_FUNC_f%%": "() { :; }", "a.b-c": "d", "n\u00e4me": "v\u00e4lue"}
        left_out = {"BAD": os.fsdecode(b"\xff"), os.fsdecode(b"B\xff"): "x", "BIG": "x" * 130_000}
        queue.ok("config", "set", "capture-env", "*" if by_key else "")
        options = [] if by_key else ["--env", "*"]
        job = queue.ok("enqueue", *options, "true", env={**odd, **left_out})
        found = queue.get(job).env

        if by_key:  # a job takes over no functions, unless somebody asks for them
            del odd["BASH_FUNC_f%%"]
        assert set(found) == {*odd, *queue.env} - {"QUEUECTL_DB"}
        assert {name: found[name] for name in odd} == odd
        [line] = queue.export()
        queue.ok("--db", "other.db", "import", "-", stdin=line)
        assert queue.export() == queue.ok("--db", "other.db", "export").splitlines()
        queue.drain()
        assert queue.state(job) == "completed"


def test_variables_of_a_job_do_not_change_an_enqueue_in_it(queue: Queue) -> None:
    """QUEUECTL_QUEUE in a job's environment does not set --queue of a queuectl in that job."""
    job = queue.ok("enqueue", "--queue", "outer", "--", "queuectl enqueue --id inner true")

    queue.drain(workers=1)

    assert queue.show(job)["state"] == "completed"
    assert queue.show("inner")["queue"] == "default"
