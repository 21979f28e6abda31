"""Enqueueing many jobs at once: `enqueue -`, `--file` and `--lines`."""

from __future__ import annotations

import fcntl
import json
import struct
import subprocess
import termios
from typing import IO, Any

import pytest

from support.queue import Queue
from support.waiting import wait_until


def _lines(*fields: dict[str, Any]) -> str:
    return "".join(json.dumps({"command": "true", **given}) + "\n" for given in fields)


def _thousand(bad: str) -> str:
    """Return 1,000 lines, of which line 999 is the bad one."""
    lines = [json.dumps({"command": "true", "id": f"j{number}"}) for number in range(1, 1001)]
    lines[998] = bad
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("bad", "code", "message"),
    [
        ('{"command": "true"', 2, "line 999: not a JSON object: "),
        ("true", 2, "line 999: not a JSON object (use --lines if each line is a shell command)"),
        (
            "[]",
            2,
            "line 999: not a JSON object: it is not an object (give one object per line: jq",
        ),
        ('{"command": "true", "prio": 1}', 2, "line 999: unknown field 'prio'"),
        ('{"command": " "}', 2, "line 999: the command is empty"),
        ('{"id": "x"}', 2, "line 999: there is no command"),
        ('{"command": "true", "state": "dead"}', 2, "line 999: state is set by queuectl"),
        ('{"command": "true", "id": "j5"}', 1, "line 999: duplicate id j5 in the input"),
        ('{"command": "true", "id": "holder"}', 1, "line 999: a job holder exists already and is"),
        ('{"command": "true", "after": "zz"}', 1, "line 999: no such job: zz"),
        ('{"command": "true", "id": "me", "after": "me"}', 2, "line 999: me waits for itself"),
        ('{"command": "x", "unique_key": "k", "if_dup": "error"}', 1, "line 999: "),
    ],
)
def test_one_bad_line_is_named_and_nothing_is_stored(
    queue: Queue, bad: str, code: int, message: str
) -> None:
    """Of 999 good lines around the bad one, no job is stored."""
    queue.ok("enqueue", "--id", "holder", "--unique", "k", "true")
    line = queue.fails(code, "enqueue", "-", stdin=_thousand(bad))

    assert line.startswith("queuectl enqueue: " + message)
    assert queue.ids() == ["holder"]


def test_a_line_that_is_not_utf_8_is_named(queue: Queue) -> None:
    """The exit code is 2, and no queue is created."""
    line = queue.fails(2, "enqueue", "-", stdin=b'{"command": "true"}\n{"command": "\xff"}\n')

    assert line == "queuectl enqueue: line 2: it is not valid UTF-8"
    assert not queue.database.exists()


def test_ids_are_printed_in_the_order_of_the_lines(queue: Queue) -> None:
    """There is one id per line, given or generated; the jobs run in that order."""
    out = queue.ok("enqueue", "-", stdin=_lines({"id": "b"}, {}, {"id": "a"}, {}))

    assert out.split()[::2] == ["b", "a"]
    assert queue.ids() == out.split()


def test_options_are_defaults_for_all_lines(queue: Queue) -> None:
    """A field of the line wins; `env` is merged variable by variable."""
    given = _lines({"id": "a"}, {"id": "b", "queue": "own", "priority": 1, "env": {"A": "3"}})
    queue.ok("enqueue", "-", "--queue", "q", "--priority", "5", "--env", "A=1", "--env", "B=2",
             stdin=given)  # fmt: skip
    found = []
    for name in ("a", "b"):
        job = queue.json("show", name, "--show-env")
        given = {key: value for key, value in job["env"].items() if key not in queue.env}
        found.append((job["queue"], job["priority"], given))

    assert found == [("q", 5, {"A": "1", "B": "2"}), ("own", 1, {"A": "3", "B": "2"})]


def test_crlf_a_bom_and_blank_lines_are_accepted(queue: Queue) -> None:
    """Editors of other systems write them; lines keep their numbers in errors."""
    given = b'\xef\xbb\xbf{"command": "one"}\r\n\r\n   \n{"command": "two"}\r\n'
    out = queue.ok("enqueue", "-", stdin=given)
    line = queue.fails(2, "enqueue", "-", stdin=given + b"x\n")

    assert [job["command"] for job in queue.json("list")] == ["one", "two"]
    assert len(out.split()) == 2
    assert line.startswith("queuectl enqueue: line 5: ")


def test_with_lines_each_line_is_a_shell_command(queue: Queue) -> None:
    """Blank lines and lines that begin with # are skipped; a CR at the end is dropped."""
    given = b'\xef\xbb\xbfecho one\r\n\n  # a note\n#x\necho "two # 2"\n  {"command": 1}\n-\n'
    queue.ok("enqueue", "-", "--lines", stdin=given)

    assert [job["command"] for job in queue.json("list")] == [
        "echo one", 'echo "two # 2"', '  {"command": 1}', "-",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            '["{\\"command\\": \\"true\\"}"]',
            "it is not an object {list}",
        ),
        ('[\n  {"command": "true"}\n]', "Expecting value: …{list}"),
        (
            '[{"command": "true"},\n{"command": "x"}]',
            "Expecting …{list}",
        ),
        (
            '{\n  "command": "true"\n}',
            "Expecting property name …{object}",
        ),
    ],
)
@pytest.mark.parametrize("command", ["enqueue", "import"])
def test_json_that_is_not_one_object_per_line(
    queue: Queue, given: str, line: str, command: str
) -> None:
    """The refusal says how to split a list, and how to join the lines of an object."""
    hints = {
        "list": "(give one object per line: jq -c '.[]')",
        "object": "(give each object in one line: jq -c .)",
    }
    begin, _, end = line.format(**hints).partition("…")
    said = queue.fails(2, command, "-", stdin=given)

    assert said.startswith(f"queuectl {command}: line 1: not a JSON object: {begin}")
    assert said.endswith(end)


@pytest.mark.parametrize("given", ['{"command": "true"}', '[{"command": "true"}]', "[]", "{}"])
def test_json_is_no_shell_command(queue: Queue, given: str) -> None:
    """Regression: with --lines it was stored as a command, which failed with 127."""
    line = queue.fails(2, "enqueue", "--lines", "-", stdin=f"true\n{given}\n")

    assert line == "queuectl enqueue: line 2: it is JSON, not a command (leave out --lines)"
    assert not queue.exists()
    queue.ok("enqueue", "-q", "--lines", "-", stdin="{ true; }\n[ -f x ] || true\n")


def test_after_may_name_a_later_line(queue: Queue) -> None:
    """`after` takes an id or a list of ids, of any line of the input."""
    queue.ok("enqueue", "-", stdin=_lines(
        {"id": "c", "after": ["a", "b"]}, {"id": "b", "after": "a"}, {"id": "a"},
    ))  # fmt: skip
    states = [queue.state(name) for name in "abc"]
    queue.drain()

    assert states == ["pending", "blocked", "blocked"]
    assert queue.counts() == {"completed": 3}


@pytest.mark.parametrize("field", ["after", "after_any"])
def test_a_cycle_of_dependencies_is_refused(queue: Queue, field: str) -> None:
    """The jobs could never run: the exit code is 2, and no job is stored."""
    given = _lines({"id": "a", field: "c"}, {"id": "b", field: "a"}, {"id": "c", field: "b"}, {})
    line = queue.fails(2, "enqueue", "-", stdin=given)

    assert line.startswith("queuectl enqueue: the dependencies form a cycle through ")
    assert queue.ids() == []


@pytest.mark.parametrize("option", [["--unique", "k"], ["--wait"], ["--id", "a"]])
def test_options_for_one_job_are_refused_for_many(queue: Queue, option: list[str]) -> None:
    """The exit code is 2. A line gives its key in the field `unique_key`."""
    for source in (["-"], ["--file", "jobs"]):
        line = queue.fails(2, "enqueue", *option, *source, stdin=_lines({}))
        assert line == (
            f"queuectl enqueue: {option[0]} cannot be used with -, --file or :::, "
            "because it is for one job"
        )
    assert queue.ok("enqueue", "-", stdin=_lines({"unique_key": "k"})) != ""


def test_two_lines_with_the_same_key_make_one_job(queue: Queue) -> None:
    """The second line gets the id of the first."""
    out = queue.ok("enqueue", "-", stdin=_lines({"unique_key": "k"}, {"unique_key": "k"}))

    assert len(set(out.split())) == 1
    assert len(out.split()) == 2
    assert queue.counts() == {"pending": 1}


def test_the_hint_for_a_taken_id_names_the_field(queue: Queue) -> None:
    """Regression: it named the option --unique, which is refused for many jobs."""
    queue.enqueue("true", "--id", "a")
    line = queue.fails(1, "enqueue", "-", stdin=_lines({"id": "a"}))

    assert line == (
        "queuectl enqueue: line 1: a job a exists already and is pending "
        "(for one at a time use the field unique_key)"
    )


def test_file_is_read_like_stdin(queue: Queue) -> None:
    """`--file` takes the same lines as `-`; with -q nothing is printed."""
    (queue.work / "jobs").write_text(_lines({"id": "a"}, {"id": "b"}))

    assert queue.ok("enqueue", "-q", "--file", "jobs") == ""
    assert queue.ids() == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_named(queue: Queue, name: str, reason: str) -> None:
    """The exit code is 2, and no queue is created."""
    assert queue.fails(2, "enqueue", "--file", name) == (
        f"queuectl enqueue: cannot read {name}: {reason}"
    )
    assert not queue.database.exists()


def test_an_empty_input_succeeds(queue: Queue) -> None:
    """There is nothing to enqueue, which is no error."""
    assert queue.ok("enqueue", "-", stdin="\n\n") == ""


def test_a_slow_producer_does_not_hold_up_other_writers(queue: Queue) -> None:
    """The write lock is taken after all lines are read, so another enqueue can run."""
    queue.enqueue("true", "--id", "first")
    process = queue.spawn("enqueue", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(_lines({"id": "slow-1"}))
    process.stdin.flush()
    wait_until(lambda: not _unread(process.stdin), what="the first line to be read")
    queue.ok("enqueue", "--id", "quick", "true")
    out, _ = process.communicate(_lines({"id": "slow-2"}), timeout=60)

    assert out.split() == ["slow-1", "slow-2"]
    assert queue.ok("list", "--ids").split() == ["first", "quick", "slow-1", "slow-2"]


def _unread(pipe: IO[str]) -> int:
    """Return how many bytes of a pipe have not been read yet."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0)))[0]
